"""What each stage writes, at a tiny size: the files, the same bytes again, and every variant."""

from __future__ import annotations

import json
import re
import shutil
from typing import Any

import polars as pl
import pytest
from ruamel.yaml import YAML

from tests.judging.stub_server import Reply, serve
from tests.resealed import reseal
from tests.stages.pipeline import ROOT, Tiny
from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.catalogue import TABLES, table_for
from westofn.artifacts.pair_scores import PAIR_SCORES
from westofn.execution.code_digest import digests_of_stages
from westofn.execution.guards import GUARDS

MODEL = (
    "card.json",
    "config.json",
    "curve.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
)
REWARD_MODEL = (*MODEL, "head.safetensors")
EVALUATION = (
    "metrics.json",
    "curves.json",
    "pair_scores.parquet",
    "pool_scores.parquet",
    "prompt_measures.parquet",
)
PLOTS = ("best_of_n", "label_accuracy", "length", "reliability", "rl", "training")

WRITES: dict[str, dict[str, tuple[str, ...]]] = {
    "code": {
        "data/code": (
            *(f"{name}.json" for name in digests_of_stages(ROOT)),
            "base_rm.loss.json",
            "student_rm.loss.json",
            "won_select.selector.json",
        ),
    },
    "check": {"data/check": ("ok",)},
    "prepare": {
        "data/prepared": (
            "sft.parquet",
            "preferences.parquet",
            "prompts.parquet",
            "counts.json",
            "leakage.json",
        ),
        "data/world": ("world.parquet",),
    },
    "sft": {"data/loop/k0/policy": MODEL},
    "base_rm": {"data/loop/k0/rm": REWARD_MODEL},
    "reference_rm@hf50": {"data/reference/hf50": REWARD_MODEL},
    "reference_rm@hf100": {"data/reference/hf100": REWARD_MODEL},
    "autorater": {"data/autorater": ("none.json",)},
    "eval_pool": {"data/eval_pool": ("candidates.parquet",)},
    "sample@k1": {"data/loop/k1": ("candidates.parquet", "counts.json")},
    "won_select@k1": {
        "data/loop/k1/pairs": (
            "pairs.parquet",
            "nested_pairs.parquet",
            "pool_margins.parquet",
            "summary.json",
        )
    },
    "filter@k1": {
        "data/loop/k1/synthetic": ("preferences.parquet", "decisions.parquet", "summary.json")
    },
    "student_rm@k1": {"data/loop/k1/rm": REWARD_MODEL},
    "forecast": {"data/forecast": ("forecast.json",)},
    "prior_rm": {"data/reference/prior": REWARD_MODEL},
    "eval_reference@base": {"data/eval/base": EVALUATION},
    "eval_reference@hf50": {"data/eval/hf50": EVALUATION},
    "eval_reference@hf100": {"data/eval/hf100": EVALUATION},
    "eval_reference@prior": {"data/eval/prior": EVALUATION},
    "eval@k1": {"data/eval/k1": EVALUATION},
    "rlhf@k1": {
        "data/loop/k1/policy": MODEL,
        "data/loop/k1/rl": ("curve.json", "history.json", "metrics.json"),
    },
    "report": {
        ".": ("headlines.json", "metrics.json"),
        "data/plots": tuple(f"{name}.json" for name in PLOTS),
        "data/plots/png": tuple(f"{name}.png" for name in PLOTS),
        "data/report": ("report.html",),
    },
}


def paths(stage: str) -> set[str]:
    return {
        f"{folder}/{name}".removeprefix("./")
        for folder, names in WRITES[stage].items()
        for name in names
    }


