from __future__ import annotations

import random
from itertools import combinations

import polars as pl
import pytest

from westofn.core.dialogue import Message, to_text
from westofn.errors import DataError, ParameterError
from westofn.sources.splits import (
    SplitFractions,
    assign_splits,
    check_no_leak,
    first_half,
    fold,
    group_prompts,
    hash_order,
    prompt_id,
    stable_id,
)

FRACTIONS = SplitFractions(validation=0.1, test=0.2, autorater=0.3)


def shingles(text: str) -> set[tuple[str, ...]]:
    tokens = text.split()
    width = min(5, len(tokens))
    return {tuple(tokens[at : at + width]) for at in range(len(tokens) - width + 1)}


def together(prompts: list[str]) -> set[frozenset[str]]:
    """Return the groups as sets of prompts."""
    groups = group_prompts(prompts)
    members: dict[str, set[str]] = {}
    for prompt in prompts:
        members.setdefault(groups.group_of[prompt_id(prompt)], set()).add(prompt)
    return {frozenset(group) for group in members.values()}


@pytest.mark.parametrize(
    "other",
    ["What  is\n\nLove? ", "WHAT IS LOVE?", "what is love?", "\u00a0What is \uff4cove?"],
)
def test_case_white_space_and_unicode_form_do_not_make_another_prompt(other: str) -> None:
    assert prompt_id("What is love?") == prompt_id(other)


def test_another_word_makes_another_prompt() -> None:
    assert prompt_id("What is love?") != prompt_id("What is life?")


def test_composed_and_decomposed_letters_are_one() -> None:
    assert fold("Caf\u00e9 STRASSE") == fold("Cafe\u0301 straße") == "café strasse"


@pytest.mark.parametrize(
    "other",
    [
        "\n\nHuman: What is love?\n\nAssistant:",
        "\n\nHuman:  what is love?\n\nAssistant: \n",
        "Human: What is love?\n\nAssistant:",
        "\n\nHuman: What is love?",
    ],
)
def test_a_dialogue_of_one_user_turn_is_the_prompt_that_its_text_is(other: str) -> None:
    assert prompt_id("What is love?") == prompt_id(other)
    assert len(group_prompts(["What is love?", other]).group_of) == 1


@pytest.mark.parametrize(
    "other",
    [
        "\n\nHuman: What is love?\n\nAssistant: Baby.\n\nHuman: Why?\n\nAssistant:",
        "\n\nSystem: Be brief.\n\nHuman: What is love?\n\nAssistant:",
        "\n\nAssistant: What is love?\n\nAssistant:",
        "\n\nHuman: \\Human: What is love?\n\nAssistant:",
    ],
)
def test_a_longer_dialogue_is_another_prompt(other: str) -> None:
    assert prompt_id("What is love?") != prompt_id(other)


def test_a_text_that_spells_a_marker_is_the_conversation_that_holds_it() -> None:
    asked = "Continue:\n\nHuman: Hi\n\nAssistant:"
    assert prompt_id(asked) == prompt_id(to_text([Message("user", asked)]))


def test_the_name_of_a_dialogue_is_the_hash_of_its_folded_text() -> None:
    # As it was before bare texts were named alike, so that the splits of HH stay what they are.
    text = "\n\nHuman: Hi  there\n\nAssistant: Hello\n\nHuman: Bye\n\nAssistant:"
    for dialogue in (text, "\n\nHuman: Hi\n\nAssistant:"):
        assert prompt_id(dialogue) == stable_id("p", fold(dialogue))


def test_near_copies_are_found_across_spellings() -> None:
    # 12 tokens hold 8 five-grams and 13 hold 9, whatever stands around them: 8 / 9 is above 0.8.
    words = " ".join(f"w{index}" for index in range(12))
    groups = group_prompts([words, f"\n\nHuman: {words} please\n\nAssistant:"])
    assert (len(groups.names), groups.near_duplicates_joined) == (1, 1)


def test_one_changed_token_in_forty_five_five_grams_of_which_it_touches_five_joins() -> None:
    # 49 tokens hold 45 five-grams; a change in the middle touches 5 of them on each side, so the
    # Jaccard similarity is 40 / (40 + 5 + 5) = 0.8, the threshold itself.
    words = [f"w{index}" for index in range(49)]
    changed = [*words[:24], "other", *words[25:]]
    groups = group_prompts([" ".join(words), " ".join(changed)])
    assert len(groups.names) == 1
    assert groups.near_duplicates_joined == 1


