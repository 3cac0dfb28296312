"""The study on a tiny run: every part, in the order of study/dvc.yaml."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.stages.pipeline import Tiny
from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.json_file import read_json
from westofn.artifacts.verdicts import VERDICTS
from westofn.sources.world.gold import Gold
from westofn.study.catalogue import GROUPS
from westofn.study.pages.results import results_page
from westofn.study.records import PARTS, collect

POOL = re.compile(r"(positive|negative)_(un)?labeled|labeled|deep_(unlabeled|test)")
# Of the model, its data and human labels alone; the other metrics are gold's.
WITHOUT_GOLD = (
    "accuracy", "length_correlation", "best_step", "validation_accuracy",
    "validation_calibrated_loss", "human_pairs", "synthetic_pairs",
)  # fmt: skip


@pytest.fixture(scope="module")
def studied(made: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """After every stage of both files; tests read it only."""
    tiny = made.copy(tmp_path_factory.mktemp("studied") / "root")
    # Long enough for models of other data to differ, and measured as they end.
    longer = {"steps": 5, "evaluations": 1}
    tiny.change({"reward": longer})
    again = ("base_rm", "reference_rm", "won_select", "filter", "student_rm", "eval")
    tiny.succeed(*(name for name in tiny.stages if name.startswith(again)), "rlhf@k1")
    assert len(tiny.study) > 8
    tiny.succeed(*tiny.study)
    return tiny


def part(tiny: Tiny, name: str) -> dict[str, Any]:
    return read_json(tiny / f"data/study/{name}.json")


def test_every_output_is_there_and_valid(studied: Tiny) -> None:
    for stage in studied.study.values():
        for out in stage.outs:
            assert (studied / out).exists(), out
    pools = sorted((studied / "data/study/pools").iterdir())
    assert all(POOL.fullmatch(path.stem) for path in pools)
    assert [CANDIDATES.read(path).height > 0 for path in pools] == [True] * 7
    assert VERDICTS.read(studied / "data/study/verdicts.parquet").height > 0
    for path in (studied / "data/study").rglob("*.json"):
        assert set(read_json(path)) == {"arms", "tables"}


def test_scratch_is_empty_afterwards(studied: Tiny) -> None:
    assert [path for path in (studied / ".scratch").rglob("*") if path.is_file()] == []


def test_every_arm_that_a_table_shows_is_measured(studied: Tiny) -> None:
    measured = {(name, arm) for name in PARTS for arm in part(studied, name)["arms"]}
    shown = {(group.part, arm) for group in GROUPS for arm in group.arms}
    shown |= {(group.against_part, group.against) for group in GROUPS}
    of_large_pools = r"(linear_)?(n|top_bottom|random|distil)(16|32|64)|\w+_n(64|512)\w*"
    # Students are networks at tiny sizes, so the other learner's table is that of linear heads.
    absent = re.compile(rf"{of_large_pools}|network_\w+")
    missing = {arm for _, arm in shown - measured}
    assert [arm for arm in missing if not absent.fullmatch(arm)] == []
    assert len(shown & measured) > 30


def test_arms_are_measured_alike(studied: Tiny) -> None:
    arms = [arm for name in PARTS for arm in part(studied, name)["arms"].values()]
    assert len(arms) > 50
    for arm in arms:
        assert arm.keys() >= {*WITHOUT_GOLD, "on_policy_accuracy", "best_of_n_gold"} - {"best_step"}
        assert "best_step" in arm or "penalty" in arm  # of a network, of a linear head
    assert len({(arm["test_pairs"], arm["n_candidates"]) for arm in arms}) == 1
    # Each has learned something of its own, so that equal numbers below say something.
    assert len({arm["length_correlation"] for arm in arms}) > len(arms) / 2


def test_references_are_those_of_the_main_pipeline(studied: Tiny) -> None:
    """The same function on the same data with the same seed: HF50, HF100 and West-of-N."""
    arms = part(studied, "baselines")["arms"]
    for name, main in (("hf50", "hf50"), ("hf100", "hf100"), ("west", "k1")):
        found = read_json(studied / f"data/eval/{main}/metrics.json")
        same = [key for key in arms[name] if key in found and key != "label_accuracy"]
        assert len(same) > 10
        assert {k: arms[name][k] for k in same} == pytest.approx({k: found[k] for k in same})


def test_the_largest_n_is_west_and_a_pool_of_two_is_another(studied: Tiny) -> None:
    sizes, west = part(studied, "selection")["arms"], part(studied, "baselines")["arms"]["west"]
    assert {k: v for k, v in sizes["n8"].items() if k != "n"} == west
    assert sizes["n2"]["length_correlation"] != west["length_correlation"]


def test_the_page_shows_the_run(studied: Tiny) -> None:
    run = collect(lambda path: (studied / path).read_bytes(), ["k1"])
    page = results_page([0], [run])
    for title in ("main pipeline", "Baselines", "The theorem", "The AI judge", "Over-optimisation"):
        assert title in page
    assert "nan" not in page.lower().replace("finance", "")
    assert json.loads(json.dumps(run)) == run


def test_labels_and_training_do_not_depend_on_gold(
    studied: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An annotator who wants the opposite measures other numbers of the same models.

    The verdicts stay: the simulated judge errs around gold, by design.
    """
    names = ("baselines", "synthetic_bases", "teachers", "overoptimisation")
    other = studied.copy(tmp_path / "root")
    rewards = Gold.rewards
    monkeypatch.setattr(Gold, "rewards", lambda *arguments: -rewards(*arguments))
    for name in names:
        (other / f"data/study/{name}.json").unlink()
    other.succeed(*(f"study_{name}" for name in names))
    looked_at = 0
    for name in names:
        before, after = part(studied, name), part(other, name)
        assert before["arms"].keys() == after["arms"].keys()
        for arm, found in before["arms"].items():
            kept = {key: found[key] for key in WITHOUT_GOLD if key in found}
            assert {key: after["arms"][arm][key] for key in kept} == kept, f"{name}: {arm}"
            assert after["arms"][arm]["best_of_n_gold"] == -found["best_of_n_gold"]
            looked_at += "length_correlation" in kept
    assert looked_at > 20
    curves = [part(tiny, "overoptimisation")["tables"]["curves"] for tiny in (studied, other)]
    for one, two in zip(*curves, strict=True):
        assert {**one, "gold": -one["gold"]} == two


def test_a_part_without_its_input_is_one_line(made: Tiny, tmp_path: Path) -> None:
    tiny = made.copy(tmp_path / "root")
    shutil.rmtree(tiny / "data/eval_pool")
    tiny.fail("study_selection", "data/eval_pool/candidates.parquet is missing", "dvc repro")


def test_a_part_and_a_round_that_do_not_go_together_are_a_usage_error(made: Tiny) -> None:
    for arguments in (("data", "--iteration", "k1"), ("iterations",)):
        outcome = made.call_with(
            "stages.study", "--part", *arguments, "--data", "data", "--out", "data/study/x.json"
        )
        assert outcome.code == 2
        assert "--iteration" in outcome.stderr
    assert not (made / "data/study/x.json").exists()
