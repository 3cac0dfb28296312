"""A folder whose config.json or index cannot be right is refused in one line, at once."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from tests.small_families import tiny_model
from westofn.errors import ModelError
from westofn.networks.families import load_backbone
from westofn.text.encoding import Encoder
from westofn.text.model_files import FAMILY_OF, INDEX


def _saved(kind: str, words: PreTrainedTokenizerFast, folder: Path, shard_size: str) -> Path:
    encoder = Encoder(words, 10, 8, FAMILY_OF[kind])
    tiny_model(kind, encoder).save_pretrained(folder, max_shard_size=shard_size)
    return folder


def _refused(folder: Path, needed: str) -> None:
    started = time.monotonic()
    with pytest.raises(ModelError, match=needed) as caught:
        load_backbone(str(folder))
    assert time.monotonic() - started < 5
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "key", "value", "needed"),
    [
        ("t5", "d_model", "64", "config.json: Validation error for field 'd_model'"),
        ("t5", "d_ff", None, "config.json: Validation error for field 'd_ff'"),
        ("t5", "d_model", -4, r"config.json: d_model is -4, needs a number from 1 to \d+: the"),
        ("t5", "num_layers", 10**9, r"num_layers is 1000000000, .* hold \d+ tensors"),
        ("t5", "relative_attention_num_buckets", 10**9, r"buckets is 1000000000, .* numbers"),
        ("llama", "hidden_size", 0, "config.json: hidden_size is 0, needs"),
        ("llama", "vocab_size", 10**12, "config.json: vocab_size is 1000000000000, needs"),
        ("llama", "rope_parameters", [], "field 'rope_parameters'"),
        ("gpt2", "n_embd", -1, "config.json: n_embd is -1, needs"),
        ("gpt2", "n_layer", 10**9, "config.json: n_layer is 1000000000, needs"),
        ("gpt2", "n_head", 3, "cannot be loaded"),
        ("gpt2", "model_type", 7, "config.json: .*model type `7`"),
    ],
)
def test_a_size_that_cannot_be_is_refused_by_its_key(
    kind: str,
    key: str,
    value: object,
    needed: str,
    words: PreTrainedTokenizerFast,
    tmp_path: Path,
) -> None:
    _saved(kind, words, tmp_path, "1GB")
    load_backbone(str(tmp_path))
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    _refused(tmp_path, needed)


@pytest.mark.parametrize("text", ["", "[]", "null", '{"model_type": ', "{}", "NaN"])
def test_a_config_that_is_none_is_refused(
    text: str, words: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    _saved("llama", words, tmp_path, "1GB")
    (tmp_path / "config.json").write_text(text)
    _refused(tmp_path, "config.json")


@pytest.mark.parametrize(
    ("index", "needed"),
    [
        ({"weight_map": {"w": "../../outside.safetensors"}}, "names '../../outside.safetensors'"),
        ({"weight_map": {"w": "/etc/passwd"}}, "names '/etc/passwd', needs the name of a file"),
        ({"weight_map": {"w": ".."}}, "weight_map names .."),
        ({"weight_map": {"w": "none.safetensors"}}, "none.safetensors, which is not in the folder"),
        ({"weight_map": {"w": 3}}, "names 3, needs the name"),
        ({"weight_map": {"w": ["a"]}}, "is damaged .* weight_map of file names"),
        ({"weight_map": None}, "is damaged"),
        ({"weight_map": {}}, "needs"),
        ({}, "is damaged .*KeyError"),
        ([], "is damaged"),
        ("", "is damaged"),
    ],
)
def test_a_damaged_index_is_refused(
    index: object, needed: str, words: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    folder = _saved("llama", words, tmp_path / "model", "4KB")
    load_backbone(str(folder))
    (tmp_path / "outside.safetensors").write_bytes(next(folder.glob("*.safetensors")).read_bytes())
    (folder / INDEX).write_text(index if isinstance(index, str) else json.dumps(index))
    _refused(folder, needed)


@pytest.mark.parametrize("size", [0, 4, 8, 100])
def test_a_shard_that_was_cut_is_refused(
    size: int, words: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    folder = _saved("llama", words, tmp_path / "model", "4KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    shards[1].write_bytes(shards[1].read_bytes()[:size])
    _refused(folder, f"cannot be loaded: {shards[1].name}: ")