def test_one_changed_token_in_forty_four_five_grams_does_not_join() -> None:
    # 39 / (39 + 5 + 5) = 0.796.
    words = [f"w{index}" for index in range(48)]
    changed = [*words[:24], "other", *words[25:]]
    groups = group_prompts([" ".join(words), " ".join(changed)])
    assert len(groups.names) == 2
    assert groups.near_duplicates_joined == 0


def test_eight_five_grams_within_ten_join() -> None:
    # 12 of 14 tokens: the similarity is 8 / 10, and the longer text's two rarest shingles are its
    # own, so only its third, the last that the prefix filter looks at, is shared.
    words = [f"w{index}" for index in range(14)]
    assert len(group_prompts([" ".join(words), " ".join(words[:12])]).names) == 1


def test_punctuation_alone_makes_a_near_duplicate() -> None:
    groups = group_prompts(["What is love?", "What is love"])
    assert (len(groups.group_of), len(groups.names)) == (2, 1)


def test_prompts_without_a_common_shingle_stay_apart() -> None:
    assert len(group_prompts(["one two", "three four", "?!", "¿¡"]).names) == 4
    assert group_prompts([]).names == frozenset()


def test_near_duplicates_of_near_duplicates_are_one_group() -> None:
    words = [f"w{index}" for index in range(100)]
    chain = [" ".join(["x"] * steps + words[steps:]) for steps in (0, 8, 16)]
    first, middle, last = map(shingles, chain)
    assert len(first & last) / len(first | last) < 0.8
    assert len(first & middle) / len(first | middle) >= 0.8
    assert len(middle & last) / len(middle | last) >= 0.8
    assert together(chain) == {frozenset(chain)}


@pytest.mark.parametrize("seed", range(10))
def test_groups_equal_those_of_comparing_all_pairs(seed: int) -> None:
    rng = random.Random(seed)
    texts = set()
    for _ in range(20):
        words = rng.choices("abcdefgh", k=rng.randint(3, 60))
        texts.add(" ".join(words))
        for _ in range(3):
            for _ in range(rng.randint(0, 3)):
                words[rng.randrange(len(words))] = rng.choice("abcxyz")
            texts.add(" ".join(words[rng.randint(0, 2) :]))
    group = {text: {text} for text in texts}
    joined = 0
    for left, right in combinations(sorted(texts), 2):
        a, b = shingles(left), shingles(right)
        if len(a & b) / len(a | b) >= 0.8 and group[left] is not group[right]:
            joined += 1
            group[left] |= group[right]
            for text in group[right]:
                group[text] = group[left]
    assert joined > 0
    assert together(sorted(texts)) == {frozenset(members) for members in group.values()}
    assert group_prompts(texts).near_duplicates_joined == joined


def test_the_order_of_the_prompts_does_not_change_the_groups() -> None:
    rng = random.Random(0)
    prompts = [" ".join(rng.choices("abcd", k=12)) for _ in range(300)]
    families = {prompt: prompt[:5] for prompt in prompts}
    groups = group_prompts(prompts, families)
    assert 1 < len(groups.names) < len(groups.group_of)
    rng.shuffle(prompts)
    assert group_prompts(prompts, families) == groups


def test_prompts_of_one_family_are_one_group() -> None:
    prompts = ["hello there friend", "hello and then much more", "bye"]
    groups = group_prompts(prompts, {prompts[0]: "hello", prompts[1]: "hello"})
    assert groups.group_of[prompt_id(prompts[0])] == groups.group_of[prompt_id(prompts[1])]
    assert len(groups.names) == 2
    assert groups.families_joined == 1
    assert groups.near_duplicates_joined == 0


def test_splits_have_about_their_share_of_the_groups() -> None:
    splits = assign_splits([f"g{index}" for index in range(10_000)], FRACTIONS, 0, "data")
    counts = pl.Series(list(splits.values())).value_counts()
    shares = {split: count / 10_000 for split, count in counts.iter_rows()}
    # Standard deviations are below sqrt(0.25 / 10,000) = 0.005; four of them are allowed.
    assert shares == pytest.approx(
        {"validation": 0.1, "test": 0.2, "autorater": 0.3, "train": 0.4}, abs=0.02
    )


def test_the_split_of_a_group_does_not_depend_on_the_others() -> None:
    names = [f"g{index}" for index in range(500)]
    splits = assign_splits(names, FRACTIONS, 7, "data")
    fewer = assign_splits(names[:100][::-1], FRACTIONS, 7, "data")
    assert fewer == {name: splits[name] for name in names[:100]}


