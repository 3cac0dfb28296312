"""Headers of cards: what the hub's own reader finds in them, and what is not made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DatasetCard, EvalResult, ModelCard
from huggingface_hub.repocard import metadata_eval_result
from ruamel.yaml import YAML

from tests.exporting.test_pairs import export
from tests.exporting.test_reward_model import METRICS
from westofn.artifacts.json_file import write_json
from westofn.errors import ParameterError
from westofn.exporting.lineage import dvc_digest
from westofn.exporting.metadata import base_model, check_license, datasets, license_of
from westofn.exporting.reward_model import export_reward_model

WORLD: dict[str, Any] = {
    "seed": 4,
    "prepare": {"source": "world", "answers": "none"},
    "sft": {"model": "scratch"},
    "reward_start": {"model": "policy"},
}
HH: dict[str, Any] = {
    "seed": 4,
    "prepare": {"source": "hh", "hub": {"name": "none"}, "files": {"subset": "helpful-base"}},
    "sft": {"model": "Qwen/Qwen2.5-1.5B"},
    "reward_start": {"model": "policy"},
}


def exported(params: dict[str, Any], model: Path, folder: Path, license: str | None) -> Path:  # noqa: A002
    """The card of a model whose parameters dvc.lock records."""
    stage = {
        "params": {"params.yaml": params},
        "outs": [{"path": "data/loop/k1/rm", "md5": dvc_digest(model)}],
    }
    with (folder / "dvc.lock").open("w") as handle:
        YAML().dump({"stages": {"student_rm@k1": stage}}, handle)
    write_json(METRICS, folder / "metrics.json")
    export_reward_model(
        folder / "student",
        model=model,
        metrics=folder / "metrics.json",
        license=license,
        lock=folder / "dvc.lock",
    )
    return folder / "student" / "README.md"


def test_the_hub_reads_the_accuracy_with_the_name_of_its_data(
    saved_models: Path, tmp_path: Path
) -> None:
    card = exported(HH, saved_models / "pointwise", tmp_path, "other")
    data = ModelCard.load(card).data
    (result,) = data.eval_results
    assert isinstance(result, EvalResult)
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.7)
    assert result.dataset_type == "Anthropic/hh-rlhf"
    assert result.dataset_name == "Anthropic/hh-rlhf (helpful-base)"
    assert result.dataset_split == "test"
    assert data.model_name == "student"
    assert data.base_model == "Qwen/Qwen2.5-1.5B"
    assert data.datasets == ["Anthropic/hh-rlhf"]
    assert data.metrics == ["accuracy"]
    assert data.license == "other"
    head = YAML(typ="safe", pure=True).load(card.read_text("utf-8").split("---\n")[1])
    made = metadata_eval_result(
        model_pretty_name="student",
        task_pretty_name="Preference of one response over another",
        task_id="text-classification",
        metrics_pretty_name="Accuracy on held-out preferences",
        metrics_id="accuracy",
        metrics_value=0.7,
        dataset_pretty_name="Anthropic/hh-rlhf (helpful-base)",
        dataset_id="Anthropic/hh-rlhf",
        dataset_split="test",
    )
    del made["model-index"][0]["results"][0]["metrics"][0]["verified"]  # the hub's own word
    assert head["model-index"] == made["model-index"]


def test_the_license_of_the_world_is_known_and_others_are_not_made_up(
    saved_models: Path, tmp_path: Path
) -> None:
    model = saved_models / "pointwise"
    data = ModelCard.load(exported(WORLD, model, tmp_path, None)).data
    assert (data.license, data.base_model, data.datasets) == ("apache-2.0", None, None)
    assert data.eval_results[0].dataset_name == "Embedded world of westofn, seed 4"
    assert ModelCard.load(exported(WORLD, model, tmp_path, "mit")).data.license == "mit"
    card = exported(HH, model, tmp_path, None)
    assert ModelCard.load(card).data.license is None
    assert card.read_text("utf-8").startswith("---\n# license: not known; name it here, or export")


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("prepare", {"source": "files"}),
        ("prepare", {"answers": "file"}),
        ("prepare", {"sft": "file"}),
        ("prepare", {"unlabeled": "both"}),
        ("sft", {"model": "google/gemma-2b"}),
        ("reward_start", {"model": "answerdotai/ModernBERT-base"}),
        ("sample", {"engine": "openai"}),
    ],
)
def test_data_or_a_model_from_elsewhere_leave_the_license_open(
    section: str, change: dict[str, str]
) -> None:
    assert license_of(WORLD, None) == "apache-2.0"
    other = WORLD | {section: WORLD.get(section, {}) | change}
    assert license_of(other, None) is None
    assert license_of(other, "mit") == "mit"
    assert license_of({}, None) is None


def test_a_folder_is_no_base_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    for name, known in (
        ("google/gemma-2b", "google/gemma-2b"),
        ("models/gemma-2b", None),
        ("gemma-2b", None),  # what `lineage_of` leaves of an absolute path
        ("../gemma/2b", None),
        ("scratch", None),
    ):
        assert base_model({"sft": {"model": name}}, "policy") == known
        assert base_model({"reward_start": {"model": name}}, "reward_model") == known
    both = {"sft": {"model": "a/policy"}, "reward_start": {"model": "a/start"}}
    assert base_model(both, "policy") == "a/policy"
    assert base_model(both, "reward_model") == "a/start"


def test_data_sets_are_those_of_the_hub() -> None:
    hub = {"prepare": {"source": "files", "hub": {"name": "a/b"}}}
    assert datasets(hub) == ["a/b"]
    assert datasets({"prepare": {"source": "files", "hub": {"name": "none"}}}) is None
    assert datasets({}) is None


def test_the_hub_reads_the_card_of_pairs(data: Path, tmp_path: Path) -> None:
    export(data, tmp_path / "out" / "pairs.jsonl")
    card = DatasetCard.load(tmp_path / "out" / "README.md").data
    assert card.pretty_name == "West-of-N preferences, iteration k1"
    assert card.tags == ["preference", "synthetic", "west-of-n", "trl"]
    assert card.size_categories == ["n<1K"]
    assert card.license is None


@pytest.mark.parametrize("name", ["MIT", "", "a b", "mit\nx"])
def test_what_cannot_be_a_license_is_refused(name: str) -> None:
    with pytest.raises(ParameterError, match=r"^--license: .* is not an identifier of a license"):
        check_license(name)
    assert check_license("cc-by-4.0") == "cc-by-4.0"
