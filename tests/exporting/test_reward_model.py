"""`python -m westofn export rm`: a folder that loads by itself and says what it is."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML

from tests.resealed import reseal
from tests.small_models import PROMPTS, RESPONSES
from westofn import __main__ as command
from westofn.artifacts.json_file import write_json
from westofn.errors import DataError, ModelError
from westofn.exporting.lineage import dvc_digest
from westofn.exporting.model_card import _evaluated
from westofn.exporting.reward_model import export_reward_model
from westofn.models.ensemble import load_reward_models, mean_rewards

ROOT = Path(__file__).resolve().parents[2]
METRICS = {
    "accuracy": 0.7,
    "accuracy_low": 0.65,
    "accuracy_high": 0.75,
    "longest_accuracy": 0.55,
    "test_pairs": 3000,
    "judge": "gold",
}


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "eval" / "k1" / "metrics.json"
    write_json(METRICS, path)
    return path


def card(folder: Path) -> str:
    return (folder / "README.md").read_text()


@pytest.mark.parametrize("name", ["pointwise", "embedding", "joint", "ensemble"])
def test_the_five_lines_of_the_card_load_and_compare(
    name: str, saved_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_reward_model(tmp_path / "out" / "student", model=saved_models / name)
    monkeypatch.chdir(tmp_path / "out")
    (block,) = re.findall(r"```python\n(.*?)```", card(Path("student")), re.DOTALL)
    *lines, last = block.strip().splitlines()
    assert len(lines) == 3
    names = ("prompt", "first", "second")
    values: dict[str, Any] = dict(zip(names, (PROMPTS[0], *RESPONSES[:2]), strict=True))
    exec("\n".join(lines), values)
    found = eval(last, values)
    assert found.isfinite().all()
    if name == "ensemble":
        alone = load_reward_models(saved_models / name)
        expected = mean_rewards(alone, [PROMPTS[0]], [RESPONSES[:2]])
        assert torch.allclose(found, expected, atol=1e-6)
        assert "an ensemble of 2" in card(Path("student"))


def test_an_export_can_be_exported_again(saved_models: Path, tmp_path: Path) -> None:
    export_reward_model(tmp_path / "one", model=saved_models / "pointwise")
    export_reward_model(tmp_path / "two", model=tmp_path / "one")
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert names == {path.name for path in (tmp_path / "two").iterdir()} > {"README.md"}
    for name in names - {"README.md"}:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert card(tmp_path / "two").count("---\n") == 2


def test_the_card_states_what_the_model_is_and_was_measured_at(
    saved_models: Path, metrics: Path, tmp_path: Path
) -> None:
    out = tmp_path / "student"
    export_reward_model(out, model=saved_models / "pointwise", metrics=metrics)
    text = card(out)
    head = YAML(typ="safe", pure=True).load(text.split("---\n")[1])
    assert head["tags"] == ["reward-model", "west-of-n", "westofn"]
    for line in (
        "pointwise comparator, encoder–decoder. Trained on 30 human and 28 synthetic pairs.",
        "| max_response_tokens | 8 |",
        "| held-out preferences, accuracy | 0.7000 (0.6500 to 0.7500) |",
        "| baseline that prefers the longer response, accuracy | 0.5500 |",
        "3,000 held-out pairs, judged by gold",
    ):
        assert line in text, line
    assert "gold reward" not in text
    assert str(tmp_path) not in text


def lock(tmp_path: Path, model: Path, evaluated: str) -> Path:
    """dvc.lock of a run that trained and measured this model."""
    path, digest = tmp_path / "dvc.lock", dvc_digest(model)
    stages = {
        "student_rm@k1": {
            "params": {"params.yaml": {"student_rm": {"steps": 40}}},
            "outs": [{"path": "data/loop/k1/rm", "md5": digest}],
        },
        "eval@k1": {
            "cmd": "python -m stages.eval --name k1 --rm data/loop/k1/rm --out data/eval/k1",
            "deps": [{"path": "data/loop/k1/rm", "md5": digest}],
            "outs": [{"path": "data/eval/k1", "md5": evaluated}],
        },
    }
    with path.open("w") as handle:
        YAML().dump({"stages": stages}, handle)
    return path


def test_what_dvc_measured_of_this_content_is_found(
    saved_models: Path, metrics: Path, tmp_path: Path
) -> None:
    model = saved_models / "pointwise"
    record = lock(tmp_path, model, dvc_digest(metrics.parent))
    export_reward_model(tmp_path / "out", model=model, lock=record)
    assert "| held-out preferences, accuracy | 0.7000" in card(tmp_path / "out")
    assert "steps: 40" in card(tmp_path / "out")


def test_measures_of_another_content_are_not_taken(
    saved_models: Path, metrics: Path, tmp_path: Path
) -> None:
    record = lock(tmp_path, saved_models / "pointwise", dvc_digest(metrics.parent))
    write_json(METRICS | {"accuracy": 0.9}, metrics)
    for name in ("pointwise", "joint"):
        export_reward_model(tmp_path / name, model=saved_models / name, lock=record)
        assert "No evaluation of this model is recorded." in card(tmp_path / name)


def test_measures_are_those_of_the_model_that_a_stage_evaluated(
    saved_models: Path, tmp_path: Path
) -> None:
    # As in dvc.yaml, the student's evaluation reads the base model, and both read the autorater.
    base, student, autorater = (saved_models / name for name in ("embedding", "pointwise", "joint"))
    digests = {
        "data/loop/k0/rm": dvc_digest(base),
        "data/loop/k1/rm": dvc_digest(student),
        "data/autorater": dvc_digest(autorater),
    }
    stages: dict[str, Any] = {}
    for stage, key, model, accuracy, also in (
        ("eval@k1", "k1", "data/loop/k1/rm", 0.7, " --base data/loop/k0/rm"),
        ("eval_reference@base", "base", "data/loop/k0/rm", 0.6, ""),
    ):
        write_json(METRICS | {"accuracy": accuracy}, tmp_path / f"data/eval/{key}/metrics.json")
        command = f"python -m stages.eval --autorater data/autorater --rm {model}{also}"
        stages[stage] = {
            "cmd": command,
            "deps": [{"path": path, "md5": digests[path]} for path in digests if path in command],
            "outs": [{"path": f"data/eval/{key}", "md5": dvc_digest(tmp_path / "data/eval" / key)}],
        }
    record = tmp_path / "dvc.lock"
    for order in (list(stages), list(reversed(stages))):
        with record.open("w") as handle:
            YAML().dump({"stages": {name: stages[name] for name in order}}, handle)
        for model, line in (
            (base, "accuracy | 0.6000"),
            (student, "accuracy | 0.7000"),
            (autorater, "No evaluation of this model is recorded."),
        ):
            export_reward_model(tmp_path / "out", model=model, lock=record)
            assert line in card(tmp_path / "out"), (model.name, order)
    shutil.rmtree(tmp_path / "data/eval/base")
    export_reward_model(tmp_path / "out", model=base, lock=record)
    assert "No evaluation of this model is recorded." in card(tmp_path / "out")


def test_every_evaluation_of_the_pipeline_names_the_model_that_it_measures() -> None:
    stages = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")
    for name, model in (("eval", "data/loop/${key}/rm"), ("eval_reference", "${item.rm}")):
        stage = stages["stages"][name]["do"]
        deps = [{"path": path, "md5": path} for path in stage["deps"]]
        assert _evaluated({"cmd": stage["cmd"], "deps": deps}) == model


def test_a_folder_that_is_no_export_is_left_alone(saved_models: Path, tmp_path: Path) -> None:
    model = tmp_path / "rm"
    shutil.copytree(saved_models / "pointwise", model)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "README.md").write_text("# Mine\n")
    (tmp_path / "file").touch()
    for place, needed in (
        (model, "rm: is an input of this command"),
        (tmp_path / "project", r"README\.md exists and is not the card of project"),
        (tmp_path / "file", "file: is a file, needs the name of a folder"),
    ):
        with pytest.raises(DataError, match=needed):
            export_reward_model(place, model=model)
    assert (tmp_path / "project" / "README.md").read_text() == "# Mine\n"
    load_reward_models(model)
    (tmp_path / "empty").mkdir()
    export_reward_model(tmp_path / "empty", model=model)
    export_reward_model(tmp_path / "empty", model=model)


def test_files_that_an_export_does_not_have_are_kept(saved_models: Path, tmp_path: Path) -> None:
    out = tmp_path / "student"
    export_reward_model(out, model=saved_models / "ensemble")
    (out / "notes").mkdir()
    (out / "notes" / "mine.txt").write_text("kept")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(
        DataError, match=r"student has notes/mine\.txt, which is not a file of this"
    ):
        export_reward_model(out, model=saved_models / "ensemble")
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


@pytest.mark.parametrize(
    ("out", "needed"),
    [
        ("/dev/null", "is a device or a pipe"),
        ("rm/export", "lies in rm, which must not change"),
        ("data/student", "lies in data, the outputs of the pipeline"),
        ("file/student", "a part of the path is a file"),
        ("/proc/student", "cannot be written"),
    ],
)
def test_a_place_that_is_not_for_exports_is_refused(
    out: str, needed: str, saved_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(saved_models / "pointwise", "rm")
    for name in ("file", "dvc.yaml"):
        Path(name).touch()
    with pytest.raises(DataError, match=f"^{out}: .*{needed}"):
        export_reward_model(Path(out), model=Path("rm"))
    assert {path.name for path in tmp_path.iterdir()} == {"rm", "file", "dvc.yaml"}
    assert {path.name for path in Path("rm").iterdir()} == {
        path.name for path in (saved_models / "pointwise").iterdir()
    }


def test_a_model_that_was_changed_is_not_exported(saved_models: Path, tmp_path: Path) -> None:
    model = tmp_path / "rm"
    shutil.copytree(saved_models / "pointwise", model)
    changed = json.loads((model / "card.json").read_text())
    changed["canaries"][0]["output"][0] += 1
    reseal(model, canaries=changed["canaries"])
    with pytest.raises(ModelError, match="a canary gives"):
        export_reward_model(tmp_path / "out", model=model)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rm"]


def test_the_command_exports_the_student(
    saved_models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(saved_models / "pointwise", "data/loop/k1/rm")
    monkeypatch.setattr(sys, "argv", ["westofn", "export", "rm", "exports/student"])
    with pytest.raises(SystemExit) as end:
        command.main()
    assert not end.value.code
    assert capsys.readouterr().err == "written: exports/student\n"
    assert "\n# student\n" in card(Path("exports/student"))
