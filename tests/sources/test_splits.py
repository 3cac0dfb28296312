from __future__ import annotations

import random
import re
from collections.abc import Collection

import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from westofn.core.dialogue import Message, Role, canonical, to_text
from westofn.errors import DataError, ParameterError
from westofn.sources.splits import (
    PromptGroups,
    PromptNames,
    SplitFractions,
    assign_splits,
    check_no_leak,
    draw_split,
    first_half,
    fold,
    folded_id,
    group_prompts,
    hash_order,
    largest_groups,
    prompt_id,
    stable_id,
)

FRACTIONS = SplitFractions(validation=0.1, test=0.2, autorater=0.3)


def members(groups: PromptGroups, prompts: Collection[str]) -> set[frozenset[str]]:
    """Return the groups as sets of prompts."""
    texts: dict[str, set[str]] = {}
    for prompt in prompts:
        texts.setdefault(groups.group_of[prompt_id(prompt)], set()).add(prompt)
    return {frozenset(group) for group in texts.values()}


def dialogue(*turns: str, system: str = "") -> str:
    """Return a prompt of alternating turns of user and assistant."""
    roles: tuple[Role, Role] = ("user", "assistant")
    messages = [Message(roles[place % 2], turn) for place, turn in enumerate(turns)]
    return to_text([Message("system", system), *messages] if system else messages)


@pytest.mark.parametrize(
    "other",
    [
        "What is love? ",
        "\n What is love?",
        "\n\nHuman: What is love?\n\nAssistant:",
        "Human: What is love?\n\nAssistant: \n",
        "\n\nHuman: What is love?",
    ],
)
def test_white_space_at_the_edges_and_the_form_do_not_make_another_prompt(other: str) -> None:
    assert prompt_id("What is love?") == prompt_id(other)
    assert len(group_prompts(["What is love?", other]).group_of) == 1


@pytest.mark.parametrize(
    ("prompt", "other"),
    [
        ("What is 5²?", "What is 52?"),
        ("List the files in A", "list the files in a"),
        ("def f():\n  return 1", "def f():\n    return 1"),
        ("Write ﬁne", "Write fine"),
        ("What is love?", "What  is love?"),
    ],
)
@pytest.mark.parametrize("jaccard", [0.8, None])
def test_what_folds_alike_is_another_prompt_of_the_same_group(
    prompt: str, other: str, jaccard: float | None
) -> None:
    assert prompt_id(prompt) != prompt_id(other)
    assert folded_id(prompt) == folded_id(other)
    groups = group_prompts([prompt, other], jaccard)
    assert (len(groups.group_of), len(groups.names), len(groups.spellings)) == (2, 1, 1)


def test_another_word_makes_another_prompt() -> None:
    assert prompt_id("What is love?") != prompt_id("What is life?")


def test_composed_and_decomposed_letters_are_one() -> None:
    assert fold("Caf\u00e9 STRASSE") == fold("Cafe\u0301 straße") == "café strasse"


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


def test_a_group_is_named_by_the_smallest_hash_of_a_folded_text() -> None:
    # As before prompts had ids of their exact texts, so that groups keep their splits.
    later = dialogue("Hi there", "Hello", "Bye")
    groups = group_prompts(["Hi  there", "hi there", later])
    names = [stable_id("p", fold(text)) for text in ("\n\nHuman: Hi there\n\nAssistant:", later)]
    assert groups.names == {min(names)}


def test_near_copies_are_found_across_spellings() -> None:
    # 12 tokens hold 8 five-grams and 13 hold 9, whatever stands around them: 8 / 9 is above 0.8.
    words = " ".join(f"w{index}" for index in range(12))
    groups = group_prompts([words, f"\n\nHuman: {words} please\n\nAssistant:"])
    assert (len(groups.names), groups.near_duplicates_joined) == (1, 1)


def test_punctuation_alone_makes_a_near_duplicate() -> None:
    groups = group_prompts(["What is love?", "What is love"])
    assert (len(groups.group_of), len(groups.names)) == (2, 1)