def summary(tiny: Tiny, path: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((tiny / path).read_text(encoding="utf-8"))
    return loaded


def test_the_stages_write_their_files_and_no_others(made: Tiny) -> None:
    assert set(WRITES) == set(made.stages)
    written = {path for stage in WRITES for path in paths(stage)}
    given = {"params.yaml", "dvc.yaml", "study/dvc.yaml", "study/run.yaml"}
    assert written == made.files().keys() - given


def test_what_a_stage_writes_lies_in_its_outs(made: Tiny) -> None:
    for name, stage in made.stages.items():
        for path in paths(name):
            assert any(path == out or path.startswith(f"{out}/") for out in stage.outs), path


@pytest.mark.parametrize(
    "stage",
    ["code", "check", "prepare", "sample@k1", "won_select@k1", "filter@k1", "eval@k1", "report"],
)
def test_equal_inputs_give_equal_bytes(stage: str, made: Tiny, tiny: Tiny) -> None:
    for path in paths(stage):
        (tiny / path).unlink()
    tiny.succeed(stage)
    assert tiny.files() == made.files()


def test_a_plugin_is_code_of_the_parameter_that_names_it(tiny: Tiny) -> None:
    tiny.change({"won_select": {"selector": "example:best_second_worst"}})
    before = tiny.files()
    tiny.succeed("code")
    changed = {path for path, digest in tiny.files().items() if digest != before[path]}
    assert changed == {"data/code/won_select.selector.json"}
    assert "plugins/example.py" in summary(tiny, "data/code/won_select.selector.json")


def test_no_stage_leaves_scratch_behind(made: Tiny) -> None:
    assert not [path for path in (made / ".scratch").rglob("*") if path.is_file()]


def test_every_table_is_written_and_keeps_its_contract(made: Tiny) -> None:
    files = sorted((made / "data").rglob("*.parquet"))
    # The study's own table: tests/stages/test_study.py.
    assert {path.stem for path in files} == {table.name for table in TABLES} - {"verdicts"}
    for path in files:
        table_for(path).read(path)


def test_every_run_is_noted_with_its_facts(made: Tiny) -> None:
    lines = (made / "runs/stages.jsonl").read_text(encoding="utf-8").splitlines()
    notes = [json.loads(line) for line in lines]
    modules = [stage.module.rpartition(".")[2] for stage in made.stages.values()]
    assert [note["stage"] for note in notes] == modules
    for note, stage in zip(notes, made.stages.values(), strict=True):
        assert note["arguments"] == list(stage.arguments)
        assert note["seconds"] >= 0
        assert note["peak_memory_mib"] > 10


ACCOUNTS = {
    "sft": "sft: {} examples in, {} used",
    "base_rm": "base_rm: {} pairs in, {} used",
    "reference_rm@hf50": "hf50: {} pairs in, {} used",
    "reference_rm@hf100": "hf100: {} pairs in, {} used",
    "eval_pool": "eval_pool: {} responses in, {} used",
    "sample@k1": "sample: {} responses in, {} used",
    "won_select@k1": "won_select: {} candidates in, {} used",
    "filter@k1": "filter: {} pairs in, {} used",
    "student_rm@k1": "student_rm: {} pairs in, {} used",
    "forecast": "forecast: {} pairs in, {} used",
    "prior_rm": "prior_rm: {} pairs in, {} used",
    "eval_reference@base": "eval base: {} test pairs in, {} used",
    "eval@k1": "eval k1: {} test pairs in, {} used",
    "rlhf@k1": "rlhf: {} prompts in, {} used",
}


@pytest.mark.parametrize("stage", ACCOUNTS)
def test_a_stage_prints_its_account(stage: str, tiny: Tiny) -> None:
    outcome = tiny.call(stage)
    assert outcome.code == 0
    needed = re.escape(ACCOUNTS[stage]).replace(r"\{\}", r"\d+")
    lines = outcome.stdout.splitlines()
    assert re.match(needed, lines[0]), outcome.stdout
    assert all(line.startswith(("  ", "checked: ")) for line in lines[1:])
    assert max(map(len, lines)) <= 80


def test_filter_student_export_and_report_give_one_number(made: Tiny) -> None:
    rows = summary(made, "metrics.json")["rows"]
    kept = summary(made, "data/loop/k1/synthetic/summary.json")["pairs_kept"]
    card = summary(made, "data/loop/k1/rm/card.json")["training"]
    written = pl.read_parquet(made / "data/loop/k1/synthetic/preferences.parquet")
    assert rows["filter k1"]["used"] == kept == written.height == card["synthetic_pairs"]
    assert card["synthetic_dropped_too_long"] == 0
    assert rows["student_rm k1"]["used"] == kept + card["human_pairs"]


def test_every_guard_is_read_in_a_run(made: Tiny) -> None:
    checks = summary(made, "metrics.json")["checks"]
    assert set(checks) == set(GUARDS) - {"judge"}  # which is gold here
    arms = {"hf50", "hf100", "prior", "k1"}
    assert set(checks["chance"]) == {"limit", *arms}
    assert set(checks["spread"]) == {"limit", "base", *arms}
    assert set(checks["cut"]) == {"limit", "sample k1", "rlhf k1"}
    counts = summary(made, "data/loop/k1/counts.json")
    cut = counts["candidates_cut"] / counts["candidates"]
    assert checks["cut"]["sample k1"] == pytest.approx(cut, abs=1e-6)


def test_student_and_teacher_agree_on_the_pairs_that_both_order_alike(tiny: Tiny) -> None:
    teacher = pl.read_parquet(tiny / "data/eval/base/pair_scores.parquet").filter(set="test")
    assert teacher.height == 40
    alike = teacher.with_row_index().with_columns(
        model=pl.lit("k1"),
        p_chosen=pl.when(pl.col("index") < 10)
        .then(pl.lit(0.5))  # a tie, which counts half
        .when(pl.col("index") < 30)
        .then(pl.col("p_chosen"))
        .otherwise(1 - pl.col("p_chosen"))
        .cast(pl.Float32),
    )
    PAIR_SCORES.write(alike.drop("index"), tiny / "data/eval/k1/pair_scores.parquet")
    tiny.succeed("report")
    assert summary(tiny, "metrics.json")["checks"]["agreement"]["k1"] == pytest.approx(25 / 40)


def test_no_pair_has_a_response_that_was_cut(made: Tiny) -> None:
    sampled = pl.read_parquet(made / "data/loop/k1/candidates.parquet")
    cut = set(
        sampled.filter(pl.col("finish_reason") == "length")
        .select("prompt_id", "candidate_index")
        .rows()
    )
    assert cut  # a policy that learned nothing
    pairs = pl.read_parquet(made / "data/loop/k1/pairs/pairs.parquet")
    assert pairs["fault"].is_null().all()
    for side in ("chosen_index", "rejected_index"):
        assert not cut & set(pairs.select("prompt_id", side).rows())
    rows = summary(made, "metrics.json")["rows"]
    assert rows["won_select k1"]["dropped_cut"] == len(cut)


def test_rows_beyond_the_limit_are_loud_and_counted(tiny: Tiny) -> None:
    policy = tiny / "data/loop/k0/policy"
    card = json.loads((policy / "card.json").read_text(encoding="utf-8"))
    reseal(policy, template=card["template"] | {"max_response_tokens": 12})
    outcome = tiny.call("reference_rm@hf100")
    assert outcome.code == 0
    facts = summary(tiny, "data/reference/hf100/card.json")["training"]
    dropped, most = facts["human_dropped_too_long"], facts["response_tokens_for_95_percent"]
    assert dropped > 6
    assert f"hf100: 60 pairs in, {60 - dropped} used; dropped {dropped} too_long" in outcome.stdout
    told = " ".join(outcome.stderr.split())
    assert f"WARNING: hf100: {100 * dropped / 60:.0f} % of pairs are" in told
    assert f"too long for sft.max_response_tokens 12; {most} keeps 95 %" in told


def test_without_a_filter_every_usable_pair_is_kept(made: Tiny) -> None:
    found = summary(made, "data/loop/k1/synthetic/summary.json")
    assert found["pairs_selected"] == 30
    assert found["pairs_kept"] == 30 - sum(found["dropped"].values())
    assert not {"confidence", "likelihood"} & found["dropped"].keys()
    kept = pl.read_parquet(made / "data/loop/k1/synthetic/preferences.parquet")
    assert kept.height == found["pairs_kept"]


@pytest.mark.parametrize(
    ("settings", "reason", "threshold"),
    [
        ({"quantile": 0.5}, "confidence", "confidence_threshold"),
        ({"likelihood_quantile": 0.3}, "likelihood", "likelihood_threshold"),
        (
            {"likelihood_quantile": 0.3, "likelihood_normalisation": "sum"},
            "likelihood",
            "likelihood_threshold",
        ),
    ],
)
def test_a_filter_drops_for_its_reason_and_counts(
    settings: dict[str, Any], reason: str, threshold: str, tiny: Tiny
) -> None:
    tiny.change({"filter": settings})
    tiny.succeed("filter@k1")
    found = summary(tiny, "data/loop/k1/synthetic/summary.json")
    decisions = pl.read_parquet(tiny / "data/loop/k1/synthetic/decisions.parquet")
    assert 0 < found["dropped"][reason] < 30
    assert decisions.filter(pl.col("dropped_by") == reason).height == found["dropped"][reason]
    assert found["pairs_kept"] + sum(found["dropped"].values()) == 30
    assert threshold in found


def test_a_tournament_selects_pairs_that_the_rest_of_the_loop_takes(tiny: Tiny) -> None:
    exact = summary(tiny, "data/loop/k1/pairs/summary.json")
    tiny.change({"won_select": {"method": "tournament"}})
    tiny.succeed("won_select@k1", "filter@k1", "eval@k1", "report")
    found = summary(tiny, "data/loop/k1/pairs/summary.json")
    assert (exact["method"], found["method"]) == ("exact", "tournament")
    assert found["pairs_selected"] == exact["pairs_selected"]
    assert pl.read_parquet(tiny / "data/loop/k1/pairs/pairs.parquet")["pool_std"].is_null().all()
    page = (tiny / "data/report/report.html").read_text(encoding="utf-8")
    assert "a tournament compares too few candidates to order them" in page


@pytest.mark.parametrize(
    "selector", ["best_random", "random_pair", "best_below", "best_median", "quartiles"]
)
def test_every_selector_gives_one_pair_a_prompt(selector: str, tiny: Tiny) -> None:
    tiny.change({"won_select": {"selector": selector}})
    tiny.succeed("won_select@k1")
    found = summary(tiny, "data/loop/k1/pairs/summary.json")
    assert (found["selector"], found["pairs_selected"]) == (selector, 30)


@pytest.mark.parametrize("comparator", ["joint", "pointwise"])
def test_every_comparator_labels_and_is_evaluated(comparator: str, tiny: Tiny) -> None:
    tiny.change({"base_rm": {"comparator": comparator}})
    tiny.succeed("base_rm", "won_select@k1", "filter@k1", "eval_reference@base", "eval@k1")
    found = summary(tiny, "data/loop/k1/pairs/summary.json")
    assert (found["comparator"], found["pairs_selected"]) == (comparator, 30)
    metrics = summary(tiny, "data/eval/base/metrics.json")
    assert 0 <= metrics["accuracy"] <= 1
    assert ("best_of_n_win_rate" in metrics) == (comparator == "pointwise")


def test_an_ensemble_labels_pessimistically_and_is_evaluated(made: Tiny, tiny: Tiny) -> None:
    tiny.change({"base_rm": {"members": 2}, "won_select": {"pessimism": 1.0}})
    tiny.succeed(
        "base_rm", "won_select@k1", "filter@k1", "eval_reference@base", "eval@k1", "report"
    )
    found = summary(tiny, "data/loop/k1/pairs/summary.json")
    assert (found["members"], found["pessimism"], found["pairs_selected"]) == (2, 1.0, 30)
    single = summary(made, "data/loop/k1/pairs/summary.json")
    assert (single["members"], single["pessimism"]) == (1, 0.0)
    assert found["forward_passes"] == 2 * single["forward_passes"]
    assert 0 <= summary(tiny, "data/eval/base/metrics.json")["accuracy"] <= 1
    folders = [made / "data/loop/k0/rm", tiny / "data/loop/k0/rm"]
    weights = [folders[0] / "head.safetensors", folders[1] / "member-0" / "head.safetensors"]
    assert weights[0].read_bytes() == weights[1].read_bytes()


WEIGHTS = ("model.safetensors", "head.safetensors")


def weights_of(tiny: Tiny, model: str) -> list[bytes]:
    return [(tiny / model / name).read_bytes() for name in WEIGHTS]


def facts_of(tiny: Tiny, model: str) -> dict[str, Any]:
    facts: dict[str, Any] = summary(tiny, f"{model}/card.json")["training"]
    return facts


def test_without_synthetic_pairs_the_student_is_hf50(made: Tiny, tiny: Tiny) -> None:
    tiny.change({"student_rm": {"synthetic_fraction": 0}})
    tiny.succeed("student_rm@k1")
    assert weights_of(tiny, "data/loop/k1/rm") == weights_of(made, "data/reference/hf50")
    assert facts_of(tiny, "data/loop/k1/rm")["synthetic_pairs"] == 0
    assert weights_of(made, "data/loop/k1/rm") != weights_of(made, "data/reference/hf50")


def test_the_prior_stands_instead_of_synthetic_pairs_or_beside_them(made: Tiny, tiny: Tiny) -> None:
    prior = facts_of(made, "data/reference/prior")
    assert (prior["learner"], prior["human_pairs"], prior["synthetic_pairs"]) == (
        "linear_head", 30, 0
    )  # fmt: skip
    assert prior["covariance_candidates"] == 30 * 8
    tiny.change(
        {
            "student_rm": {
                "learner": "linear_head",
                "synthetic_fraction": 0,
                "covariance_power": "validation",
            }
        }
    )
    tiny.succeed("student_rm@k1", "reference_rm@hf50", "eval@k1", "rlhf@k1", "report")
    assert weights_of(tiny, "data/loop/k1/rm") == weights_of(made, "data/reference/prior")
    page = (tiny / "data/report/report.html").read_text(encoding="utf-8")
    assert "k1, human pairs alone, linear head" in page
    assert "HF50 + covariance prior" in page
    reference = facts_of(tiny, "data/reference/hf50")
    assert (reference["learner"], reference["covariance_power"]) == ("linear_head", 0.0)
    tiny.change({"student_rm": {"synthetic_fraction": 0.5, "covariance_power": 2}})
    tiny.succeed("student_rm@k1")
    beside = facts_of(tiny, "data/loop/k1/rm")
    kept = summary(tiny, "data/loop/k1/synthetic/summary.json")["pairs_kept"]
    assert (beside["synthetic_pairs"], beside["covariance_power"]) == (kept, 2.0)


def test_a_larger_pool_is_cut_to_the_n_that_is_asked_for(tiny: Tiny) -> None:
    tiny.change({"sample": {"n_candidates": 4}})
    tiny.succeed("won_select@k1")
    pairs = pl.read_parquet(tiny / "data/loop/k1/pairs/pairs.parquet")
    assert summary(tiny, "data/loop/k1/pairs/summary.json")["n_candidates"] == 4
    assert max(pairs["chosen_index"].max(), pairs["rejected_index"].max()) < 4  # type: ignore[type-var]


def test_rloo_trains_without_a_value_network(made: Tiny, tiny: Tiny) -> None:
    tiny.change({"rlhf": {"algorithm": "rloo"}})
    tiny.succeed("rlhf@k1")
    assert summary(tiny, "data/loop/k1/rl/metrics.json")["algorithm"] == "rloo"
    histories = [json.loads((t / "data/loop/k1/rl/history.json").read_text()) for t in (made, tiny)]
    assert "value_loss" in histories[0][0]
    assert "value_loss" not in histories[1][0]


def test_without_gold_an_autorater_is_trained_and_judges(tiny: Tiny) -> None:
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    rows = [
        {"prompt": f"{a} {b} {c}", "chosen": f"{a} good {b}", "rejected": f"{c} bad {b}"}
        for i, a in enumerate(words)
        for j, b in enumerate(words)
        for c in words[(i + j) % 3 :: 4]
    ]
    (tiny / "hh.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tiny.change({"prepare": {"source": "hh", "path": "hh.jsonl"}})
    shutil.rmtree(tiny / "data/autorater")
    tiny.succeed("prepare", "autorater", "eval_pool", "eval_reference@hf50")
    assert pl.read_parquet(tiny / "data/world/world.parquet").height == 0
    assert {path.name for path in (tiny / "data/autorater").iterdir()} == set(REWARD_MODEL)
    metrics = summary(tiny, "data/eval/hf50/metrics.json")
    assert metrics["judge"] == "autorater"
    assert not [key for key in metrics if "gold" in key]


def repetition_of(candidates: pl.DataFrame) -> dict[str, Any]:
    """What counts.json says of 30 pools of 8 responses; `repeated_ngrams` is a share."""
    distinct = candidates.group_by("prompt_id").agg(pl.col("response").n_unique())["response"]
    return {
        "identical_samples": pytest.approx((240 - distinct.sum()) / 210),
        "pools_of_one_response": (distinct == 1).sum(),
        "repeated_ngrams": pytest.approx(0.1, abs=0.1),
    }


def test_pools_from_a_file_take_the_place_of_samples(made: Tiny, tiny: Tiny) -> None:
    sampled = pl.read_parquet(made / "data/loop/k1/candidates.parquet")
    counts = summary(made, "data/loop/k1/counts.json")
    cut = sampled.filter(pl.col("finish_reason") == "length").height
    assert counts == {
        "rows_other_prompts": 0,
        "responses_too_long": 0,
        "responses_surplus": 0,
        "prompts": 30,
        "prompts_trimmed": 0,
        "candidates": 240,
        "candidates_cut": cut,
        **repetition_of(sampled),
    }
    pools = sampled.group_by("prompt_id", maintain_order=True).agg(responses="response")
    (tiny / "pools.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in pools.iter_rows(named=True))
        + json.dumps({"prompt": "nobody asked", "responses": []})
    )
    tiny.change({"sample": {"engine": "file", "path": "pools.jsonl"}})
    tiny.succeed("sample@k1", "won_select@k1", "filter@k1")
    read = pl.read_parquet(tiny / "data/loop/k1/candidates.parquet")
    same = ["prompt_id", "candidate_index", "response"]
    assert read.select(same).equals(sampled.select(same))
    read_from_file = summary(tiny, "data/loop/k1/counts.json")
    limits = {"max_response_tokens", "response_tokens_for_95_percent"}
    assert read_from_file.keys() - counts.keys() == limits
    changed = {key for key in counts if counts[key] != read_from_file[key]}
    assert changed == {"rows_other_prompts", "candidates_cut"}
    assert (read_from_file["rows_other_prompts"], read_from_file["candidates_cut"]) == (1, 0)
    # Of texts whose tokens are those that were drawn; a policy that learned nothing draws others.
    assert ((read["logprob"] - sampled["logprob"]).abs() < 1e-3).any()
    tiny.change({"sample": {"n_candidates": 9}})
    tiny.fail("sample@k1", "pools.jsonl:1", "has 8 responses", "needs 9", "sample.n_candidates")


def test_a_server_samples_the_policy_of_the_round(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(_: int, body: dict[str, Any]) -> Reply:
        choices = [{"text": f" yes {i} ", "finish_reason": "stop"} for i in range(body["n"])]
        return Reply(body={"choices": choices})

    tiny.change({"sample": {"engine": "openai", "model": "policy-{round}"}})
    with serve(script) as stub:
        monkeypatch.setenv("WESTOFN_SAMPLE_URL", stub.url)
        tiny.succeed("sample@k1", "won_select@k1")
    assert {body["model"] for body in stub.bodies} == {"policy-k0"}
    read = CANDIDATES.read(tiny / "data/loop/k1/candidates.parquet")
    assert set(read["response"]) == {f"yes {i}" for i in range(8)}
    assert summary(tiny, "data/loop/k1/counts.json")["candidates"] == 240
    tiny.change({"sample": {"temperature": 0.5}})  # other samples, so no shard of the first run
    monkeypatch.delenv("WESTOFN_SAMPLE_URL")
    tiny.fail("sample@k1", "sample: the server's address is ''", "WESTOFN_SAMPLE_URL")


def test_vllm_is_asked_of_the_machine_and_then_of_the_policy(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.change({"sample": {"engine": "vllm"}})
    monkeypatch.setenv("WESTOFN_VLLM_PYTHON", "none/python")
    tiny.fail("sample@k1", "vllm_python is 'none/python'", "cannot be run", ".vllm/bin/python")
    monkeypatch.setattr("westofn.execution.vllm_engine.require_vllm", lambda runtime: None)
    tiny.fail("sample@k1", "data/loop/k0/policy: sample.engine is vllm", "encoder_decoder", "local")


def test_every_stage_runs_with_adapters_in_bf16_and_recomputed_activations(
    made: Tiny, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WESTOFN_GRADIENT_CHECKPOINTING", "true")
    shutil.copytree(made / "data/loop/k0/policy", tiny / "pretrained")
    tiny.change({"sft": {"model": "pretrained", "precision": "bf16"}, "lora": {"rank": 2}})
    trained = ("sft", "base_rm", "reference_rm@hf50", "student_rm@k1", "rlhf@k1")
    stages = [*trained[:3], "sample@k1", "won_select@k1", "filter@k1", *trained[3:]]
    tiny.succeed("check", *stages, "eval@k1")
    for name in trained:
        folder = tiny / next(out for out in tiny.stage(name).outs if "/rl" not in out)
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        assert card["precision"] == "bf16", name
        assert card["training"]["lora_rank"] == 2, name
        assert {path.name for path in folder.iterdir()} <= set(REWARD_MODEL), name


def _second_round(tiny: Tiny, **stop: float) -> None:
    """A round k2 on the policy that k1 trained, with its candidates sampled."""
    loop = {"k1": {"prev": "k0"}, "k2": {"prev": "k1"}}
    yaml = YAML()
    document = yaml.load((tiny / "params.yaml").read_text(encoding="utf-8"))
    document["loop"] = loop
    document["won_select"]["anchor"] = 0.5
    document["won_select"]["stop"].update(stop)
    with (tiny / "params.yaml").open("w", encoding="utf-8") as handle:
        yaml.dump(document, handle)
    tiny.succeed("sample@k2")


def test_a_later_round_is_judged_beside_the_first_base_and_notes_its_health(tiny: Tiny) -> None:
    _second_round(tiny)
    tiny.succeed("won_select@k2", "filter@k2", "student_rm@k2", "eval@k2")
    found = summary(tiny, "data/loop/k2/pairs/summary.json")
    assert (found["anchor"], found["comparator"]) == (0.5, "pointwise")
    assert {*found["pool_health"]} == {"agreement", "spread", "distinct", "length"}
    first = summary(tiny, "data/loop/k1/pairs/summary.json")
    assert not {"anchor", "pool_health"} & first.keys()
    assert found["forward_passes"] == 2 * first["forward_passes"]
    measured = summary(tiny, "data/eval/k2/metrics.json")
    assert measured["pairs_selected"] == found["pairs_selected"]


def test_the_first_round_knows_neither_anchor_nor_stop(made: Tiny, tiny: Tiny) -> None:
    beyond = {"agreement": 1.0, "spread": 100.0, "distinct": 1.0, "length": 1.0}
    tiny.change({"won_select": {"anchor": 1.0, "stop": beyond}})
    tiny.succeed("won_select@k1")
    for name in ("pairs.parquet", "nested_pairs.parquet", "pool_margins.parquet", "summary.json"):
        path = f"data/loop/k1/pairs/{name}"
        assert (tiny / path).read_bytes() == (made / path).read_bytes()


def test_a_round_whose_pools_are_beyond_a_limit_ends_with_a_reason(tiny: Tiny) -> None:
    _second_round(tiny, spread=100.0)
    tiny.fail(
        "won_select@k2",
        "round k2: spread of the previous student's margins relative to round 1 is",
        "needs at least 100 (won_select.stop.spread)",
        "raise rlhf.kl_weight, lower rlhf.steps, or take k2 out of `loop`",
    )