def test_another_seed_gives_other_splits() -> None:
    names = [f"g{index}" for index in range(500)]
    assert assign_splits(names, FRACTIONS, 0, "d") != assign_splits(names, FRACTIONS, 1, "d")


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(DataError, match=r"hh: none of 1 prompt groups is in the \w+ split; needs"):
        assign_splits(["g"], FRACTIONS, 0, "hh")


def test_a_split_without_a_share_may_be_empty() -> None:
    assert assign_splits(["g"], SplitFractions(0, 0, 0), 0, "hh") == {"g": "train"}


@pytest.mark.parametrize("shares", [(0.5, 0.3, 0.2), (-0.1, 0.2, 0.2), (float("nan"), 0, 0)])
def test_fractions_that_leave_nothing_to_train_are_refused(
    shares: tuple[float, float, float],
) -> None:
    with pytest.raises(ParameterError, match="whose sum is below 1"):
        SplitFractions(*shares)


def test_the_half_is_exact_and_independent_of_the_split() -> None:
    names = [f"g{index}" for index in range(1001)]
    half = first_half(names, 0)
    assert len(half) == 500
    assert half == first_half(names[::-1], 0)
    splits = assign_splits(names, SplitFractions(0, 0.5, 0), 0, "data")
    train = {name for name, split in splits.items() if split == "train"}
    # Were both decided by one hash, the halves would be all train or all test.
    assert 180 < len(train & half) < 320


def test_hash_order_is_a_permutation_that_only_the_seed_and_purpose_change() -> None:
    names = [f"g{index}" for index in range(50)]
    order = hash_order(names, 0, "a")
    assert sorted(order) == sorted(names)
    assert order == hash_order(names[::-1], 0, "a")
    assert order not in (names, hash_order(names, 1, "a"), hash_order(names, 0, "b"))


def frame(ids: list[str], prompts: list[str], splits: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"prompt_id": ids, "prompt": prompts, "split": splits})


class TestLeaks:
    def test_one_id_in_two_splits_is_named(self) -> None:
        frames = {
            "preferences": frame(["p1", "p2"], ["a", "b"], ["train", "test"]),
            "sft": frame(["p2"], ["b"], ["train"]),
        }
        with pytest.raises(DataError) as caught:
            check_no_leak(frames, "hh.jsonl")
        assert str(caught.value) == (
            "hh.jsonl: prompt p2 ('b') is in two splits: test of preferences and train of sft; "
            "needs one: split by prompt group"
        )

    def test_one_text_under_two_ids_in_two_splits_is_named(self) -> None:
        frames = {"preferences": frame(["p1", "p2"], ["So it is", "so  IT is"], ["train", "test"])}
        with pytest.raises(DataError, match=r"prompt p2 \('so  IT is'\) is in two splits"):
            check_no_leak(frames, "x")

    def test_a_test_prompt_that_is_trained_on_is_named(self) -> None:
        frames = {
            "preferences": frame(["p1"], ["a"], ["train"]),
            "prompts": frame(["p1"], ["a"], ["test"]),
        }
        with pytest.raises(DataError, match="train of preferences and test of prompts"):
            check_no_leak(frames, "x")

    def test_unlabeled_prompts_count_as_train(self) -> None:
        frames = {
            "preferences": frame(["p1"], ["a"], ["train"]),
            "prompts": frame(["p1"], ["a"], ["unlabeled"]),
        }
        check_no_leak(frames, "x")
        frames["preferences"] = frame(["p1"], ["a"], ["validation"])
        with pytest.raises(DataError, match="validation of preferences and train of prompts"):
            check_no_leak(frames, "x")

    def test_validation_demonstrations_may_share_unlabeled_prompts_and_no_others(self) -> None:
        frames = {
            "sft": frame(["p1"], ["a"], ["validation"]),
            "preferences": frame(["p2"], ["b"], ["train"]),
            "prompts": frame(["p1"], ["a"], ["unlabeled"]),
        }
        check_no_leak(frames, "x")
        frames["sft"] = frame(["p2"], ["b"], ["validation"])
        with pytest.raises(DataError, match="validation of sft and train of preferences"):
            check_no_leak(frames, "x")
        frames["sft"] = frame(["p1", "p1"], ["a", "a"], ["validation", "train"])
        with pytest.raises(DataError, match="validation of sft and train of sft"):
            check_no_leak(frames, "x")

    def test_a_clash_is_seen_past_a_role_that_may_share(self) -> None:
        frames = {
            "sft": frame(["p1"], ["a"], ["validation"]),
            "prompts": frame(["p1"], ["a"], ["unlabeled"]),
            "preferences": frame(["p1"], ["a"], ["validation"]),
        }
        with pytest.raises(DataError, match="train of prompts and validation of preferences"):
            check_no_leak(frames, "x")
