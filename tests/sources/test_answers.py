"""Answers become human pairs of HF50 and HF100, and never of a prompt that is held out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from westofn.errors import DataError
from westofn.params.prepare import PrepareParams, WorldParams
from westofn.params.whole import load_params
from westofn.sources.answers import add_answers
from westofn.sources.data import ANSWERS, SourceData
from westofn.sources.registry import load_preferences
from westofn.sources.world import load_world

ROOT = Path(__file__).resolve().parents[2]
PREPARE = load_params(ROOT / "params.yaml").prepare
SIZE = WorldParams.model_validate(
    PREPARE.world.model_dump()
    | {"sft_examples": 60, "train_pairs": 20, "validation_pairs": 5, "test_pairs": 8}
    | {"test_prompts": 5}
)


@pytest.fixture(scope="module")
def world() -> SourceData:
    return load_world(SIZE, 0)


def unlabeled(data: SourceData) -> list[str]:
    return data.prompts.filter(split="unlabeled")["prompt"].to_list()


def row(prompt: str, label: str = "a", first: str = "one", second: str = "two") -> dict[str, str]:
    return {
        "question_id": "q1",
        "prompt": prompt,
        "response_a": first,
        "response_b": second,
        "label": label,
    }


def save(rows: list[dict[str, str]], path: Path) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_an_answer_joins_both_halves_and_the_hidden_pair_of_its_prompt_does_not(
    world: SourceData, tmp_path: Path
) -> None:
    prompt = unlabeled(world)[0]
    data = add_answers(world, save([row(prompt, "b")], tmp_path / "answers.jsonl"))
    added = data.hf50().join(world.hf50(), on="pair_id", how="anti")
    assert added.select(
        "prompt", "chosen", "rejected", "source", "label_source", "split"
    ).rows() == [(prompt, "two", "one", ANSWERS, "human", "train")]
    assert data.hf50().height == world.hf50().height + 1
    train = [frame.preferences.filter(split="train").height for frame in (world, data)]
    assert train == [20, 21]
    hidden = world.preferences.filter(prompt=prompt)
    assert hidden.height == 1
    assert not set(hidden["pair_id"]) & set(data.hf50()["pair_id"])
    assert data.sft.equals(world.sft)
    assert data.prompts.equals(world.prompts)


def test_a_prompt_whose_text_folds_alike_is_told_from_another(
    world: SourceData, tmp_path: Path
) -> None:
    first, second = unlabeled(world)[:2]
    texts = pl.col("prompt").replace({first: "What is 5²?", second: "What is 52?"})
    data = replace(
        world,
        preferences=world.preferences.with_columns(texts),
        prompts=world.prompts.with_columns(texts),
        sft=world.sft.with_columns(texts),
    )
    rows = [row("What is 52? "), row("what is 52?"), row("What is 5²?", "b")]
    answered = add_answers(data, save(rows, tmp_path / "answers.jsonl"))
    added = answered.hf50().filter(source=ANSWERS).sort("prompt")
    assert added.select("prompt", "chosen").rows() == [
        ("What is 52?", "one"),
        ("What is 5²?", "two"),
    ]
    assert answered.counts["answers_dropped_unknown_prompt"] == 1


def test_a_prompt_is_known_whatever_its_case_and_white_space(
    world: SourceData, tmp_path: Path
) -> None:
    prompt = unlabeled(world)[0]
    path = save([row(f"  {prompt.upper()}\n")], tmp_path / "answers.jsonl")
    assert add_answers(world, path).hf50().filter(source=ANSWERS)["prompt"].to_list() == [prompt]


@pytest.mark.parametrize("split", ["validation", "test", "autorater"])
def test_a_held_out_prompt_never_trains(split: str, tmp_path: Path) -> None:
    data = human(tmp_path)
    held_out = data.preferences.filter(split=split)["prompt"].to_list()
    assert held_out
    rows = [row(unlabeled(data)[0]), *map(row, held_out)]
    grown = add_answers(data, save(rows, tmp_path / "answers.jsonl"))
    assert grown.counts["answers_dropped_held_out"] == len(held_out)
    assert grown.preferences.filter(split=split).equals(data.preferences.filter(split=split))
    assert not set(grown.hf50()["prompt"]) & set(held_out)


def test_a_test_prompt_of_the_world_without_a_pair_is_held_out_too(tmp_path: Path) -> None:
    data = load_world(SIZE.model_copy(update={"test_prompts": 12}), 0)
    bare = data.prompts.filter(split="test").join(data.preferences, on="prompt_id", how="anti")
    assert bare.height == 4
    rows = [row(unlabeled(data)[0]), row(bare["prompt"][0])]
    grown = add_answers(data, save(rows, tmp_path / "answers.jsonl"))
    assert grown.counts["answers_dropped_held_out"] == 1


def test_every_row_is_accounted_for(world: SourceData, tmp_path: Path) -> None:
    one, two, three, *_ = unlabeled(world)
    rows = [
        *(row(one), row(one), row(one, "b")),  # a copy; and somebody who disagrees
        *(row(two, "tie"), row(two, "skip"), row(three, "a", "x", " x ")),
        *(row(three, "a", " ", "x"), row("never seen")),
    ]
    counts = add_answers(world, save(rows, tmp_path / "answers.jsonl")).counts
    found = {name[8:]: n for name, n in counts.items() if name.startswith("answers_") and n}
    assert found == {
        "rows_in": 8,
        "rows_out": 2,
        "dropped_duplicate": 1,
        "dropped_tie": 1,
        "dropped_skip": 1,
        "dropped_identical_responses": 1,
        "dropped_empty_response": 1,
        "dropped_unknown_prompt": 1,
    }


def test_human_data_count_their_answers(tmp_path: Path) -> None:
    data = human(tmp_path)
    grown = add_answers(data, save([row(unlabeled(data)[0])], tmp_path / "answers.jsonl"))
    for name in ("pairs_train", "pairs_hf50"):
        assert grown.counts[name] == data.counts[name] + 1
    assert grown.counts["pairs_hf50"] == grown.hf50().height


@pytest.mark.parametrize(
    ("change", "needed"),
    [
        ({"label": "A"}, "column label is 'A', needs one of a, b, tie, skip"),
        ({"label": None}, "column label is a null"),
        ({"response_b": 3}, "column response_b is a int"),
        ({"lable": "a"}, "column label is missing (did you mean lable?)"),
    ],
)
def test_a_bad_row_is_named(
    change: dict[str, object], needed: str, world: SourceData, tmp_path: Path
) -> None:
    bad: dict[str, object] = {**row(unlabeled(world)[0]), **change}
    if "lable" in change:
        del bad["label"]
    path = tmp_path / "answers.jsonl"
    path.write_text(json.dumps(row(unlabeled(world)[1])) + "\n" + json.dumps(bad) + "\n")
    with pytest.raises(DataError) as caught:
        add_answers(world, path)
    message = str(caught.value)
    assert message.startswith(f"{path}:2: ")
    assert needed in message
    assert "\n" not in message


def test_a_file_without_an_answer_is_refused(world: SourceData, tmp_path: Path) -> None:
    path = save([row(unlabeled(world)[0], "tie"), row("never seen")], tmp_path / "answers.jsonl")
    with pytest.raises(DataError, match=r"no usable answer in 2 rows \(dropped_tie 1, dropped_unk"):
        add_answers(world, path)
    with pytest.raises(DataError, match=r"mend prepare\.answers_path"):
        add_answers(world, tmp_path / "missing.jsonl")


def test_the_example_is_of_the_form(tmp_path: Path) -> None:
    example = ROOT / "docs" / "examples" / "answers.jsonl"
    rows = [json.loads(line) for line in example.read_text().splitlines()]
    data = human(tmp_path, [{"prompt": item["prompt"]} for item in rows])
    grown = add_answers(data, example)
    assert {item["label"] for item in rows} == {"a", "b", "tie", "skip"}
    answered = grown.preferences.filter(source=ANSWERS).select("chosen", "rejected").rows()
    assert set(answered) == {("A dog chased a ball.", "A dog ran."), ("A week of rain.", "Wet.")}


def test_the_example_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="answers is file, and answers_path is the example"):
        PrepareParams.model_validate(PREPARE.model_dump() | {"answers": "file"})


def human(folder: Path, prompts: list[dict[str, str]] | None = None) -> SourceData:
    """Pairs from a file, in all splits; with prompts of D_U from elsewhere."""
    pairs = [
        {"prompt": f"word{n} " * 9, "chosen": f"good {n}", "rejected": f"bad {n}"}
        for n in range(60)
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    changes: dict[str, object] = {"source": "files", "path": str(folder / "pairs.jsonl")}
    if prompts:
        (folder / "more.jsonl").write_text("".join(json.dumps(one) + "\n" for one in prompts))
        changes |= {"unlabeled": "both", "unlabeled_path": str(folder / "more.jsonl")}
    data = load_preferences(PrepareParams.model_validate(PREPARE.model_dump() | changes), 0)
    assert set(data.preferences["split"]) == {"train", "validation", "test", "autorater"}
    return data