class TestDialogues:
    def test_turns_of_one_dialogue_are_one_group(self) -> None:
        prompts = [dialogue(*"abcdefg"[:turns]) for turns in (1, 3, 5, 7)]
        groups = group_prompts([*prompts, "other"], None)
        assert members(groups, prompts) == {frozenset(prompts)}
        assert groups.openings_joined == 3
        assert groups.near_duplicates_joined == 0

    def test_a_few_dialogues_that_branch_are_one_group(self) -> None:
        prompts = [dialogue("Why?", reply, "So?") for reply in "abcd"]
        assert members(group_prompts(prompts, None), prompts) == {frozenset(prompts)}

    def test_a_greeting_joins_no_dialogues_but_their_turns(self) -> None:
        prompts = [
            dialogue("Hi", "Hello!", *turns)
            for row in range(20)
            for turns in ([f"q{row}"], [f"q{row}", "a", f"r{row}"])
        ]
        groups = group_prompts([*prompts, "Hi"], None)
        expected = {frozenset(prompts[place : place + 2]) for place in range(0, 40, 2)}
        assert members(groups, ["Hi", *prompts]) == expected | {frozenset(["Hi"])}

    def test_two_canned_turns_join_nothing_either(self) -> None:
        prompts = [dialogue("Hi", "Hello!", "Help me", "How?", f"q{row}") for row in range(20)]
        assert len(group_prompts(prompts, None).names) == 20

    @pytest.mark.parametrize("jaccard", [0.8, None])
    @pytest.mark.parametrize("questions", [2, 4, 50])
    @pytest.mark.parametrize("systems", [1, 4, 6])
    def test_prompts_that_differ_in_the_system_message_alone_are_one_group(
        self, jaccard: float | None, questions: int, systems: int
    ) -> None:
        asked = [
            [
                f"q{row}",
                *(dialogue(f"q{row}", system=f"You are number {n}.") for n in range(systems)),
                dialogue(f"q{row}", "a", "b", system="Another one."),
            ]
            for row in range(questions)
        ]
        groups = group_prompts([text for texts in asked for text in texts], jaccard)
        assert len(groups.names) == questions
        assert all(len(members(groups, texts)) == 1 for texts in asked)

    def test_system_messages_that_hold_the_questions_are_prompts(self) -> None:
        prompts = [dialogue("Go.", system=f"Say q{row}.") for row in range(20)]
        assert len(group_prompts(prompts).names) == 20

    def test_dialogues_that_the_assistant_opens_are_told_apart(self) -> None:
        opened = [Message("assistant", "How can I help?")]
        prompts = [to_text([*opened, Message("user", f"q{row}")]) for row in range(9)]
        assert len(group_prompts(prompts, None).names) == 9


class TestLargestGroups:
    def test_they_say_what_joined_them_and_what_they_share(self) -> None:
        words = " ".join(f"w{index}" for index in range(12))
        turns = [dialogue("Why is it so late?", *"bcdefg"[:end]) for end in (0, 2, 4)]
        prompts = [words, f"{words} please", *turns, "alone"]
        first, second = largest_groups(group_prompts(prompts), prompts, 5)
        assert (first.prompts, first.by_opening, first.by_near_duplicates) == (3, 2, 0)
        assert first.shared == "Why is it so late?"
        assert (second.prompts, second.by_opening, second.by_near_duplicates) == (2, 0, 1)
        assert second.shared == words.removesuffix(" w11")
        assert str(second).startswith(
            "2 prompts (joined: 1 as near duplicates), beginning with 'w0 w1"
        )
        assert largest_groups(group_prompts(prompts), prompts, 1) == [first]

    def test_prompts_alone_are_no_group(self) -> None:
        assert largest_groups(group_prompts(["a", "b"]), ["a", "b"], 3) == []


WORDS = st.sampled_from(["Hi", "hi", "Why", "so", "52", "5²", " ", "\n"])
TEXTS = st.lists(WORDS, min_size=1, max_size=12).map(" ".join).filter(str.strip)
SYSTEMS = st.sampled_from(["", "Be brief.", "Be kind."])
PROMPTS = st.one_of(
    TEXTS,
    st.builds(
        lambda turns, system: dialogue(*turns, system=system),
        st.lists(TEXTS, min_size=1, max_size=5).filter(lambda turns: len(turns) % 2 == 1),
        SYSTEMS,
    ),
)


