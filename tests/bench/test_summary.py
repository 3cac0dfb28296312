"""Subsets, sections and the overall score, with numbers derived by hand."""

from __future__ import annotations

import pytest

from westofn.bench.catalogue import BENCHMARKS, Format
from westofn.bench.items import Item, Scores
from westofn.bench.summary import Summaries, summarise
from westofn.core.intervals import share_interval


def pair(subset: str, longer: bool = True) -> Item:
    responses = ("good dog", "bad") if longer else ("bad", "good dog")
    return Item("f:1", "", subset, "sun", responses, (1.0, 0.0))


def of(form: Format, *rows: tuple[Item, list[float]]) -> Summaries:
    items = [item for item, _ in rows]
    return summarise(BENCHMARKS[form], items, [Scores(values) for _, values in rows])


@pytest.mark.parametrize(("form", "tie"), [("rewardbench", 0.0), ("judgebench", 0.0),
                                           ("llmbar", 0.5), ("preferences", 0.5)])  # fmt: skip
def test_ties_count_as_each_benchmark_says(form: Format, tie: float) -> None:
    result = of(form, (pair("s"), [1.0, 1.0]), (pair("s"), [2.0, 1.0])).overall
    assert result.accuracy == (tie + 1) / 2
    assert result.tied == 1


def test_a_section_of_rewardbench_weighs_subsets_by_its_own_counts() -> None:
    won, lost = [2.0, 1.0], [1.0, 2.0]
    result = of(
        "rewardbench",
        (pair("math-prm"), won),
        (pair("hep-cpp"), lost),
        (pair("hep-cpp"), lost),
        (pair("alpacaeval-easy"), won),
        (pair("of my own"), lost),
    )
    chat, reasoning = result.sections
    assert (chat.name, chat.accuracy) == ("Chat", 1.0)
    assert reasoning.name == "Reasoning"
    assert reasoning.accuracy == pytest.approx(984 / (984 + 164))
    # Kish: (984 + 164)² / (984² / 1 + 164² / 2)
    assert reasoning.effective == pytest.approx(1148**2 / (984**2 + 164**2 / 2))
    assert reasoning.interval == share_interval(reasoning.accuracy, reasoning.effective)
    assert result.overall.accuracy == pytest.approx((1 + reasoning.accuracy) / 2)


def test_sections_of_judgebench_pool_their_rows() -> None:
    rows = [(pair("mmlu-pro-law"), [1.0, 0.0])] * 3 + [(pair("mmlu-pro-math"), [0.0, 1.0])]
    result = of("judgebench", *rows)
    (knowledge,) = result.sections
    assert (knowledge.name, knowledge.accuracy, knowledge.effective) == ("Knowledge", 0.75, 4.0)
    assert knowledge.interval == share_interval(0.75, 4)


def test_the_length_baselines_and_chance_stand_beside_the_score() -> None:
    result = of("preferences", (pair("s"), [1.0, 0.0]), (pair("s", longer=False), [1.0, 0.0]),
                (pair("s"), [0.0, 1.0]))  # fmt: skip
    assert (result.overall.longest, result.overall.shortest) == pytest.approx((2 / 3, 1 / 3))
    assert result.overall.chance == 0.5


def test_chance_of_a_best_response_is_its_share() -> None:
    item = Item("f:1", "", "s", "sun", ("a", "b", "c", "d"), (1.0, 0.0, 0.0, 0.0))
    assert of("rewardbench2", (item, [1.0, 0.0, 0.0, 0.0])).overall.chance == 0.25


def test_ties_have_their_own_score_no_chance_and_count_prompts() -> None:
    ref = Item("f:1", "ref:1", "Ties", "sun", ("a", "b"), (1.0, 0.0))
    tied = Item("f:2", "tied:1", "Ties", "sun", ("a", "c", "b"), (1.0, 1.0, 0.0))
    four = Item("f:3", "3", "Math", "sun", ("a", "b"), (1.0, 0.0))
    result = of("rewardbench2", (ref, [4.0, 0.0]), (tied, [4.0, 4.0, 0.0]), (four, [0.0, 1.0]))
    math, ties = result.subsets
    assert (ties.rows, ties.effective, ties.chance) == (2, 1.0, None)
    assert ties.accuracy == pytest.approx(1.0)
    assert result.overall.accuracy == pytest.approx((math.accuracy + ties.accuracy) / 2)
    assert result.overall.chance is None


def test_styles_are_averaged_over_rows_then_domains() -> None:
    def item(domain: str) -> Item:
        return Item("f:1", "", domain, "sun", tuple("abcdef"), (1.0, 1.0, 1.0, 0.0, 0.0, 0.0))

    winner, loser = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    stylish = [0.0, 1.0, 2.0, 0.5, 1.5, 2.5]  # a better style wins, equal styles lose
    rows = [(item("chat"), winner), (item("chat"), loser), (item("code"), stylish)]
    result = of("rm-bench", *rows)
    chat, code = result.subsets
    assert dict(code.parts) == {"hard": 0.0, "normal": 0.0, "easy": 1.0}
    assert chat.accuracy == 0.5
    assert code.accuracy == pytest.approx(1 / 3)
    assert result.overall.parts["easy"] == 0.75
    assert result.overall.accuracy == pytest.approx((0.5 + 1 / 3) / 2)


def test_best_of_k_goes_from_chance_to_the_models_choice() -> None:
    item = Item("f:1", "", "s", "sun", ("a", "bb", "c", "d"), (1.0, 0.0, 0.0, 0.0))
    one, two, four = of("best-of-k", (item, [3.0, 2.0, 1.0, 0.0])).best_of_k
    assert (one.k, one.accuracy, one.longest, one.best) == (1, 0.25, 0.25, 0.25)
    # Three of six pairs hold response 1, which the model prefers to all others.
    assert (two.k, two.accuracy, two.best) == (2, pytest.approx(0.5), pytest.approx(0.5))
    assert (four.k, four.accuracy, four.longest, four.best) == (4, 1.0, 0.0, 1.0)
