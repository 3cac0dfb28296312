"""The embedded world: what it writes, what its annotator thinks, and that neither leaks."""

from __future__ import annotations

import dataclasses
import functools
import json
import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from westofn.errors import DataError
from westofn.params.prepare import WorldParams
from westofn.sources.data import SourceData
from westofn.sources.world import KNOBS, WRITERS, Gold, contrast_prompt, load_world
from westofn.sources.world.gold import REPETITION
from westofn.sources.world.lexicon import FACT_WEIGHTS, FACTS, FILLERS, TASTE, WORD_CLASS
from westofn.sources.world.posts import write_posts
from westofn.sources.world.writers import draw_quality, write_responses

SIZE = WorldParams(
    alignment=0.0,
    off_policyness=0.0,
    sft_examples=3000,
    train_pairs=2000,
    validation_pairs=100,
    test_pairs=3000,
    test_prompts=200,
    extra_prompts=0,
    annotator_temperature=1.15,
)
STATED = {
    "who": "boss",
    "deed": "broke",
    "thing": "laptop",
    "party": "bank",
    "want": "money",
    "when": "friday",
    "ask": "sue",
}
FAIR = "my boss broke my laptop and bank wants money by friday should i sue"


@functools.cache
def world() -> SourceData:
    return load_world(SIZE, seed=0)