class TestProperties:
    @given(st.lists(PROMPTS, min_size=1, max_size=40), st.randoms(), st.sampled_from([0.8, None]))
    def test_the_order_of_the_prompts_does_not_change_the_groups(
        self, prompts: list[str], rng: random.Random, jaccard: float | None
    ) -> None:
        groups = group_prompts(prompts, jaccard)
        shuffled = prompts + prompts[:3]
        rng.shuffle(shuffled)
        assert group_prompts(shuffled, jaccard) == groups
        joins = (groups.spellings, groups.openings, groups.near_duplicates)
        assert len(groups.names) == len(groups.group_of) - sum(map(len, joins))

    @given(st.lists(PROMPTS, min_size=1, max_size=40))
    def test_equal_folded_texts_share_a_group(self, prompts: list[str]) -> None:
        for jaccard in (0.8, None):
            groups = group_prompts(prompts, jaccard)
            group_of = {}
            for prompt in prompts:
                name = groups.group_of[prompt_id(prompt)]
                assert group_of.setdefault(fold(canonical(prompt)), name) == name

    @given(st.lists(TEXTS, min_size=1, max_size=40))
    def test_without_near_duplicates_single_turns_are_grouped_by_their_folded_text(
        self, prompts: list[str]
    ) -> None:
        groups = group_prompts(prompts, None)
        assert len(groups.names) == len({fold(canonical(prompt)) for prompt in prompts})

    @given(st.lists(PROMPTS, min_size=8, max_size=20, unique_by=prompt_id))
    def test_a_folded_text_is_in_one_split(self, prompts: list[str]) -> None:
        groups = group_prompts(prompts)
        assume(len(groups.names) >= 4)
        split_of = assign_splits(groups.names, FRACTIONS, 0, "data")
        ids = [prompt_id(prompt) for prompt in prompts]
        splits = [split_of[groups.group_of[name]] for name in ids]
        check_no_leak({"preferences": frame(ids, prompts, splits)}, "data")
        assert set(splits) == {"train", "validation", "test", "autorater"}


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


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("count", [4, 5, 8, 32])
def test_few_groups_have_all_splits(seed: int, count: int) -> None:
    names = [f"g{index}" for index in range(count)]
    splits = assign_splits(names, FRACTIONS, seed, "data")
    assert set(splits.values()) == {"train", "validation", "test", "autorater"}
    assert splits == assign_splits(names[::-1], FRACTIONS, seed, "data")
    drawn = {name: draw_split(name, FRACTIONS, seed) for name in names}
    # Train has a group for D_L and one for D_U.
    train = min(2, count - 3)
    assert list(splits.values()).count("train") >= train
    missing = sum(split not in drawn.values() for split in ("validation", "test", "autorater"))
    missing += max(0, train - list(drawn.values()).count("train"))
    assert sum(drawn[name] != splits[name] for name in names) == missing


def test_fewer_groups_than_splits_are_refused() -> None:
    with pytest.raises(DataError) as caught:
        assign_splits(["g", "h", "i"], FRACTIONS, 0, "hh", "; the largest group has 9 prompts")
    assert re.fullmatch(
        r"hh: none of 3 prompt groups is in the \w+ split; needs at least 4 groups for train, "
        r"test, validation, autorater; the largest group has 9 prompts: give more data",
        str(caught.value),
    )


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

    def test_validation_demonstrations_may_share_what_no_model_is_chosen_by(self) -> None:
        frames = {
            "sft": frame(["p1", "p3"], ["a", "c"], ["validation", "train"]),
            "preferences": frame(["p2"], ["b"], ["train"]),
            "prompts": frame(["p1"], ["a"], ["unlabeled"]),
        }
        check_no_leak(frames, "x")
        frames["sft"] = frame(["p2", "p3"], ["b", "c"], ["validation", "train"])
        check_no_leak(frames, "x")
        frames["preferences"] = frame(["p2"], ["b"], ["test"])
        with pytest.raises(DataError, match="validation of sft and test of preferences"):
            check_no_leak(frames, "x")

    def test_demonstrations_of_one_prompt_alone_may_be_of_both_splits(self) -> None:
        both = frame(["p1", "p1"], ["a", "a"], ["validation", "train"])
        check_no_leak({"sft": both}, "x")
        frames = {"sft": pl.concat([both, frame(["p2"], ["b"], ["train"])])}
        with pytest.raises(DataError, match="validation of sft and train of sft"):
            check_no_leak(frames, "x")
        frames = {"sft": both, "preferences": frame(["p1"], ["A"], ["validation"])}
        with pytest.raises(DataError, match="train of sft and validation of preferences"):
            check_no_leak(frames, "x")

    def test_names_are_found_by_the_text_or_by_the_only_one_that_folds_alike(self) -> None:
        names = PromptNames([("n1", "What is 5²?"), ("n2", "What is 52?"), ("n3", "Why?")])
        assert names.find("\n\nHuman: What is 52?\n\nAssistant:") == "n2"
        assert names.find("what is 52?") is None
        assert names.find("WHY?") == "n3"
        assert names.find("How?") is None
        assert "n1" in names
        assert "What is 52?" not in names

    def test_a_clash_is_seen_past_a_role_that_may_share(self) -> None:
        frames = {
            "sft": frame(["p1"], ["a"], ["validation"]),
            "prompts": frame(["p1"], ["a"], ["unlabeled"]),
            "preferences": frame(["p1"], ["a"], ["validation"]),
        }
        with pytest.raises(DataError, match="train of prompts and validation of preferences"):
            check_no_leak(frames, "x")
