"""Files that carry code: no model, tokenizer, checkpoint or data set runs any of it."""

from __future__ import annotations

import ast
import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from jinja2 import TemplateError
from transformers import PreTrainedTokenizerFast

from tests.repo.pipelines import ROOT
from tests.small_families import tiny_model
from tests.training.test_damage import finish, noisy
from tests.training.test_loop import CPU
from westofn.artifacts.integrity import write_manifest
from westofn.errors import DataError, ModelError
from westofn.networks.continuations import load_language_model
from westofn.networks.families import load_backbone
from westofn.text.encoding import Encoder
from westofn.text.model_files import INDEX
from westofn.text.tokenizer import load_fast_tokenizer
from westofn.training.loop import run


class Attack:
    """A pickle that creates a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """What code of a file would create; it would, as the first lines see."""
    path = tmp_path / "ran"
    pickle.loads(pickle.dumps(Attack(path)))
    path.rmdir()
    return path


@pytest.fixture
def model(words: PreTrainedTokenizerFast, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    tiny_model("llama", Encoder(words, 10, 8, "causal")).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def _edit(path: Path, **values: object) -> None:
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(content | values))


def _load(folder: Path) -> None:
    """As a policy, and as a judge."""
    load_fast_tokenizer(str(folder), "sft.model")
    load_backbone(str(folder))
    load_language_model(str(folder), "cpu", "study.judge.prompted.model")


def _only_pickles(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _sharded_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    _edit(folder / INDEX, weight_map={"model.embed_tokens.weight": "pytorch_model.bin"})


def _adapter(folder: Path) -> None:
    _edit(folder / "adapter_config.json", peft_type="LORA", base_model_name_or_path="/else")


def _own_code(folder: Path) -> None:
    _edit(folder / "config.json", model_type="own", auto_map={"AutoConfig": "own.C"})


def _own_code_beside_a_known_type(folder: Path) -> None:
    _edit(
        folder / "config.json",
        auto_map={"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M", "AutoTokenizer": "own.T"},
    )


def _own_tokenizer(folder: Path) -> None:
    _edit(
        folder / "tokenizer_config.json",
        tokenizer_class="OwnTokenizer",
        auto_map={"AutoTokenizer": ["own.T", "own.T"]},
    )


def _kernel(folder: Path) -> None:
    _edit(folder / "config.json", attn_implementation="someone/kernel")


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "pickled weights alone": (_only_pickles, r"no model.safetensors, and \.bin, \.ckpt, .* never"),
    "an index of pickles": (
        _sharded_pickle,
        "'pytorch_model.bin', needs .* ends with .safetensors",
    ),
    "an adapter": (_adapter, "is an adapter .* read from elsewhere; merge it"),
    "a type of its own": (_own_code, "needs custom code|contains custom code"),
    "a type of its own beside a known one": (_own_code_beside_a_known_type, ""),
    "a tokenizer of its own": (_own_tokenizer, "tokenizer of .* custom code"),
    "a kernel of the hub": (_kernel, r"custom code \(attn_implementation"),
    "pickles that nobody needs": (lambda folder: None, ""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_model_folder_runs_nothing(name: str, model: Path, marker: Path) -> None:
    for file in ("pytorch_model.bin", "adapter_model.bin", "training_args.bin", "x.ckpt", "x.pt"):
        torch.save(Attack(marker), model / file)
    (model / "own.py").write_text(f"import os\nos.mkdir({str(marker)!r})\n")
    damage, needed = HOSTILE[name]
    damage(model)
    if needed:
        with pytest.raises(ModelError, match=needed) as refused:
            _load(model)
        assert "\n" not in str(refused.value)
    else:
        _load(model)
    assert not marker.exists()


def test_a_chat_template_reaches_no_python(model: Path) -> None:
    _edit(model / "tokenizer_config.json", chat_template="{{ ''.__class__.__mro__ }}")
    (model / "chat_template.jinja").unlink(missing_ok=True)
    tokenizer = load_fast_tokenizer(str(model), "sft.model")
    with pytest.raises(TemplateError, match="unsafe"):
        tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
    with pytest.raises(ModelError, match=r"unsafe.*; set sft.chat_template to none"):
        Encoder(tokenizer, 10, 8, "causal", chat=True)


@pytest.mark.parametrize("file", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_a_checkpoint_runs_nothing_even_with_right_checksums(
    file: str, tmp_path: Path, marker: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(noisy(tmp_path / "work", stop_at=8), CPU)
    last = tmp_path / "work" / "checkpoint-6"
    torch.save(Attack(marker), last / file)
    torch.save(Attack(marker), last / "training_args.bin")
    write_manifest(last)
    with pytest.raises(DataError, match=r"something else than tensors .* remove") as end:
        finish(tmp_path / "work", 6)
    assert "\n" not in str(end.value)
    assert not marker.exists()


LOADERS = re.compile(r"pickle|joblib|dill|shelve|marshal")
SAFE = {
    "torch.load": {"weights_only": True},
    "from_pretrained": {"trust_remote_code": False},
}
NO_CODE_OF_A_FOLDER = {"PreTrainedTokenizerFast"}


def _calls(tree: ast.AST) -> list[tuple[str, dict[str, object]]]:
    return [
        (
            ast.unparse(node.func),
            {str(keyword.arg): getattr(keyword.value, "value", None) for keyword in node.keywords},
        )
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    ]


def test_no_code_of_the_project_loads_pickles_or_trusts_remote_code() -> None:
    looked_at = []
    for folder in ("westofn", "stages", "plugins", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text("utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    names = [alias.name for alias in node.names]
                    modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
                    is_error = names == ["UnpicklingError"]
                    assert is_error or not any(map(LOADERS.fullmatch, modules)), path
            for called, options in _calls(tree):
                if called.partition(".")[0] in NO_CODE_OF_A_FOLDER:
                    continue
                for name, needed in SAFE.items():
                    if called.endswith(name):
                        looked_at.append(name)
                        assert needed.items() <= options.items(), (path, called)
                assert not options.get("allow_pickle"), path
                assert not options.get("trust_remote_code"), path
                assert called not in ("eval", "exec"), path
    assert {name: looked_at.count(name) for name in SAFE} == {
        "torch.load": 4,
        "from_pretrained": 13,
    }
