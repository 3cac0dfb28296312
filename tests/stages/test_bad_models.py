"""A model folder that is missing, damaged or of the wrong kind, and training that cannot go on."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import T5ForConditionalGeneration

from tests.resealed import reseal
from tests.stages.pipeline import Tiny
from tests.tiny_encoders import ENCODERS
from westofn import hub
from westofn.errors import ModelError
from westofn.networks.families import load_backbone
from westofn.text.tokenizer import load_pretrained_tokenizer

POLICY = "data/loop/k0/policy"
BASE = "data/loop/k0/rm"
STUDENT = "data/loop/k1/rm"


@dataclass(frozen=True)
class Case:
    """A stage, a model's folder, what is wrong with it, and what the line says beside the path."""

    stage: str
    folder: str
    damage: Callable[[Tiny, Path], None]
    needed: tuple[str, ...]


def _gone(tiny: Tiny, folder: Path) -> None:
    shutil.rmtree(folder)


def _without(name: str) -> Callable[[Tiny, Path], None]:
    return lambda tiny, folder: (folder / name).unlink()


def _cut(name: str) -> Callable[[Tiny, Path], None]:
    def damage(tiny: Tiny, folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return damage


def _instead(other: str) -> Callable[[Tiny, Path], None]:
    def damage(tiny: Tiny, folder: Path) -> None:
        shutil.rmtree(folder)
        shutil.copytree(tiny / other, folder)

    return damage


def _head_of_the_student(tiny: Tiny, folder: Path) -> None:
    shutil.copy(tiny / STUDENT / "head.safetensors", folder)


def _other_weights(tiny: Tiny, folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = {name: 1.5 * tensor for name, tensor in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})


def _no_numbers(tiny: Tiny, folder: Path) -> None:
    path = folder / "head.safetensors"
    weights = {name: tensor * float("nan") for name, tensor in load_file(path).items()}
    save_file(weights, path)
    reseal(folder)


def _two_words_exchanged(tiny: Tiny, folder: Path) -> None:
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    words = tokenizer["model"]["vocab"]
    first, second = sorted(words, key=words.get)[-2:]
    words[first], words[second] = words[second], words[first]
    path.write_text(json.dumps(tokenizer), encoding="utf-8")


def _card(**changes: object) -> Callable[[Tiny, Path], None]:
    def damage(tiny: Tiny, folder: Path) -> None:
        path = folder / "card.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes), encoding="utf-8")

    return damage


CASES = {
    "no policy to sample": Case("sample@k1", POLICY, _gone, ("is missing", "dvc repro")),
    "no policy to train from": Case("base_rm", POLICY, _gone, ("is missing", "dvc repro")),
    "no policy to learn": Case("rlhf@k1", POLICY, _gone, ("is missing", "dvc repro")),
    "no reward model": Case("won_select@k1", BASE, _gone, ("is missing", "dvc repro")),
    "no reward model to evaluate": Case("eval@k1", STUDENT, _gone, ("is missing", "dvc repro")),
    "no reward model to report": Case("report", BASE, _gone, ("is missing", "dvc repro")),
    "another tokenizer": Case(
        "sample@k1",
        POLICY,
        _two_words_exchanged,
        ("tokenizer.json: has SHA-256", "at save it had", "rerun", "copy the folder again"),
    ),
    "another tokenizer of the teacher": Case(
        "won_select@k1", BASE, _two_words_exchanged, ("tokenizer.json: has SHA-256", "rerun")
    ),
    "no tokenizer": Case(
        "won_select@k1", BASE, _without("tokenizer.json"), ("tokenizer.json: is missing", "rerun")
    ),
    "no card": Case("sample@k1", POLICY, _without("card.json"), ("has no card.json", "rerun")),
    "a card cut short": Case("won_select@k1", BASE, _cut("card.json"), ("damaged", "rerun")),
    "another format": Case(
        "won_select@k1", BASE, _card(format=99), ("format 99, this version reads 2", "rerun")
    ),
    "no weights": Case(
        "sample@k1",
        POLICY,
        _without("model.safetensors"),
        ("safetensors: is missing", "rerun"),
    ),
    "weights cut short": Case(
        "sample@k1", POLICY, _cut("model.safetensors"), ("model.safetensors: has SHA-256", "rerun")
    ),
    "no head": Case(
        "won_select@k1",
        BASE,
        _without("head.safetensors"),
        ("head.safetensors: is missing",),
    ),
    "the head of another comparator": Case(
        "won_select@k1",
        BASE,
        _head_of_the_student,
        ("head.safetensors: has SHA-256", "at save it had", "rerun"),
    ),
    "other weights": Case(
        "sample@k1", POLICY, _other_weights, ("model.safetensors: has SHA-256", "rerun")
    ),
    "a reward model of no numbers": Case(
        "won_select@k1", BASE, _no_numbers, ("a canary gives nan", "rerun")
    ),
    "a policy for a reward model": Case(
        "won_select@k1", BASE, _instead(POLICY), ("holds a policy, needs a reward_model", "rerun")
    ),
    "a reward model for a policy": Case(
        "sample@k1", POLICY, _instead(BASE), ("holds a reward_model, needs a policy", "rerun")
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_bad_model_is_one_line_and_leaves_the_outputs(name: str, tiny: Tiny) -> None:
    case = CASES[name]
    case.damage(tiny, tiny / case.folder)
    tiny.fail(case.stage, case.folder, *case.needed)


def test_a_pairwise_student_cannot_train_a_policy(tiny: Tiny) -> None:
    _instead(BASE)(tiny, tiny / STUDENT)
    tiny.fail("rlhf@k1", "needs a pointwise reward model, this one is embedding")


@pytest.mark.parametrize(
    ("stage", "section"),
    [("sft", "sft"), ("base_rm", "base_rm"), ("student_rm@k1", "student_rm"), ("rlhf@k1", "rlhf")],
)
def test_a_loss_that_is_not_finite_ends_the_stage(stage: str, section: str, tiny: Tiny) -> None:
    tiny.change({section: {"learning_rate": 1e30, "steps": 4, "warmup_fraction": 0.0}})
    line = tiny.fail(stage, "learning_rate")
    assert "nan" in line.lower() or "inf" in line.lower() or "not finite" in line


class TestPretrained:
    """sft.model: a folder or a name on the hub."""

    def test_a_folder_that_is_not_there(self, tiny: Tiny) -> None:
        tiny.change({"sft": {"model": "models/t5/small"}})
        tiny.fail("sft", "'models/t5/small'", "no such folder", "mend sft.model")

    @pytest.mark.parametrize("load", [load_backbone, load_pretrained_tokenizer])
    def test_a_name_without_a_network_fails_at_once(
        self, load: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

        def unknown(*_: object) -> None:
            raise socket.gaierror("Name or service not known")

        monkeypatch.setattr(socket, "create_connection", unknown)
        started = time.monotonic()
        with pytest.raises(ModelError, match="cannot be reached; run `hf download nobody/t5-none"):
            load("nobody/t5-none")
        assert time.monotonic() - started < 2.5

    def test_a_network_that_swallows_packets_is_waited_for_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr("westofn.hub.PATIENCE_SECONDS", 0.2)

        def swallow(*_: object) -> None:
            time.sleep(1)
            raise TimeoutError

        monkeypatch.setattr(socket, "create_connection", swallow)
        started = time.monotonic()
        with pytest.raises(ModelError, match="cannot be reached"):
            load_backbone("nobody/t5-none")
        assert time.monotonic() - started < 0.9

    def test_offline_mode_is_not_even_asked(
        self, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        monkeypatch.delattr(socket, "create_connection")
        tiny.change({"sft": {"model": "nobody/t5-none"}})
        tiny.fail("sft", "nobody/t5-none", "HF_HUB_OFFLINE", "hf download", "sft.model")

    def test_a_cached_name_is_read_without_a_network(
        self, made: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        repository = tmp_path / "models--nobody--t5-cached"
        shutil.copytree(made / POLICY, repository / "snapshots" / "abc")
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("abc")
        assert hub.is_local("nobody/t5-cached")

    def test_the_hub_is_asked_where_it_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
            monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
            monkeypatch.setenv("no_proxy", "127.0.0.1")
            assert hub.hub_answers()
            assert not hub.is_local("nobody/t5-none")
            monkeypatch.setattr(constants, "ENDPOINT", "http://hub.invalid")
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
            assert hub.hub_answers()

    def test_a_folder_of_another_family(self, tiny: Tiny) -> None:
        (tiny / "vit").mkdir()
        (tiny / "vit" / "config.json").write_text('{"model_type": "vit"}')
        tiny.change({"sft": {"model": "vit"}})
        tiny.fail("sft", "'vit' is of family vit; supported: t5", "sft.model")

    @pytest.mark.parametrize("kind", ENCODERS)
    def test_a_folder_that_cannot_write(self, kind: str, tiny: Tiny) -> None:
        (tiny / "encoder").mkdir()
        (tiny / "encoder" / "config.json").write_text(json.dumps({"model_type": kind}))
        tiny.change({"sft": {"model": "encoder"}})
        tiny.fail(
            "sft",
            f"model 'encoder' is a {kind}, which is encoder-only and cannot generate responses",
            "give sft.model a model that can, such as t5",
            "reward_start.model",
        )

    def test_a_folder_without_weights(self, tiny: Tiny) -> None:
        shutil.copytree(tiny / POLICY, tiny / "t5")
        (tiny / "t5" / "model.safetensors").unlink()
        tiny.change({"sft": {"model": "t5"}})
        tiny.fail("sft", "weights of 't5' cannot be loaded", "model.safetensors")

    def test_a_folder_with_pickled_weights_only(self, tiny: Tiny) -> None:
        shutil.copytree(tiny / POLICY, tiny / "t5")
        weights = load_file(tiny / "t5" / "model.safetensors")
        torch.save(weights, tiny / "t5" / "pytorch_model.bin")
        (tiny / "t5" / "model.safetensors").unlink()
        tiny.change({"sft": {"model": "t5"}})
        tiny.fail("sft", "weights of 't5' cannot be loaded", "model.safetensors", "complete folder")

    @pytest.mark.parametrize("known", [False, True])
    def test_code_in_a_folder_is_never_run(self, known: bool, tiny: Tiny) -> None:
        shutil.copytree(tiny / POLICY, tiny / "t5")
        marker = tiny / "ran"
        for name in ("configuration_own.py", "modeling_own.py"):
            (tiny / "t5" / name).write_text(f"open({str(marker)!r}, 'w')\n")
        path = tiny / "t5" / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config["auto_map"] = {
            "AutoConfig": "configuration_own.OwnConfig",
            "AutoModelForSeq2SeqLM": "modeling_own.OwnModel",
        }
        config |= {} if known else {"model_type": "own"}
        path.write_text(json.dumps(config), encoding="utf-8")
        if known:  # transformers' own class is taken
            assert type(load_backbone(str(tiny / "t5"))) is T5ForConditionalGeneration
        else:
            tiny.change({"sft": {"model": "t5"}})
            tiny.fail("sft", "model 't5' needs custom code", "never run", "sft.model")
        assert not marker.exists()

    def test_adapters_on_layers_that_are_not_there(self, tiny: Tiny) -> None:
        shutil.copytree(tiny / POLICY, tiny / "t5")
        tiny.change({"sft": {"model": "t5", "lora": {"rank": 2, "targets": "q_proj"}}})
        tiny.fail("sft", "sft: lora.targets contains 'q_proj'", "k, o, q, v", "all-linear")

    def test_a_folder_without_a_tokenizer(self, tiny: Tiny) -> None:
        (tiny / "t5").mkdir()
        for name in ("config.json", "model.safetensors"):
            shutil.copy(tiny / POLICY / name, tiny / "t5")
        tiny.change({"sft": {"model": "t5"}})
        tiny.fail("sft", "tokenizer of 't5'", "none of tokenizer.json, spiece.model", "copy")

    def test_a_tokenizer_of_a_larger_model(self, tiny: Tiny) -> None:
        shutil.copytree(tiny / POLICY, tiny / "t5")
        tokenizer = json.loads((tiny / "t5" / "tokenizer.json").read_text(encoding="utf-8"))
        words = tokenizer["model"]["vocab"]
        size = len(words)
        words["one-more"] = size
        (tiny / "t5" / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
        tiny.change({"sft": {"model": "t5"}})
        tiny.fail("sft", f"embeddings for {size} tokens", f"tokenizer has {size + 1}", "sft.model")