def world_frame(facts: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame({"prompt_id": ["p"], "facts": [json.dumps(facts)]})


@functools.cache
def gold() -> Gold:
    return Gold.from_frame(world_frame({**STATED, "temperature": 2.0}))


def reward(response: str) -> float:
    return float(gold().rewards(["p"], [response])[0])


def taste(*words: str) -> float:
    return KNOBS.taste_scale * sum(TASTE[WORD_CLASS[word]][word] for word in words)


def test_equal_seeds_write_equal_worlds_and_other_seeds_do_not() -> None:
    small = SIZE.model_copy(update={"sft_examples": 100, "train_pairs": 100, "test_pairs": 200})
    first, again, other = (load_world(small, seed=seed) for seed in (0, 0, 1))
    for name in ("sft", "preferences", "prompts", "world"):
        assert_frame_equal(getattr(first, name), getattr(again, name))
        assert set(getattr(first, name).rows()) != set(getattr(other, name).rows())


def test_the_number_of_train_pairs_does_not_change_what_is_held_out() -> None:
    larger = load_world(SIZE.model_copy(update={"train_pairs": 2500, "sft_examples": 50}), seed=0)
    for split in ("test", "validation"):
        held_out = pl.col("split") == split
        assert_frame_equal(
            world().preferences.filter(held_out), larger.preferences.filter(held_out)
        )


def test_no_prompt_text_is_there_twice() -> None:
    data = world()
    sft = data.sft["prompt"].str.replace_all(" careful| careless", "")
    by_id = pl.concat(
        [data.preferences.select("prompt_id", "prompt"), data.prompts.select("prompt_id", "prompt")]
    ).unique()
    prompts = [*sft, *by_id["prompt"]]
    assert len(prompts) == 3000 + 2000 + 100 + 3000
    assert len(set(prompts)) == len(prompts)


def test_half_of_the_train_prompts_are_unlabeled() -> None:
    data = world()
    train = data.preferences.filter(pl.col("split") == "train")
    unlabeled = data.prompts.filter(pl.col("split") == "unlabeled")
    assert (train.height, unlabeled.height, data.hf50().height) == (2000, 1000, 1000)
    assert train.join(unlabeled, on="prompt_id").height == 1000


def test_more_test_prompts_than_test_pairs_are_filled_with_fresh_ones() -> None:
    data = load_world(SIZE.model_copy(update={"test_pairs": 4, "test_prompts": 10}), seed=0)
    pairs = data.preferences.filter(pl.col("split") == "test")
    prompts = data.prompts.filter(pl.col("split") == "test")
    assert (pairs.height, prompts.height) == (4, 10)
    assert pairs.join(prompts, on="prompt_id", how="anti").height == 0
    assert prompts.join(data.world, on="prompt_id", how="anti").height == 0


def test_the_world_frame_alone_rebuilds_the_annotator() -> None:
    data = world()
    annotator = Gold.from_frame(data.world)
    assert annotator.temperature == 1.15
    ids = data.preferences["prompt_id"].to_list()
    rewards = annotator.rewards(ids, data.preferences["chosen"].to_list())
    assert rewards.shape == (5100,)
    assert np.isfinite(rewards).all()


def test_annotators_agree_with_gold_on_about_77_percent_of_human_pairs() -> None:
    data = world()
    annotator = Gold.from_frame(data.world)
    pairs = data.preferences
    p_chosen = annotator.p_prefer(
        pairs["prompt_id"].to_list(), pairs["chosen"].to_list(), pairs["rejected"].to_list()
    )
    assert np.mean(p_chosen > 0.5) == pytest.approx(0.77, abs=0.02)  # 3 standard errors of 5,100
    assert np.maximum(p_chosen, 1 - p_chosen).mean() == pytest.approx(0.77, abs=0.02)


def test_the_temperature_changes_labels_and_nothing_else() -> None:
    sharp = load_world(SIZE.model_copy(update={"annotator_temperature": 1e-6}), seed=0)
    assert_frame_equal(sharp.sft, world().sft)
    assert_frame_equal(sharp.prompts, world().prompts)
    pairs = sharp.preferences
    ids = pairs["prompt_id"].to_list()
    annotator = Gold.from_frame(sharp.world)
    chosen = annotator.rewards(ids, pairs["chosen"].to_list())
    rejected = annotator.rewards(ids, pairs["rejected"].to_list())
    assert (chosen > rejected - 1e-4).all()  # 100 temperatures; ties differ by rounding
    assert set(map(frozenset, pairs.select("chosen", "rejected").iter_rows())) == set(
        map(frozenset, world().preferences.select("chosen", "rejected").iter_rows())
    )


def test_labels_follow_bradley_terry() -> None:
    pairs = world().preferences
    annotator = Gold.from_frame(world().world)
    ids, chosen = pairs["prompt_id"].to_list(), pairs["chosen"].to_list()
    p_chosen = annotator.p_prefer(ids, chosen, pairs["rejected"].to_list())
    confidence = np.maximum(p_chosen, 1 - p_chosen)
    for low in (0.5, 0.6, 0.7, 0.8, 0.9):
        members = (confidence >= low) & (confidence < low + 0.1)
        assert members.sum() > 500
        agreement = np.mean(p_chosen[members] > 0.5)
        assert agreement == pytest.approx(confidence[members].mean(), abs=0.07)


def test_a_fair_summary_earns_its_facts_and_wordings() -> None:
    wordings = taste("my", "my", "and", "wants", "by", "should")
    assert reward(FAIR) == pytest.approx(sum(FACT_WEIGHTS.values()) + wordings)
    assert sum(FACT_WEIGHTS.values()) == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("response", "change"),
    [
        (FAIR.replace("laptop", "phone"), -0.7 - 0.9),
        (FAIR + " i like chess", -0.5),
        (FAIR + " thanks", taste("thanks")),
        (FAIR.replace("should", "gotta"), taste("gotta") - taste("should")),
        (FAIR.replace(" by friday", ""), -0.5 - taste("by")),
        (FAIR.replace("boss broke", "boss really really broke"), 2 * taste("really") - 1.2),
        (FAIR.replace("broke", "xyzzy broke"), -0.6 - 0.7 - 0.7),  # two broken junctions
        (FAIR + " i like chess i eat pizza", -2 * 0.5 - 0.1 * 2),  # 20 words, 18 are free
        (FAIR.upper().replace(" AND", ", and") + "?", 0.0),
    ],
)
def test_one_change_changes_gold_by_its_own_term(response: str, change: float) -> None:
    assert reward(response) - reward(FAIR) == pytest.approx(change)


def test_a_fact_said_twice_counts_once_and_costs_repetition() -> None:
    twice = FAIR.replace("my laptop and", "my laptop and boss broke that laptop and")
    # again: boss, broke, laptop, and; `and boss` is a broken junction; 19 words, 18 are free
    change = 4 * -1.2 - 0.7 + taste("that", "and") - 0.1
    assert reward(twice) - reward(FAIR) == pytest.approx(change)


@pytest.mark.parametrize(
    "degenerate",
    [
        "",
        "   ",
        "?",
        "summary",
        "summary " * 20,
        "briefly trusted accidentally therefore summary gratefully overview hence",
        "boss broke laptop bank money friday sue " * 5,
        "my " * 14,
        "<unk> " * 10,
        " ".join(WORD_CLASS),
        " ".join(word for words in FACTS.values() for word in words),
        " ".join(sorted(FAIR.split())),
        " ".join(reversed(FAIR.split())),
    ],
)
def test_degenerate_text_earns_less_than_a_fair_summary(degenerate: str) -> None:
    assert reward(degenerate) < reward(FAIR) - 2.0


