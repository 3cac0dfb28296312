"""Near copies join; a template, a preamble or a shared passage joins nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import combinations, pairwise

import pytest

from westofn.core.dialogue import Message, to_text
from westofn.sources.near_duplicates import DisjointSets, join_near_duplicates
from westofn.sources.splits import group_prompts, prompt_id


def sentence(seed: int, count: int) -> str:
    """Return words that no sentence of another seed shares in the same order."""
    return " ".join(random.Random(seed).choices([f"word{n}" for n in range(2000)], k=count))


def sizes(prompts: Sequence[str]) -> list[int]:
    """Return the sizes of the groups, largest first."""
    groups = group_prompts(prompts)
    names = [groups.group_of[prompt_id(prompt)] for prompt in prompts]
    return sorted((names.count(name) for name in set(names)), reverse=True)


def shingles(text: str) -> set[tuple[str, ...]]:
    tokens = text.split()
    width = min(5, len(tokens))
    return {tuple(tokens[at : at + width]) for at in range(len(tokens) - width + 1)}


def similarity(left: str, right: str) -> float:
    first, second = shingles(left), shingles(right)
    return len(first & second) / len(first | second)


def joined(texts: list[str]) -> tuple[set[frozenset[str]], int]:
    """Return the groups that near duplicates form, and the number of joins."""
    groups = DisjointSets(len(texts))
    joins = join_near_duplicates(texts, range(len(texts)), groups, 0.8).joined
    members: dict[int, set[str]] = {}
    for index, text in enumerate(texts):
        members.setdefault(groups.root(index), set()).add(text)
    return {frozenset(group) for group in members.values()}, len(joins)


TEMPLATE = sentence(7000, 60)

FRAMES: dict[str, Callable[[str], str]] = {
    "system message": lambda asked: to_text([Message("system", TEMPLATE), Message("user", asked)]),
    "template": lambda asked: f"{TEMPLATE} {asked}",
    "template around": lambda asked: f"{TEMPLATE} {asked} {sentence(7001, 20)}",
    "passage after": lambda asked: f"{asked} {sentence(7002, 300)}",
    "shots in one turn": lambda asked: (
        "".join(f"Q: {sentence(n, 9)}\nA: {sentence(n + 50, 30)}\n\n" for n in range(7100, 7105))
        + f"Q: {asked}\nA:"
    ),
    "shots as turns": lambda asked: to_text(
        [
            *(
                Message(role, sentence(n + 50 * (role == "user"), 20))
                for n in range(7200, 7204)
                for role in ("user", "assistant")
            ),
            Message("user", asked),
        ]
    ),
    "canned first turn": lambda asked: to_text(
        [Message("user", TEMPLATE), Message("assistant", "Yes."), Message("user", asked)]
    ),
    "greeting": lambda asked: to_text(
        [
            Message("user", "Hi"),
            Message("assistant", "Hello! What is it about?"),
            Message("user", asked),
        ]
    ),
}


@pytest.mark.parametrize("count", [5, 8, 11, 120])
@pytest.mark.parametrize("frame", FRAMES)
def test_different_questions_in_one_frame_stay_apart(frame: str, count: int) -> None:
    prompts = [FRAMES[frame](sentence(row, 8)) for row in range(count)]
    assert sizes(prompts) == [1] * count


@pytest.mark.parametrize("count", [5, 8, 11, 120])
@pytest.mark.parametrize("frame", FRAMES)
def test_questions_of_one_word_in_one_frame_stay_apart(frame: str, count: int) -> None:
    prompts = [FRAMES[frame](f"word{row}") for row in range(count)]
    assert sizes(prompts) == [1] * count


def changed(text: str, place: int) -> str:
    words = text.split(" ")
    return " ".join([*words[:place], "another", *words[place + 1 :]])


COPIES: dict[str, Callable[[str], str]] = {
    "one word changed": lambda asked: changed(asked, 30),
    "first word changed": lambda asked: changed(asked, 0),
    "last word changed": lambda asked: changed(asked, len(asked.split(" ")) - 1),
    "word left out": lambda asked: " ".join(asked.split(" ")[:20] + asked.split(" ")[21:]),
    "sentence appended": lambda asked: f"{asked}. Please answer in a few words.",
    "sentence prepended": lambda asked: f"Please answer in a few words. {asked}",
    "case": str.upper,
    "punctuation": lambda asked: asked.replace(" ", ", ", 5) + "!",
    "white space": lambda asked: asked.replace(" ", "\n  "),
}
PLAIN: dict[str, Callable[[str], str]] = {"nothing": str}


@pytest.mark.parametrize("others", [0, 1, 2, 8, 100])
@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("frame", ["nothing", *FRAMES])
def test_a_near_copy_joins_in_every_frame(frame: str, copy: str, others: int) -> None:
    # 60 words hold 56 five-grams, of which a changed word touches 5: 51 / 61 is above 0.8.
    framed = {**PLAIN, **FRAMES}[frame]
    asked = sentence(9000, 60)
    pair = [framed(asked), framed(COPIES[copy](asked))]
    prompts = pair + [framed(sentence(row, 60)) for row in range(others)]
    # Four or fewer dialogues with one opening are one family.
    is_family = len(prompts) <= 4 and framed(asked).count("Assistant:") > 1
    assert sizes(prompts) == ([len(prompts)] if is_family else [2, *[1] * others])


@pytest.mark.parametrize("others", [0, 1, 5, 100])
@pytest.mark.parametrize("copies", [1, 2, 4, 9])
def test_copies_that_differ_in_several_places_join(copies: int, others: int) -> None:
    asked = sentence(9000, 60)
    prompts = [asked, *(changed(asked, 6 * place + 2) for place in range(copies))]
    prompts += [sentence(row, 60) for row in range(others)]
    assert sizes(prompts) == [copies + 1, *[1] * others]


@pytest.mark.parametrize(("templates", "questions"), [(10, 10), (8, 5), (20, 30)])
def test_several_templates_join_nothing(templates: int, questions: int) -> None:
    prompts = [
        f"{sentence(7300 + template, 60)} {sentence(100 * template + row, 8)}"
        for template in range(templates)
        for row in range(questions)
    ]
    assert sizes(prompts) == [1] * (templates * questions)


def test_copies_with_two_changed_words_join_though_they_are_many() -> None:
    # 120 words hold 116 five-grams; two changed words touch 10 of them: 106 / 126 is above 0.8.
    asked = sentence(9000, 120)
    copies = [changed(changed(asked, 7 * place + 3), 7 * place + 53) for place in range(6)]
    prompts = [asked, *copies, *(sentence(row, 60) for row in range(50))]
    assert sizes(prompts) == [7, *[1] * 50]


def test_one_changed_token_in_forty_five_five_grams_of_which_it_touches_five_joins() -> None:
    # 49 tokens hold 45 five-grams; a change in the middle touches 5 of them on each side, so the
    # Jaccard similarity is 40 / (40 + 5 + 5) = 0.8, the threshold itself.
    words = sentence(1, 49)
    assert joined([words, changed(words, 24)])[1] == 1


def test_one_changed_token_in_forty_four_five_grams_does_not_join() -> None:
    # 39 / (39 + 5 + 5) = 0.796.
    words = sentence(1, 48)
    assert joined([words, changed(words, 24)])[1] == 0


def test_eight_five_grams_within_ten_join() -> None:
    # 12 of 14 tokens: the similarity is 8 / 10, and the longer text's two rarest shingles are its
    # own, so only its third, the last that the prefix filter looks at, is shared.
    words = sentence(1, 14)
    assert joined([words, " ".join(words.split()[:12])])[1] == 1


def test_prompts_without_a_common_shingle_stay_apart() -> None:
    assert sizes(["one two", "three four", "?!", "¿¡"]) == [1, 1, 1, 1]
    assert joined([]) == (set(), 0)


def test_a_chain_ends_at_the_similarity_that_two_steps_can_have() -> None:
    # Each text changes two more words of 100, which touch 10 of 96 five-grams: one step has the
    # similarity 86 / 106, two steps 76 / 116, and three steps 66 / 126.
    chain = [sentence(1, 100)]
    for place in (10, 30, 50):
        chain.append(changed(changed(chain[-1], place), place + 10))
    assert min(similarity(*pair) for pair in pairwise(chain)) >= 0.8
    assert similarity(chain[0], chain[2]) >= 0.6 > similarity(chain[0], chain[3])
    groups, joins = joined(chain)
    assert joins == len(chain) - len(groups)
    assert 1 < len(groups) < len(chain)
    for group in groups:
        assert any(min(similarity(first, other) for other in group) >= 0.6 for first in group)
    assert joined(chain[:3]) == ({frozenset(chain[:3])}, 2)


@pytest.mark.parametrize("seed", range(10))
def test_pairs_equal_those_of_comparing_all_pairs(seed: int) -> None:
    # Clusters of at most 4, so no shingle is boilerplate, of texts that differ in the last words,
    # so no chain is longer than two steps.
    rng = random.Random(seed)
    texts = set()
    for cluster in range(40):
        words = sentence(1000 * seed + cluster, rng.randint(3, 60)).split()
        for copy in range(rng.randint(1, 4)):
            kept = words[: max(3, len(words) - rng.randint(0, len(words) // 4))]
            texts.add(" ".join([*kept, *[f"own{copy}x{n}" for n in range(rng.randint(0, 3))]]))
    listed = sorted(texts)
    near = {pair for pair in combinations(listed, 2) if similarity(*pair) >= 0.8}
    group = {text: {text} for text in listed}
    for left, right in near:
        if group[left] is not group[right]:
            group[left] |= group[right]
            for text in group[right]:
                group[text] = group[left]
    expected = {frozenset(members) for members in group.values()}
    assert len(near) > 5
    assert joined(listed) == (expected, len(listed) - len(expected))
