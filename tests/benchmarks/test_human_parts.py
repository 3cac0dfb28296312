"""Draws of labels, conditions, human gold and the page, on hand-made cases."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from benchmarks.human.cells import reading
from benchmarks.human.data import conditions_of
from benchmarks.human.gold import Stance, label_correctness, stances_of
from benchmarks.human.linear import draw_labels
from benchmarks.human.page import human_data_page
from benchmarks.human.records import Measured, Run, run_of
from benchmarks.human.settings import (
    ALL_TASKS,
    TASKS,
    check_data,
    prepare_of,
    sft_of,
    start_of,
)
from tests.benchmarks.pairs import frame
from westofn.evaluation.records import Record
from westofn.params.whole import load_params
from westofn.study.means import Cell


class TestDraws:
    def test_hf100_holds_hf50_and_as_many_others(self) -> None:
        every = torch.ones(20, dtype=torch.bool)
        drawn = draw_labels(every, every, 5, seed=0, draw=0)
        assert drawn.full[:5].tolist() == drawn.half.tolist()
        assert len(set(drawn.full.tolist())) == 10

    def test_pairs_of_unlabeled_prompts_are_in_hf100_alone(self) -> None:
        labeled = torch.arange(20) < 10
        drawn = draw_labels(labeled, torch.ones(20, dtype=torch.bool), 6, seed=0, draw=1)
        assert bool(labeled[drawn.half].all())
        assert int(labeled[drawn.full].sum()) == 6
        assert len(drawn.full) == 12

    def test_only_allowed_pairs_are_drawn_and_more_than_there_are_is_all(self) -> None:
        every, allowed = torch.ones(20, dtype=torch.bool), torch.arange(20) % 2 == 0
        drawn = draw_labels(every, allowed, 100, seed=0, draw=0)
        assert sorted(drawn.full.tolist()) == list(range(0, 20, 2))
        assert len(drawn.half) == 5

    def test_draws_differ_and_one_is_repeatable(self) -> None:
        every = torch.ones(50, dtype=torch.bool)
        first, again, other = (draw_labels(every, every, 20, 0, d) for d in (0, 0, 1))
        assert torch.equal(first.full, again.full)
        assert not torch.equal(first.full, other.full)


def test_spelling_and_likelihood_tell_some_systems() -> None:
    pairs = frame(
        [
            ("a", "The Cow is good.", "The Cow is bad."),
            ("b", "The Cow is good .", "The Cow is bad."),
            ("c", "The Cow is good.", "the cow is bad."),
            ("d", "The Cow , by the river.", "the cow"),
        ]
    )
    found = conditions_of(pairs, torch.tensor([-1.0, -2.0, -3.0, -4.0]))
    assert {name: rows.nonzero().flatten().tolist() for name, rows in found.items()} == {
        "near": [0, 1, 2],  # the median of an even number is its lower middle value
        "far": [3],
        "spaced": [1, 3],
        "lower": [2, 3],
        "plain": [0],
    }


class TestGold:
    def stance(self) -> Stance:
        """Four texts in the order d > c > b > a; a and d were never compared."""
        pairs = [("p", y, x) for x, y in (("a", "b"), ("b", "c"), ("c", "d"), ("a", "c"))]
        (stance,) = stances_of({"p": ["a", "b", "c", "d"]}, frame([*pairs, ("q", "a", "d")]))
        return stance

    def test_the_order_is_skew_symmetric_and_holds_what_was_judged(self) -> None:
        order = self.stance().order
        assert torch.equal(order, -order.T)
        assert order[2].tolist() == [1.0, 1.0, 0.0, -1.0]
        assert order[0, 3] == 0

    def test_a_pair_judged_both_ways_counts_as_not_judged(self) -> None:
        (stance,) = stances_of({"p": ["a", "b"]}, frame([("p", "a", "b"), ("p", "b", "a")]))
        assert stance.order.tolist() == [[0.0, 0.0], [0.0, 0.0]]

    def test_best_and_worst_of_all_was_not_judged(self) -> None:
        points = label_correctness([self.stance()], [torch.arange(4.0)], seed=0)
        assert points[-1] == {"n": "all", "judged": 0.0}

    def test_a_teacher_that_is_right_or_wrong_throughout(self) -> None:
        right = label_correctness([self.stance()], [torch.arange(4.0)], seed=0)
        wrong = label_correctness([self.stance()], [-torch.arange(4.0)], seed=0)
        assert (right[0]["n"], right[0]["right"], wrong[0]["right"]) == ("2", 1.0, 0.0)
        # Of 6 pairs 4 were judged; 40 random pools of two texts lie near two thirds.
        assert 0.4 < float(right[0]["judged"]) < 0.9

    def test_one_mistake_of_the_teacher_is_counted(self) -> None:
        stance = Stance("p", ["a", "b"], torch.tensor([[0.0, -1.0], [1.0, 0.0]]))
        other = Stance("q", ["a", "b"], torch.tensor([[0.0, -1.0], [1.0, 0.0]]))
        points = label_correctness(
            [stance, other], [torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])], seed=0
        )
        assert points == [{"n": "all", "judged": 1.0, "right": 0.5}]


def run(seed: int, west: float, full: float, ratio: float, task: str = "hh-helpful") -> Run:
    heads: Mapping[str, Record] = {
        "hf50": {"accuracy": 0.6},
        "west": {"accuracy": 0.6 + west},
        "hf100": {"accuracy": 0.6 + full},
    }
    foreseen: Record = {"west_mean": 1.0 + seed, "west_low": -1.0, "west_high": 3.0 + seed}
    cell = Measured("all", 100, (100, 200), {"kappa_ratio": ratio}, foreseen, heads)
    counts = {"rows_out": 1000, "pairs_train": 600, "pairs_validation": 100, "pairs_test": 300}
    return Run(task, "scratch", seed, counts, [cell], {"longest": {"accuracy": 0.55}}, {})


def row(page: str, start: str) -> list[str]:
    """The cells of the first row of a table that begins so."""
    found = next(text for text in page.splitlines() if text.startswith(f"| {start} |"))
    return [text.strip() for text in found.strip("|").split("|")][1:]


class TestPage:
    def test_the_committed_page_is_of_the_committed_runs(self) -> None:
        saved = json.loads(Path("benchmarks/human.json").read_text("utf-8"))
        assert set(saved) == {"settings", "runs"}
        runs = [run_of(record) for record in saved["runs"]]
        assert Path("docs/human-data.md").read_text("utf-8") == human_data_page(runs)

    def test_differences_are_paired_and_carry_t_intervals(self) -> None:
        page = human_data_page([run(0, 0.01, 0.02, 0.5), run(1, 0.03, 0.02, 0.7)])
        assert row(page, "HF50") == ["60.0 ± 0.0"]
        # Of 1 and 3 points: 2 ± 12.706 × 1.
        assert row(page, "West-of-N") == ["+2.0 ± 12.7"]
        assert row(page, "the longer response, %") == ["55.0 ± 0.0"]
        assert row(page, "κ / κ_H") == ["0.60 ± 1.27"]
        assert row(page, "forecast: West-of-N less HF50, points") == ["+1.5 [-1.0, +3.5]"]
        assert row(page, "forecast: HF100 less HF50, points") == ["—"]

    def test_a_line_says_what_the_seeds_could_not_have_seen(self) -> None:
        page = human_data_page(
            [run(seed, west, 0.02, 0.5) for seed, west in ((0, 0.01), (1, 0.03))]
        )
        assert "With 2 seeds, a difference of West-of-N to HF50 below these points" in page

    def test_the_summary_counts_verdicts_and_sides_of_kappa(self) -> None:
        good = [run(seed, 0.02, 0.03, 2.0) for seed in (0, 1)]
        bad = [run(seed, -0.02, 0.01, 0.5, "hh-harmless") for seed in (0, 1)]
        said = " ".join(human_data_page([*good, *bad]).split())
        assert "Of 2 cells (" in said
        assert "West-of-N is above HF50 in 1, below it in 1 and not told apart" in said
        assert "the labels are above HF50 in 2 and below it in 0" in said
        # +2 ± 0 is not below the paper's 1.6, and −2 ± 0 is.
        assert "In 1 the interval excludes the paper's gain on TL;DR, +1.6 points" in said
        assert "κ is below κ_H in 1 cells, whose mean of West-of-N − HF50 is −2.0 points" in said
        assert "κ is not below κ_H in 1 cells, whose mean of West-of-N − HF50 is +2.0" in said

    def test_a_verdict_says_what_its_interval_excludes(self) -> None:
        said = reading("West-of-N", Cell(-0.01, 0.017), "accuracy")
        assert said.endswith("excludes a gain above 0.7 and a loss above 2.7.")
        assert "is below HF50" in reading("West-of-N", Cell(-0.02, 0.01), "accuracy")

    def test_one_seed_has_neither_intervals_nor_verdicts(self) -> None:
        page = human_data_page([run(100, 0.01, 0.02, 0.5)])
        assert "±" not in page[page.index("## HH, helpful") :]
        assert "One seed tells no arm from another" in " ".join(page.split())
        assert "no result" in " ".join(page.split())

    def test_a_task_with_fewer_seeds_says_so(self) -> None:
        other = [run(seed, 0.01, 0.02, 0.5, "hh-harmless") for seed in (0, 1)]
        page = human_data_page([run(0, 0.01, 0.02, 0.5), *other])
        assert "## HH, helpful\n\nOnly 1 of 2 seeds have been run.\n" in page
        assert page.count("seeds have been run") == 1

    def test_without_runs_it_says_how_to_get_them(self) -> None:
        assert "make human HUMAN_DATA=DIR" in human_data_page([])


class TestSettings:
    def test_a_task_names_its_models(self) -> None:
        params = load_params()
        policy, start = ALL_TASKS["hh-helpful-smollm2"], ALL_TASKS["hh-helpful-minilm"]
        assert sft_of(policy, params).model == "models/smollm2"
        assert sft_of(start, params) == sft_of(TASKS["hh-helpful"], params)
        assert start_of(start, params).model == "models/minilm"
        assert start_of(policy, params) == params.reward_start

    @pytest.mark.parametrize("name", [n for n, task in TASKS.items() if task.kind == "pairs"])
    def test_settings_are_valid_parameters(self, name: str, tmp_path: Path) -> None:
        task = TASKS[name]
        section = prepare_of(task, tmp_path, load_params())
        assert section.files.test_fraction == 0.2
        assert (section.unlabeled == "file") == (task.demonstrations is not None)

    def test_every_condition_of_a_task_is_one_that_data_knows(self) -> None:
        known = conditions_of(frame([("a", "B.", "C.")]), torch.zeros(1))
        asked = {name for task in TASKS.values() for name in task.conditions}
        assert asked == set(known)

    def test_data_that_is_there_is_taken(self, tmp_path: Path) -> None:
        (tmp_path / "hh-rlhf-8k").mkdir()
        check_data({"hh-helpful": TASKS["hh-helpful"]}, tmp_path)
