"""Pools from a file: the first N that fit, scored by the policy, and every refusal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
import torch

from tests.small_models import PROMPTS
from westofn.artifacts.candidates import CANDIDATES
from westofn.errors import DataError
from westofn.generation import file as module
from westofn.generation.file import read_pools, score_shards
from westofn.models.policy import Policy, log_likelihood
from westofn.sources.splits import prompt_id

FRAME = pl.DataFrame(
    {
        "prompt_id": [prompt_id(prompt) for prompt in PROMPTS],
        "prompt": PROMPTS,
        "split": ["unlabeled"] * len(PROMPTS),
    }
)
RESPONSES = ["good", "bad dog", "a red cat sat"]
ROWS = [{"prompt": prompt, "responses": RESPONSES} for prompt in PROMPTS]


def save(rows: Sequence[object], tmp_path: Path) -> Path:
    path = tmp_path / "pools.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def refusal(rows: Sequence[object], tmp_path: Path, policy: Policy, n: int = 3) -> str:
    with pytest.raises(DataError) as caught:
        read_pools(save(rows, tmp_path), FRAME, n, policy)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_the_table_has_the_texts_and_the_one_scorers_likelihoods(
    small_policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROMPTS_A_SHARD", 2)
    pools, _ = read_pools(save(ROWS[::-1], tmp_path), FRAME, 3, small_policy)
    files = score_shards(small_policy, pools, tmp_path, "file")
    assert len(files) > 1
    frame = CANDIDATES.validate(pl.concat(map(CANDIDATES.read, files)), "candidates")
    text_of = dict(FRAME.select("prompt_id", "prompt").iter_rows())
    asked = [text_of[name] for name in frame["prompt_id"]]
    expected = log_likelihood(small_policy, asked, frame["response"].to_list())
    torch.testing.assert_close(torch.tensor(frame["logprob"].to_list()), expected.logprob)
    assert frame["n_tokens"].to_list() == expected.n_tokens.tolist()
    assert frame["response"].to_list() == RESPONSES * len(PROMPTS)
    assert frame["candidate_index"].to_list() == [0, 1, 2] * len(PROMPTS)


def test_the_first_that_fit_are_taken_and_the_rest_counted(
    small_policy: Policy, tmp_path: Path
) -> None:
    long = " ".join(["dog"] * (small_policy.encoder.template.max_response_tokens + 1))
    rows = [{"prompt": PROMPTS[0], "responses": [long, *RESPONSES]}, *ROWS[1:]]
    rows += [{"prompt": "nobody asked", "responses": ["x"]}]
    pools, counts = read_pools(save(rows, tmp_path), FRAME, 2, small_policy)
    assert pools.prompt_ids == sorted(FRAME["prompt_id"])
    assert pools.responses == [RESPONSES[:2]] * len(PROMPTS)
    assert counts == {
        "rows_other_prompts": 1,
        "responses_too_long": 1,
        "responses_surplus": len(PROMPTS),
        "max_response_tokens": 8,
        # One of the 13 responses has nine tokens, more than a twentieth of them.
        "response_tokens_for_95_percent": 9,
    }


def test_pools_are_named_by_prompt_or_by_its_id(small_policy: Policy, tmp_path: Path) -> None:
    rows = [{"prompt_id": prompt_id(row["prompt"]), "responses": row["responses"]} for row in ROWS]
    by_id = read_pools(save(rows, tmp_path), FRAME, 3, small_policy)
    assert by_id == read_pools(save(ROWS, tmp_path), FRAME, 3, small_policy)


def test_a_bare_question_is_the_prompt_that_is_a_dialogue_and_the_other_way_round(
    small_policy: Policy, tmp_path: Path
) -> None:
    dialogues = [f"\n\nHuman: {prompt}\n\nAssistant:" for prompt in PROMPTS]
    frame = FRAME.with_columns(prompt=pl.Series(dialogues))
    path = save(ROWS, tmp_path)
    expected = read_pools(path, FRAME, 3, small_policy)
    by_question, counts = read_pools(path, frame, 3, small_policy)
    assert (by_question.prompt_ids, counts) == (expected[0].prompt_ids, expected[1])
    assert by_question.responses == expected[0].responses
    path = save(
        [{**row, "prompt": text} for row, text in zip(ROWS, dialogues, strict=True)], tmp_path
    )
    assert read_pools(path, FRAME, 3, small_policy) == expected


def test_prompts_that_are_named_otherwise_are_known_by_their_texts(
    small_policy: Policy, tmp_path: Path
) -> None:
    # As in the embedded world, whose names are numbers.
    names = [f"train-{row:06d}" for row in range(len(PROMPTS))]
    frame = FRAME.with_columns(prompt_id=pl.Series(names))
    pools, _ = read_pools(save(ROWS, tmp_path), frame, 3, small_policy)
    assert pools.prompt_ids == names


def test_a_pool_in_another_spelling_is_used_where_there_is_no_equal_one(
    small_policy: Policy, tmp_path: Path
) -> None:
    loud = {"prompt": PROMPTS[0].upper(), "responses": RESPONSES[::-1]}
    pools, counts = read_pools(save([loud, *ROWS[1:]], tmp_path), FRAME, 3, small_policy)
    assert pools.responses[pools.prompt_ids.index(prompt_id(PROMPTS[0]))] == RESPONSES[::-1]
    assert counts["rows_other_prompts"] == 0
    for rows in ([loud, *ROWS], [*ROWS, loud]):
        pools, counts = read_pools(save(rows, tmp_path), FRAME, 3, small_policy)
        assert pools.responses == [RESPONSES] * len(PROMPTS)
        assert counts["rows_other_prompts"] == 1


def test_two_pools_in_other_spellings_are_refused(small_policy: Policy, tmp_path: Path) -> None:
    twice = [{**ROWS[0], "prompt": text} for text in (PROMPTS[0].upper(), PROMPTS[0].title())]
    text = refusal([*twice, *ROWS[1:]], tmp_path, small_policy)
    assert f"differs from prompt {prompt_id(PROMPTS[0])} only in case" in text
    assert f"as does the pool at {tmp_path / 'pools.jsonl'}:1" in text


def test_prompts_that_fold_alike_have_pools_of_their_own(
    small_policy: Policy, tmp_path: Path
) -> None:
    texts = ["5²", "52"]
    frame = FRAME[:2].with_columns(
        prompt=pl.Series(texts), prompt_id=pl.Series([prompt_id(text) for text in texts])
    )
    rows = [{"prompt": text, "responses": [text, "good"]} for text in texts]
    pools, _ = read_pools(save(rows, tmp_path), frame, 2, small_policy)
    assert {row[0] for row in pools.responses} == set(texts)


def test_a_prompt_without_a_pool_is_named(small_policy: Policy, tmp_path: Path) -> None:
    text = refusal(ROWS[1:], tmp_path, small_policy)
    assert f"1 of {len(PROMPTS)} prompts have no pool, first {prompt_id(PROMPTS[0])}" in text
    assert "sample.engine" in text


def test_too_few_responses_are_refused_by_name(small_policy: Policy, tmp_path: Path) -> None:
    text = refusal(ROWS, tmp_path, small_policy, n=4)
    assert text.startswith(f"{tmp_path / 'pools.jsonl'}:1: prompt {prompt_id(PROMPTS[0])} has 3")
    assert "needs 4 that fit: give more, or lower sample.n_candidates" in text


@pytest.mark.parametrize(
    ("row", "needed"),
    [
        ({"prompt": PROMPTS[0], "response": RESPONSES}, "responses is missing (did you mean"),
        ({"prompt": PROMPTS[0], "responses": "good"}, "responses is a str ('good'), needs a list"),
        ({"prompt": PROMPTS[0], "responses": ["a", None]}, "responses is a null"),
        ({"responses": RESPONSES}, "column prompt is missing"),
        (ROWS[1], "also has a pool at"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(
    row: object, needed: str, small_policy: Policy, tmp_path: Path
) -> None:
    text = refusal([ROWS[1], row, *ROWS[2:]], tmp_path, small_policy)
    assert text.startswith(f"{tmp_path / 'pools.jsonl'}:2: ")
    assert needed in text
