"""What `check` foresees: files, models, sizes and settings with which a later stage would fail."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from tests.stages.pipeline import ROOT, Tiny
from westofn.core.losses import LOSSES
from westofn.core.selection import SELECTORS
from westofn.networks.encoder_only import LAST_LINEAR
from westofn.preflight import machine
from westofn.preflight.entries import PLAIN_LOSSES, PLAIN_SELECTORS
from westofn.text.model_files import FAMILY_OF

Make = Callable[[Path], None]
Changes = dict[str, Any]
SECONDS = 2.0
MANY = 10**9
LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_attention_heads": 4,
    "max_position_embeddings": 4096,
}
BERT = {"model_type": "bert", "hidden_size": 64, "num_attention_heads": 4}


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """A root where nothing ran, on a machine without GPU and hub."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(machine, "_ACCELERATORS", ())
    monkeypatch.setattr(machine, "memory", lambda: 32 * 2**30)
    monkeypatch.setattr("westofn.preflight.foresee.memory", lambda: 32 * 2**30)
    for name in ("WESTOFN_DEVICE", "WESTOFN_JUDGE_URL", "WESTOFN_SAMPLE_URL"):
        monkeypatch.delenv(name, raising=False)
    return Tiny.make(tmp_path / "root")


def model(config: dict[str, Any] | str, *without: str, **files: str) -> Make:
    """Write a folder `m` that looks like a pretrained model."""

    def make(root: Path) -> None:
        folder = root / "m"
        folder.mkdir()
        text = config if isinstance(config, str) else json.dumps(config)
        content = {
            "config.json": text,
            "model.safetensors": "weights",
            "tokenizer.json": "{}",
            "tokenizer_config.json": "{}",
        }
        for name, value in files.items():
            content[name.replace("__", ".")] = value
        for name in set(content) - set(without):
            (folder / name).write_text(content[name])

    return make


def file(name: str, content: str = "") -> Make:
    def make(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)

    return make


def folder(name: str) -> Make:
    return lambda root: (root / name).mkdir()


def pipe(name: str) -> Make:
    return lambda root: os.mkfifo(root / name)


def link(name: str, target: str) -> Make:
    return lambda root: (root / name).symlink_to(target)


def listening(name: str) -> Make:
    def make(root: Path) -> None:
        here = Path.cwd()
        os.chdir(root)  # the path of a socket is short
        try:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(name)
        finally:
            os.chdir(here)

    return make


def nothing(root: Path) -> None:
    """Leave the root as it is."""


def data(path: str) -> Changes:
    return {"prepare": {"source": "files", "path": path}}


POLICY: Changes = {"sft": {"model": "m"}}
START: Changes = {"reward_start": {"model": "m"}, "rlhf": {"algorithm": "rloo"}}
SPLIT = {"validation_fraction": 0.4, "test_fraction": 0.3, "autorater_fraction": 0.3}
MODEL = "give sft.model a folder with config.json and model.safetensors"