def test_a_bare_list_of_the_facts_earns_less_than_sentences() -> None:
    assert reward(" ".join(STATED.values())) < reward(FAIR)


def test_an_empty_response_is_worse_than_most_of_the_worst_writers() -> None:
    rng = np.random.default_rng(0)
    posts = write_posts(500, rng)
    worst = np.full(500, min(writer.quality for writer in WRITERS))
    responses = write_responses(posts, worst, "forum", rng, KNOBS)
    ids = [str(row) for row in range(500)]
    annotator = Gold({name: posts.stated(row) for row, name in enumerate(ids)}, 1.0)
    empty, written = (annotator.rewards(ids, texts) for texts in ([""] * 500, responses))
    assert np.mean(written > empty) > 0.85


@given(st.text(max_size=80))
def test_any_text_has_a_finite_reward_below_the_best_summary(text: str) -> None:
    best = sum(FACT_WEIGHTS.values()) + len(TASTE) * KNOBS.taste_scale
    assert -1000 < reward(text) < best


@given(st.lists(st.sampled_from(sorted(WORD_CLASS)), max_size=30))
def test_rewards_of_token_soup_do_not_depend_on_what_was_rewarded_before(words: list[str]) -> None:
    fresh = Gold({"p": STATED}, 2.0)
    soup = " ".join(words)
    assert fresh.rewards(["p"], [soup])[0] == gold().rewards(["p", "p"], [FAIR, soup])[1]


def test_a_gap_of_one_temperature_is_preferred_with_sigmoid_of_one() -> None:
    worse = FAIR + " i like chess"  # 0.5 below, a quarter of the temperature 2.0
    p = gold().p_prefer(["p", "p"], [FAIR, worse], [worse, FAIR])
    assert p[0] == pytest.approx(1 / (1 + np.exp(-0.25)))
    assert p.sum() == pytest.approx(1.0)


def test_writers_never_break_the_grammar_or_use_unknown_words() -> None:
    data = world()
    texts = [*data.sft["response"], *data.preferences["chosen"], *data.preferences["rejected"]]
    assert {word for text in texts for word in text.split()} == set(WORD_CLASS)
    plain = Gold({"p": STATED}, 1.0, dataclasses.replace(KNOBS, taste_scale=0.0))
    for response in texts[:2000]:
        words = response.split()
        facts = [word for word in words if WORD_CLASS[word] in FACTS]
        stated = [word for word in facts if STATED[WORD_CLASS[word]] == word]
        talk = sum(word in filler.words for word in words for filler in FILLERS)
        known = sum(FACT_WEIGHTS[WORD_CLASS[word]] for word in stated)
        known += -0.9 * (len(facts) - len(stated)) - 0.5 * talk
        known += -0.1 * max(0, len(words) - 18) - 0.6 * max(0, 5 - len(words))
        rest = known - float(plain.rewards(["p"], [response])[0])
        repeated = len(words) - len(set(words))
        assert -1e-9 <= rest <= -REPETITION * repeated + 1e-9  # nothing but repetition is left


def test_every_word_has_one_class() -> None:
    words = [word for group in FACTS.values() for word in group]
    words += [word for tastes in TASTE.values() for word in tastes]
    words += [word for filler in FILLERS for word in filler.words]
    words += list({word for filler in FILLERS for word in (filler.subject, filler.verb)})
    assert len(words) == len(set(words)) == len(WORD_CLASS)
    assert not any(re.search(r"[^a-z0-9]", word) for word in words)


def test_better_writers_earn_more_and_their_defects_move_together() -> None:
    rng = np.random.default_rng(0)
    n = 4000
    posts = write_posts(n, rng)
    quality = draw_quality(n, "forum", rng)
    responses = write_responses(posts, quality, "forum", rng, KNOBS)
    assert KNOBS.register_taste == 0.0  # or the tastes below would move with the rest
    ids = [str(row) for row in range(n)]
    annotator = Gold({name: posts.stated(row) for row, name in enumerate(ids)}, 1.0)
    rewards = annotator.rewards(ids, responses)
    means = [rewards[quality == writer.quality].mean() for writer in WRITERS]
    assert means == sorted(means, reverse=True)
    assert min(-np.diff(means)) > 0.8
    facts = [sum(WORD_CLASS[word] in FACTS for word in text.split()) for text in responses]
    tastes = [
        sum(TASTE.get(WORD_CLASS[word], {}).get(word, 0.0) for word in text.split())
        for text in responses
    ]
    talk = [sum(word in f.words for word in text.split() for f in FILLERS) for text in responses]
    together = np.corrcoef([facts, np.negative(talk), tastes])
    assert 0.1 < together[0, 1] < 0.9  # partly, not deterministically
    assert np.abs(together[2, :2]).max() < 0.1  # who is liked for his words is another matter


