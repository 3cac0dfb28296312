"""`westofn bench` gives the scores of reward-bench's own code for an exported model.

`pip install --no-deps rewardbench==0.1.4 fschat==0.2.36` suffices. The package's __init__ imports
the code of models that transformers 5 has no place for, so its modules are loaded without it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from transformers.tokenization_utils_base import BatchEncoding

from tests.bench import rows
from tests.small_models import PROMPTS, RESPONSES
from westofn.bench.formats import ReadOptions
from westofn.bench.run import Outcome, evaluate, read_files
from westofn.exporting.reward_model import export_reward_model
from westofn.models.ensemble import load_reward_models
from westofn.models.reward import RewardModel, Scorer
from westofn.models.saved_reward import save_reward_model
from westofn.text.encoding import Encoder
from westofn.text.tokenizer import load_tokenizer

pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(
        not (find_spec("rewardbench") and find_spec("fastchat")),
        reason="needs reward-bench: pip install --no-deps rewardbench==0.1.4 fschat==0.2.36",
    ),
]
TOLERANCE = 1e-4
Prepare = Callable[[dict[str, Any], bool], dict[str, Any]]


class Theirs(NamedTuple):
    """Modules of reward-bench."""

    utils: ModuleType
    constants: ModuleType
    pipeline: ModuleType


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Theirs]:
    spec = find_spec("rewardbench")
    assert spec
    assert spec.submodule_search_locations
    folder = spec.submodule_search_locations[0]
    for name, place in (("rewardbench", folder), ("rewardbench.models", f"{folder}/models")):
        package = ModuleType(name)
        package.__path__ = [place]
        monkeypatch.setitem(sys.modules, name, package)
    sys.modules["rewardbench.models"].REWARD_MODEL_CONFIG = {}  # type: ignore[attr-defined]
    monkeypatch.setattr(BatchEncoding, "to", lambda self, _: self)  # it asks for a GPU
    names = ("rewardbench.utils", "rewardbench.constants", "rewardbench.models.pipeline")
    yield Theirs(*map(importlib.import_module, names))
    for name in names:
        sys.modules.pop(name, None)


class Model(NamedTuple):
    """A saved model, and how reward-bench prepares and scores texts for its export."""

    folder: Path
    prepare: Prepare
    score: Callable[[list[str]], list[float]]
    seam: str


@pytest.fixture(params=["chat template", "no chat template"])
def model(request: pytest.FixtureRequest, theirs: Theirs, causal: Path, tmp_path: Path) -> Model:
    chat = request.param == "chat template"
    encoder = Encoder(load_tokenizer(causal), 100, 60, "causal", chat=chat)
    torch.manual_seed(1)
    network = RewardModel(AutoModelForCausalLM.from_pretrained(causal), "pointwise", 0, "last")
    torch.nn.init.normal_(network.head.weight, std=2.0)
    save_reward_model(Scorer(network.eval(), encoder), tmp_path / "rm", [("sun", "good")], {})
    export_reward_model(tmp_path / "exported", model=tmp_path / "rm")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "exported")
    classifier = AutoModelForSequenceClassification.from_pretrained(tmp_path / "exported")
    pipe = theirs.pipeline.RewardBenchPipeline("text-classification", classifier, tokenizer)

    def prepare(row: dict[str, Any], ift: bool) -> dict[str, Any]:
        if theirs.utils.check_tokenizer_chat_template(tokenizer):
            prepared = theirs.utils.prepare_dialogue_from_tokenizer(row, tokenizer, ift)
        else:
            conversation = importlib.import_module("fastchat.conversation")
            template = conversation.get_conv_template("raw")
            prepared = theirs.utils.prepare_dialogue(row, template, ift)
        return dict(prepared)

    def score(texts: list[str]) -> list[float]:
        logits = pipe(texts, truncation=True, padding=True, max_length=2048)
        return [float(value) for (value,) in logits.float().tolist()]

    return Model(tmp_path / "rm", prepare, score, "" if chat else " ")


def ours(model: Model, folder: Path, made: rows.Rows) -> Outcome:
    file = rows.write(folder / "in.jsonl", made)
    ((benchmark, parts),) = read_files([file], ReadOptions())
    return evaluate(load_reward_models(model.folder), benchmark, parts, batch=8)


def rewards(outcome: Outcome) -> list[list[float]]:
    return [list(scores.values) for scores in outcome.scores if scores]


def first_version(theirs: Theirs, seam: str) -> rows.Rows:
    """Every subset of the core set, with as many rows as prompts."""
    subsets = list(theirs.constants.EXAMPLE_COUNTS)
    return [
        {
            "prompt": prompt,
            "chosen": seam + RESPONSES[(number + index) % 4],
            "rejected": seam + RESPONSES[(2 * number + index + 1) % 4],
            "chosen_model": "a",
            "rejected_model": "b",
            "subset": subset,
            "id": number * len(PROMPTS) + index,
        }
        for number, subset in enumerate(subsets)
        for index, prompt in enumerate(PROMPTS)
    ]


def test_rewardbench_scores_subsets_and_sections_agree(
    model: Model, theirs: Theirs, tmp_path: Path
) -> None:
    made = first_version(theirs, model.seam)
    prepared = [model.prepare(dict(row), False) for row in made]
    chosen = model.score([row["text_chosen"] for row in prepared])
    rejected = model.score([row["text_rejected"] for row in prepared])
    won: dict[str, list[int]] = {}
    for row, a, b in zip(made, chosen, rejected, strict=True):
        won.setdefault(row["subset"], []).append(1 if a > b else 0)
    grouped = {subset: sum(results) / len(results) for subset, results in won.items()}
    sections = theirs.utils.calculate_scores_per_section(
        theirs.constants.EXAMPLE_COUNTS, theirs.constants.SUBSET_MAPPING, grouped
    )

    outcome = ours(model, tmp_path, made)
    got = rewards(outcome)
    assert [row[0] for row in got] == pytest.approx(chosen, abs=TOLERANCE)
    assert [row[1] for row in got] == pytest.approx(rejected, abs=TOLERANCE)
    summaries = outcome.summaries
    assert {s.name: s.accuracy for s in summaries.subsets} == pytest.approx(grouped, abs=TOLERANCE)
    assert {s.name: s.accuracy for s in summaries.sections} == pytest.approx(
        sections, abs=TOLERANCE
    )
    assert len(summaries.subsets) == 23
    assert 0 < summaries.overall.accuracy < 1


def second_version(seam: str) -> rows.Rows:
    made = rows.reward_bench_2()
    for row in made:
        for side in ("chosen", "rejected"):
            row[side] = [seam + response for response in row[side]]
    return made


def test_rewardbench_2_scores_best_of_4_and_ties_agree(
    model: Model, theirs: Theirs, tmp_path: Path
) -> None:
    made = second_version(model.seam)
    unrolled = [
        {**{k: v for k, v in row.items() if k not in ("chosen", "rejected")}, "input": response}
        for row in made
        for response in (*row["chosen"], *row["rejected"])
    ]
    texts = [model.prepare(dict(row), True)["text"] for row in unrolled]
    scores = model.score(texts)
    dataset = Dataset.from_list([
        {"text": text, "scores": score, "id": row["id"], "subset": row["subset"],
         "num_correct": row["num_correct"]}
        for row, text, score in zip(unrolled, texts, scores, strict=True)
    ])  # fmt: skip
    rolled = theirs.utils.reroll_and_score_dataset(
        dataset, [row["total_completions"] for row in made], cols_to_combine=["text", "scores"]
    )
    focus = [row["results"] for row in rolled if row["subset"] == "Focus"]
    ties = [row for row in rolled if row["subset"] == "Ties"]
    _, ties_score = theirs.utils.process_single_model(ties)

    outcome = ours(model, tmp_path, made)
    flat = [score for row in rewards(outcome) for score in row]
    assert flat == pytest.approx(scores, abs=TOLERANCE)
    by_name = {subset.name: subset.accuracy for subset in outcome.summaries.subsets}
    assert by_name["Focus"] == pytest.approx(sum(focus) / len(focus), abs=TOLERANCE)
    assert by_name["Ties"] == pytest.approx(float(ties_score), abs=TOLERANCE)


@pytest.mark.parametrize("seed", range(20))
def test_ties_of_random_scores_agree(theirs: Theirs, seed: int) -> None:
    from westofn.core.reward_benchmarks import TiesRow, ties_scores

    generator = torch.Generator().manual_seed(seed)
    samples, sides = [], {"ref": dict[str, TiesRow](), "tied": dict[str, TiesRow]()}
    for prompt in range(6):
        for kind, correct in (("ref", 1), ("tied", 2 + prompt % 3)):
            if (prompt, kind) == (seed % 6, "ref"):
                continue  # a prompt without its other row
            numbers = torch.randint(-6, 7, (correct + 3,), generator=generator).tolist()
            scores = [*(n / 2 + 2 for n in numbers[:correct]), *(n / 2 for n in numbers[correct:])]
            samples.append({"id": f"{kind}:{prompt}", "scores": scores, "num_correct": correct})
            sides[kind][str(prompt)] = TiesRow(scores[:correct], scores[correct:])
    _, expected = theirs.utils.process_single_model(samples)
    assert ties_scores(sides["ref"], sides["tied"]).score == pytest.approx(float(expected))