FORESEEN: dict[str, tuple[Make, Changes, tuple[str, ...]]] = {
    # Files that params.yaml names.
    "no path": (nothing, {"prepare": {"path": ""}}, ("prepare.path is ''", "path of a file")),
    "a path of spaces": (nothing, {"prepare": {"path": "  "}}, ("prepare.path is '  '",)),
    "no path of pools": (nothing, {"sample": {"path": ""}}, ("sample.path is ''",)),
    "no path of prompts": (
        nothing,
        {"prepare": {"unlabeled_path": ""}},
        ("prepare.unlabeled_path is ''",),
    ),
    "no path of demonstrations": (nothing, {"prepare": {"sft_path": ""}}, ("sft_path is ''",)),
    "the repository": (nothing, data("."), ("prepare.path is '.'", "holds this repository")),
    "above the repository": (nothing, data(".."), ("prepare.path is '..'", "your data alone")),
    "the whole machine": (nothing, data("/"), ("prepare.path is '/'", "holds this repository")),
    "a missing file": (nothing, data("raw/p.jsonl"), ("raw/p.jsonl", "no such file or folder")),
    "an empty file": (file("p.jsonl"), data("p.jsonl"), ("p.jsonl: is empty", "prepare.path")),
    "an empty file of a folder": (
        file("raw/a.jsonl"),
        data("raw"),
        ("raw/a.jsonl: is empty", "prepare.path"),
    ),
    "an empty folder": (folder("raw"), data("raw"), ("raw: the folder has no file that ends",)),
    "a name of another ending": (file("p.txt", "x"), data("p.txt"), ("needs a name that ends",)),
    "a device": (nothing, data("/dev/zero"), ("/dev/zero: a device; needs a file or folder",)),
    "the null device": (nothing, data("/dev/null"), ("/dev/null: a device",)),
    "a pipe": (pipe("p.jsonl"), data("p.jsonl"), ("p.jsonl: a pipe", "mend prepare.path")),
    "a socket": (listening("p.jsonl"), data("p.jsonl"), ("p.jsonl: a socket",)),
    "a link to itself": (link("p.jsonl", "p.jsonl"), data("p.jsonl"), ("leads back to itself",)),
    "a link to nothing": (link("p.jsonl", "gone"), data("p.jsonl"), ("a file that is missing",)),
    "missing demonstrations": (
        file("p.jsonl", "{}"),
        {"prepare": {**data("p.jsonl")["prepare"], "sft": "file", "sft_path": "d.jsonl"}},
        ("d.jsonl: no such file or folder; mend prepare.sft_path",),
    ),
    "missing prompts": (
        file("p.jsonl", "{}"),
        {"prepare": {**data("p.jsonl")["prepare"], "unlabeled": "both", "unlabeled_path": "u"}},
        ("u: no such file or folder; mend prepare.unlabeled_path",),
    ),
    "missing answers": (
        nothing,
        {"prepare": {"answers": "file", "answers_path": "a.jsonl"}},
        ("a.jsonl: no such file or folder; mend prepare.answers_path",),
    ),
    "missing pools": (
        nothing,
        {"sample": {"engine": "file", "path": "g.jsonl"}},
        ("g.jsonl: no such file or folder; mend sample.path",),
    ),
    # Splits.
    "nothing to train on": (
        nothing,
        {"prepare": {"files": SPLIT}},
        ("prepare.files", "are 1 together", "needs less than 1"),
    ),
    "no test": (nothing, {"prepare": {"files": {"test_fraction": 0.0}}}, ("test_fraction is 0",)),
    "no test pairs": (nothing, {"prepare": {"world": {"test_pairs": 0}}}, ("test_pairs is 0",)),
    "no test prompts": (
        nothing,
        {"prepare": {"world": {"test_prompts": 0}}},
        ("prepare.world.test_prompts is 0",),
    ),
    "no test prompts of files": (
        nothing,
        {"prepare": {"files": {"max_test_prompts": 0}}},
        ("prepare.files.max_test_prompts is 0",),
    ),
    # Models.
    "no name of a model": (nothing, {"sft": {"model": ""}}, ("sft.model", "''")),
    "no such model": (
        nothing,
        {"sft": {"model": "nobody/none"}},
        ("'nobody/none' cannot be loaded: there is no such folder", "HF_HUB_OFFLINE", "sft.model"),
    ),
    "no such path": (
        nothing,
        {"sft": {"model": "models/of/mine"}},
        ("'models/of/mine' cannot be loaded: there is no such folder; mend sft.model",),
    ),
    "a file for a model": (
        nothing,
        {"sft": {"model": "params.yaml"}},
        ("model 'params.yaml' is a file; give sft.model the folder that holds it",),
    ),
    "a folder without a model": (
        nothing,
        {"sft": {"model": "study"}},
        (f"model 'study' has no config.json; {MODEL}",),
    ),
    "half a configuration": (
        model('{"model_type": "lla'),
        POLICY,
        ("m/config.json cannot be read", MODEL),
    ),
    "a list for a configuration": (model("[]"), POLICY, ("m/config.json holds list", MODEL)),
    "no model type": (model({}), POLICY, ("model 'm' has no model_type in config.json",)),
    "an unknown family": (
        model({"model_type": "vit"}),
        POLICY,
        ("model 'm' is of family vit; supported: t5, llama", "sft.model"),
    ),
    "custom code": (
        model({"model_type": "own", "auto_map": {}}),
        POLICY,
        ("model 'm' needs custom code", "never run"),
    ),
    "an encoder as the policy": (model(BERT), POLICY, ("encoder-only", "cannot generate")),
    "heads that do not divide": (
        model(LLAMA | {"num_attention_heads": 5}),
        POLICY,
        ("hidden_size 64, which is no multiple of num_attention_heads 5",),
    ),
    "no heads": (
        model(LLAMA | {"num_attention_heads": 0}),
        POLICY,
        ("no multiple of num_attention_heads 0",),
    ),
    "unsteady positions": (
        model(LLAMA | {"rope_scaling": {"type": "dynamic", "factor": 2.0}}),
        POLICY,
        ("rope_type dynamic", "longest row of its batch"),
    ),
    "no weights": (
        model(LLAMA, "model.safetensors"),
        POLICY,
        ("weights of 'm' cannot be loaded: the folder has no model.safetensors",),
    ),
    "pickled weights": (
        model(LLAMA, "model.safetensors", pytorch_model__bin="x"),
        POLICY,
        ("the folder has no model.safetensors", "complete folder"),
    ),
    "a part of the weights": (
        model(
            LLAMA,
            "model.safetensors",
            model__safetensors__index__json='{"weight_map": {"a": "part-1.safetensors"}}',
        ),
        POLICY,
        ("model.safetensors.index.json: weight_map names part-1.safetensors, which is not in",),
    ),
    "a damaged list of parts": (
        model(LLAMA, "model.safetensors", model__safetensors__index__json="[]"),
        POLICY,
        ("m/model.safetensors.index.json is damaged",),
    ),
    "no tokenizer": (
        model(LLAMA, "tokenizer.json"),
        POLICY,
        ("tokenizer of 'm' cannot be loaded: the folder has none of tokenizer.json",),
    ),
    "no chat template": (
        model(LLAMA),
        {"sft": {"model": "m", "chat_template": "model"}},
        ("sft.chat_template is model, but the model's tokenizer has no chat template",),
    ),
    "no settings of the tokenizer": (
        model(LLAMA, "tokenizer_config.json"),
        {"sft": {"model": "m", "chat_template": "model"}},
        ("tokenizer has no chat template; set sft.chat_template to none",),
    ),
    "damaged settings of the tokenizer": (
        model(LLAMA, tokenizer_config__json="{"),
        {"sft": {"model": "m", "chat_template": "model"}},
        ("m/tokenizer_config.json cannot be read",),
    ),
    "a chat template from scratch": (
        nothing,
        {"sft": {"chat_template": "model"}},
        ("sft: chat_template is model, but a model from scratch has no chat template",),
    ),
    "prompts beyond positions": (
        model(LLAMA),
        {"sft": {"model": "m", "max_prompt_tokens": 4096}},
        ("positions for 4096 tokens", "rows of 4129", "sft.max_prompt_tokens 4096"),
    ),
    "responses beyond positions": (
        model({"model_type": "gpt2", "n_embd": 64, "n_head": 4, "n_positions": 1024}),
        {"sft": {"model": "m", "max_response_tokens": MANY}},
        ("positions for 1024 tokens", "sft.max_response_tokens 1000000000 + 1"),
    ),
    "two responses beyond positions": (
        model(LLAMA | {"max_position_embeddings": 150}),
        {"base_rm": {"comparator": "joint"}, **POLICY},
        ("positions for 150 tokens", "rows of 162", "2 × (sft.max_response_tokens 32 + 1)"),
    ),
    "a RoBERTa's reserved positions": (
        model(BERT | {"model_type": "roberta", "max_position_embeddings": 130}),
        START,
        ("positions for 128 tokens", "rows of 129", "give reward_start.model"),
    ),
    "an encoder for ppo": (
        model(BERT),
        {"reward_start": {"model": "m"}},
        ("encoder-only bert", "set rlhf.algorithm to rloo"),
    ),
    "no such start": (
        nothing,
        {"reward_start": {"model": "study"}},
        ("model 'study' has no config.json; give reward_start.model",),
    ),
    "no such judge": (
        nothing,
        {"study": {"judge": {"kind": "llm", "prompted": {"model": "study"}}}},
        ("model 'study' has no config.json; give study.judge.prompted.model",),
    ),
    # Sizes.
    "heads of an odd width": (
        nothing,
        {"sft": {"scratch": {"family": "causal", "width": 24, "heads": 8}}},
        ("width 24 over heads 8 is 3, needs an even number",),
    ),
    "heads of the wide model": (
        nothing,
        {"sft": {"scratch": {"width": 40, "heads": 5}}},
        ("study.wide is 24, needs a multiple of 5 for sft.scratch.heads 5",),
    ),
    "width": (nothing, {"sft": {"scratch": {"width": 8 * 10**8, "heads": 1}}}, ("sft.scratch",)),
    "layers": (nothing, {"sft": {"scratch": {"layers": MANY}}}, ("layers 1,000,000,000", "GiB")),
    "feed_forward": (
        nothing,
        {"sft": {"scratch": {"feed_forward": MANY}}},
        ("feed_forward 1,000",),
    ),
    "layers of the encoder": (
        nothing,
        {
            "reward_start": {"model": "scratch", "scratch": {"layers": MANY}},
            "rlhf": {"algorithm": "rloo"},
        },
        ("reward_start.scratch", "layers 1,000,000,000"),
    ),
    "the wide model": (nothing, {"study": {"wide": MANY}}, ("study.wide is 1,000,000,000", "GiB")),
    "batch of sft": (nothing, {"sft": {"batch_size": MANY}}, ("sft.batch_size is 1,000,000,000",)),
    "batch of reward": (nothing, {"reward": {"batch_size": MANY}}, ("base_rm.batch_size is",)),
    "batch of rlhf": (nothing, {"rlhf": {"batch_size": MANY}}, ("rlhf.batch_size is",)),
    "rank": (
        model(LLAMA),
        {"sft": {"model": "m", "lora": {"rank": MANY}}},
        ("sft.lora.rank is 1,000,000,000", "GiB"),
    ),
    "planes": (nothing, {"base_rm": {"planes": MANY}}, ("base_rm.planes is 1,000,000,000",)),
    "members": (nothing, {"base_rm": {"members": MANY}}, ("base_rm.members 1,000,000,000",)),
    "candidates": (nothing, {"sample": {"n_candidates": MANY}}, ("sample.n_candidates is 1,000",)),
    "margins": (
        nothing,
        {"sample": {"n_candidates": 10**6}},
        ("n_candidates is 1,000,000 with won_select.method exact", "3,725 GiB", "has 32"),
    ),
    "deep pools": (nothing, {"study": {"deep_candidates": MANY}}, ("study.deep_candidates is",)),
    "examples": (
        nothing,
        {"prepare": {"world": {"sft_examples": MANY}}},
        ("prepare.world.sft_examples is 1,000,000,000", "GiB"),
    ),
    "prompts": (
        nothing,
        {"prepare": {"world": {"extra_prompts": MANY}}},
        ("prepare.world.extra_prompts is 1,000,000,000",),
    ),
    # Numbers with which nothing can be computed.
    "a whole number of 400 digits": (
        nothing,
        {"sft": {"steps": int("9" * 400)}},
        ("sft: steps is 999", "needs at most 2,147,483,647"),
    ),
    "steps": (nothing, {"rlhf": {"epochs": 2**31}}, ("rlhf: epochs is 2147483648", "at most")),
    "the largest float": (nothing, {"rlhf": {"clip": 1e308}}, ("clip is 1e+308", "at most 1e+38")),
    "a penalty": (nothing, {"reward": {"centering": 1e300}}, ("centering is 1e+300",)),
    "a temperature": (nothing, {"sample": {"temperature": 1e200}}, ("temperature is 1e+200",)),
    "infinity": (nothing, {"rlhf": {"kl_weight": float("inf")}}, ("rlhf.kl_weight is inf",)),
    # Entries and settings.
    "a plug-in that is missing": (
        nothing,
        {"won_select": {"selector": "nofile:x"}},
        ("won_select.selector: plugins/nofile.py is missing",),
    ),
    "a plug-in that fails": (
        file("plugins/broken.py", "import nothing_of_the_kind\n"),
        {"won_select": {"selector": "broken:x"}},
        ("plugins/broken.py cannot be executed (ModuleNotFoundError",),
    ),
    "a plug-in without the entry": (
        file("plugins/bare.py", ""),
        {"reward": {"loss": "bare:hinge"}},
        ("base_rm.loss is 'bare:hinge', and plugins/bare.py has no 'hinge'",),
    ),
    "a plug-in of another kind": (
        file("plugins/number.py", "five = 5\n"),
        {"won_select": {"selector": "number:five"}},
        ("won_select.selector is 'number:five', a int; needs a function",),
    ),
    "a judge's question": (
        nothing,
        {"study": {"judge": {"prompted": {"template": "{prompt} {first}"}}}},
        ("study.judge.prompted: template has no {second}",),
    ),
}