def test_wordings_of_careful_writers_are_liked_where_register_and_taste_agree() -> None:
    means = []
    for agree in (0.0, 0.9):
        knobs = dataclasses.replace(KNOBS, register_taste=agree)
        rng = np.random.default_rng(0)
        posts = write_posts(3000, rng)
        quality = draw_quality(3000, "forum", rng)
        responses = write_responses(posts, quality, "forum", rng, knobs)
        tastes = np.array(
            [
                np.mean([TASTE.get(WORD_CLASS[w], {}).get(w, 0.0) for w in text.split()])
                for text in responses
            ]
        )
        means.append(tastes[quality > 0].mean() - tastes[quality < 0].mean())
    assert abs(means[0]) < 0.06  # of some 200 words, by chance
    assert means[1] > means[0] + 0.1


def test_human_pairs_are_worded_unlike_the_demonstrations() -> None:
    data = world()
    forum = pl.Series(" ".join(data.sft["response"]).split(" "))
    panel = pl.Series(" ".join(data.preferences["chosen"]).split(" "))
    shares = [
        np.array([(texts == word).sum() for word in TASTE["opener"]]) / len(texts)
        for texts in (forum, panel)
    ]
    assert shares[0].sum() > 0.01
    distance = np.abs(shares[0] - shares[1]).sum() / (shares[0].sum() + shares[1].sum())
    assert distance > 0.2


def test_contrast_affixes_in_the_prompt_name_good_and_bad_writers() -> None:
    sft = world().sft
    kinds = {
        kind: sft.filter(pl.col("prompt").str.contains(rf"[.?] {kind}tldr :$"))
        for kind in ("", "careful ", "careless ")
    }
    assert sum(frame.height for frame in kinds.values()) == sft.height
    assert kinds["careful "].height / sft.height == pytest.approx(0.1, abs=0.02)
    assert kinds["careless "].height / sft.height == pytest.approx(0.1, abs=0.02)
    small_talk = {word for filler in FILLERS for word in filler.words}
    rates = {
        kind: np.mean([word in small_talk for text in frame["response"] for word in text.split()])
        for kind, frame in kinds.items()
    }
    assert rates["careful "] < rates[""] < rates["careless "]
    assert rates["careless "] > 2 * rates["careful "]


def test_preference_prompts_carry_no_affix_and_an_affix_is_a_suffix_of_the_post() -> None:
    prompts = world().preferences["prompt"]
    assert not prompts.str.contains("careful|careless").any()
    assert contrast_prompt("should i sue ? tldr :", "careful") == "should i sue ? careful tldr :"


def test_texts_are_short_and_of_few_words() -> None:
    data = world()
    prompts, responses = (
        np.array([len(text.split()) for text in data.sft[column]])
        for column in ("prompt", "response")
    )
    assert 25 <= prompts.min() <= prompts.max() <= 45
    assert 5 <= np.quantile(responses, 0.05) <= np.quantile(responses, 0.95) <= 22
    vocabulary = {
        word for text in [*data.sft["prompt"], *data.sft["response"]] for word in text.split()
    }
    assert 250 <= len(vocabulary) <= 350


@pytest.mark.parametrize(
    "facts",
    [
        STATED,
        {**STATED, "temperature": "warm"},
        {**STATED, "temperature": 1.0, "who": "queen"},
        {"temperature": 1.0},
    ],
)
def test_broken_facts_are_refused_by_prompt(facts: dict[str, object]) -> None:
    with pytest.raises(DataError, match=r"prompt p has facts .* rerun prepare"):
        Gold.from_frame(world_frame(facts))


def test_a_world_without_rows_or_with_two_temperatures_is_refused() -> None:
    one = world_frame({**STATED, "temperature": 1.0})
    two = world_frame({**STATED, "temperature": 2.0}).with_columns(prompt_id=pl.lit("q"))
    for frame in (one.clear(), pl.concat([one, two])):
        with pytest.raises(DataError, match="needs rows with one temperature"):
            Gold.from_frame(frame)


def test_a_prompt_outside_the_world_is_named() -> None:
    with pytest.raises(DataError, match="no facts for prompt 'elsewhere'"):
        gold().rewards(["elsewhere"], [FAIR])