@pytest.mark.parametrize("case", FORESEEN)
def test_what_would_fail_later_is_one_line_of_check(case: str, fresh: Tiny) -> None:
    make, changes, needed = FORESEEN[case]
    make(fresh.root)
    fresh.change(changes)
    started = time.process_time()
    fresh_line(fresh, *needed)
    assert time.process_time() - started < SECONDS or "plugins" in str(needed)


def fresh_line(fresh: Tiny, *needed: str) -> None:
    """Run check, which must refuse in one line with these texts, and write nothing."""
    outcome = fresh.call("check")
    assert outcome.code == 2, outcome
    (line,) = outcome.lines
    assert line.startswith("check: ")
    for text in needed:
        assert text in line, line
    assert not (fresh / "data").exists()


ADDRESSES = {
    "localhost:8000": "needs one such as http",
    "http://": "needs one such as http",
    "ftp://host/v1": "needs one such as http",
    "http://host:many/v1": "needs one such as http",
    "http://[::1/v1": "needs one such as http",
    "http://me:secret@host/v1": "holds a name or password",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_that_is_none_is_foreseen(
    address: str, fresh: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh.change({"study": {"judge": {"kind": "openai"}}})
    monkeypatch.setenv("WESTOFN_JUDGE_URL", address)
    fresh_line(fresh, "judge: the server's address", ADDRESSES[address])


@pytest.mark.parametrize("device", ["gpu", "tpu:0", "cuda", "cuda:1", "cpu:x", "cuda,cpu"])
def test_a_device_that_is_not_here_is_foreseen(
    device: str, fresh: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WESTOFN_DEVICE", device)
    fresh_line(fresh, f"device is {device!r}, needs cpu", "runtime.toml")


def test_a_missing_package_of_the_executor_is_foreseen(
    fresh: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WESTOFN_EXECUTOR", "ray")
    monkeypatch.setattr("westofn.packages.find_spec", lambda name: None)
    fresh_line(
        fresh,
        "executor 'ray' needs ray, which is not installed: "
        "pip install -c constraints.txt -e '.[ray]', or set executor to local in runtime.toml",
    )


def test_a_machine_or_policy_that_vllm_cannot_use_is_foreseen(
    fresh: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delenv("WESTOFN_VLLM_PYTHON", raising=False)
    fresh.change({"sample": {"engine": "vllm"}})
    fresh_line(
        fresh, "sample.engine is vllm, and the package vllm is not installed", "vllm_python in"
    )
    monkeypatch.setattr("westofn.preflight.foresee.require_vllm", lambda runtime: None)
    fresh_line(
        fresh, "sft.model: sample.engine is vllm, which runs causal", "family is encoder_decoder"
    )
    fresh.change({"sft": {"model": "m"}})
    model({"model_type": "t5"})(fresh.root)
    fresh_line(fresh, "sft.model: sample.engine is vllm", "family is encoder_decoder")


WARNED: dict[str, tuple[Make, Changes, str]] = {
    "bf16 on a plain CPU": (nothing, {"sft": {"precision": "bf16"}}, "this CPU has no bf16 units"),
    "a student that no classifier can be": (
        model(LLAMA),
        POLICY,
        "student_rm.readout is mean, and `export rm` makes classifiers from last alone",
    ),
    "no address": (
        nothing,
        {"study": {"judge": {"kind": "openai"}}},
        "study.judge.kind is openai, and no address is set",
    ),
    "no address of a server that samples": (
        nothing,
        {"sample": {"engine": "openai", "model": "m"}},
        "sample.engine is openai, and no address is set; set WESTOFN_SAMPLE_URL",
    ),
}


@pytest.mark.parametrize("case", WARNED)
def test_what_works_badly_is_warned_of(
    case: str, fresh: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text("flags : fpu avx2 avx512f\n")
    monkeypatch.setattr(machine, "_CPU", tmp_path / "cpuinfo")
    make, changes, needed = WARNED[case]
    make(fresh.root)
    fresh.change(changes)
    outcome = fresh.call("check")
    assert outcome.code == 0, outcome.stderr
    (line,) = outcome.lines
    assert line.startswith("check: warning: ")
    assert needed in line


FINE: dict[str, tuple[Make, Changes]] = {
    "the default": (nothing, {}),
    "a T5, whose student is no classifier anyway": (
        model({"model_type": "t5", "d_model": 64, "num_heads": 6}),
        POLICY,
    ),
    "a student of the last token": (model(LLAMA), {**POLICY, "reward": {"readout": "last"}}),
    "heads of a width of their own": (
        model(LLAMA | {"num_attention_heads": 6, "head_dim": 16}),
        {**POLICY, "reward": {"readout": "last"}},
    ),
    "a chat template": (
        model(LLAMA, tokenizer_config__json='{"chat_template": "{{ messages }}"}'),
        {"sft": {"model": "m", "chat_template": "model"}, "reward": {"readout": "last"}},
    ),
    "a chat template of its own file": (
        model(LLAMA, chat_template__jinja="{{ messages }}"),
        {"sft": {"model": "m", "chat_template": "model"}, "reward": {"readout": "last"}},
    ),
    "data that is there": (file("raw/p.jsonl", "{}\n"), data("raw")),
    "two candidates": (nothing, {"sample": {"n_candidates": 2}}),
    "a large seed": (nothing, {"seed": 2**70}),
    "every selector of the project": (nothing, {"won_select": {"selector": "quartiles"}}),
}


@pytest.mark.parametrize("case", FINE)
def test_what_works_is_let_through_without_a_word(case: str, fresh: Tiny) -> None:
    make, changes = FINE[case]
    make(fresh.root)
    fresh.change(changes)
    outcome = fresh.call("check")
    assert (outcome.code, outcome.lines) == (0, [])


def test_a_change_since_the_last_commit_is_told_with_its_undo(fresh: Tiny) -> None:
    for command in (["init", "-q"], ["add", "params.yaml"], ["commit", "-qm", "start"]):
        identity = ["-c", "user.name=n", "-c", "user.email=e@x"]
        subprocess.run(["git", *identity, *command], cwd=fresh.root, check=True)
    fresh.change({"filter": {"quantile": "abc"}})
    fresh_line(
        fresh,
        "filter.quantile is 'abc', needs a valid number",
        "`git diff params.yaml` shows what, `git checkout params.yaml` takes all of it back",
    )
    subprocess.run(["git", "checkout", "-q", "params.yaml"], cwd=fresh.root, check=True)
    fresh.succeed("check")


def test_the_names_that_need_no_torch_are_those_of_the_tables() -> None:
    assert set(PLAIN_SELECTORS) == set(SELECTORS)
    assert set(PLAIN_LOSSES) == {name for name, loss in LOSSES.items() if loss.targets}
    encoders = {name for name, family in FAMILY_OF.items() if family == "encoder"}
    assert encoders == set(LAST_LINEAR)


@pytest.mark.parametrize("case", ["no such start", "a missing file", "candidates"])
def test_a_refusal_imports_no_torch(case: str, fresh: Tiny) -> None:
    make, changes, needed = FORESEEN[case]
    make(fresh.root)
    fresh.change(changes)
    code = (
        "import sys; sys.argv = ['check', '--out', 'data/check/ok']\n"
        "import stages.check as stage\n"
        "from stages.common import run\n"
        "try: run(stage.main)\n"
        "finally: print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=fresh.root,
        env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == "False\n"
    assert needed[0] in done.stderr
