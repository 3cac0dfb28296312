"""Readers of a model's folder and of checkpoints."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.fuzz.cases import Reader, Target
from benchmarks.fuzz.mutate import as_json


def _tiny_encoder() -> Any:
    from tests.small_models import texts
    from westofn.text.encoding import Encoder
    from westofn.text.tokenizer import train_tokenizer

    return Encoder(train_tokenizer(texts(), "words", 64), 10, 8)


def _saved_policy(folder: Path) -> Path:
    from tests.small_models import PROMPTS, RESPONSES, tiny_policy
    from westofn.models.policy import save_policy

    canaries = list(zip(PROMPTS[:2], RESPONSES[:2], strict=True))
    save_policy(tiny_policy(_tiny_encoder()), folder / "policy", canaries, {"steps": 3})
    return folder / "policy"


def _cards(folder: Path) -> Target:
    """card.json; half of the cases have the checksum of their content."""
    from westofn.artifacts.integrity import SEAL, write_sealed
    from westofn.errors import DataError
    from westofn.models.card import CARD, check_files, read_card

    policy = _saved_policy(folder)
    path = policy / CARD
    card = json.loads(path.read_bytes())

    def dump(value: object) -> bytes:
        if not isinstance(value, dict):
            return as_json(value)
        try:
            write_sealed({key: value[key] for key in value if key != SEAL}, path)
        except (DataError, UnicodeEncodeError, RecursionError):
            return as_json(value)
        return path.read_bytes()

    def read(content: bytes) -> None:
        path.write_bytes(content)
        check_files(policy, read_card(policy, "policy"))

    return Target([card], read, dump, ["planes", "readout", "reward_std"])


def _ensembles(folder: Path) -> Target:
    from westofn.models.card import ENSEMBLE, member_folders

    for index in range(2):
        (folder / f"member-{index}").mkdir()

    def read(content: bytes) -> object:
        (folder / ENSEMBLE).write_bytes(content)
        return member_folders(folder)

    return Target([{"members": 2}], read)


def _indices(folder: Path) -> Target:
    from westofn.networks.weights import check_folder
    from westofn.text.model_files import INDEX

    (folder / "a.safetensors").write_bytes(_header({"w": {"dtype": "F32", "shape": [2, 3]}}))

    def read(content: bytes) -> None:
        (folder / INDEX).write_bytes(content)
        check_folder(str(folder), _config())

    return Target([{"metadata": {}, "weight_map": {"w": "a.safetensors"}}], read)


def _headers(folder: Path) -> Target:
    from westofn.networks.weights import check_folder
    from westofn.text.model_files import WEIGHTS

    def read(content: bytes) -> None:
        (folder / WEIGHTS).write_bytes(content)
        check_folder(str(folder), _config())

    tensor = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    return Target([{"w": tensor, "__metadata__": {"format": "pt"}}], read, _header)


def _header(value: object) -> bytes:
    text = json.dumps(value).encode()
    return len(text).to_bytes(8, "little") + text + bytes(24)


def _config() -> Any:
    return SimpleNamespace(num_layers=1, hidden_size=2, attribute_map={})


def _pretrained(name: str) -> Callable[[Path], Target]:
    """A file of a pretrained model, which has no checksum: a T5, a Llama and a GPT-2."""

    def make(folder: Path) -> Target:
        import torch

        from tests.small_families import tiny_model
        from westofn.networks.families import load_backbone
        from westofn.text.tokenizer import load_pretrained_tokenizer

        torch.set_num_threads(1)
        encoder = _tiny_encoder()
        seeds = []
        for kind in ("t5", "llama", "gpt2"):
            tiny_model(kind, encoder).save_pretrained(folder / kind)
            encoder.tokenizer.save_pretrained(folder / kind)
            seeds.append({"kind": kind, "file": json.loads((folder / kind / name).read_bytes())})

        def read(content: bytes) -> object:
            kind = next((kind for kind in ("llama", "gpt2") if kind.encode() in content), "t5")
            (folder / kind / name).write_bytes(content)
            if name == "config.json":
                return load_backbone(str(folder / kind))
            return load_pretrained_tokenizer(str(folder / kind))

        files = [seed["file"] for seed in seeds]
        return Target(files if name == "config.json" else files[:1], read)

    return make


def _preflight(folder: Path) -> Target:
    from benchmarks.fuzz.cases import ROOT
    from westofn.params.whole import load_params
    from westofn.preflight.models import require_models

    params = load_params(ROOT / "params.yaml")
    sft = params.sft.model_copy(update={"model": str(folder), "max_prompt_tokens": 9})
    params = params.model_copy(update={"sft": sft.model_copy(update={"max_response_tokens": 9})})
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).write_bytes(b"")

    def read(content: bytes) -> object:
        (folder / "config.json").write_bytes(content)
        return require_models(params)

    llama = {"hidden_size": 16, "num_attention_heads": 2, "max_position_embeddings": 64}
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}
    seeds = [
        {"model_type": "llama", **llama, **rope},
        {"model_type": "gpt2", "n_embd": 16, "n_head": 2, "n_positions": 64},
        {"model_type": "t5", "d_model": 16},
    ]
    return Target(
        seeds, read, names=["auto_map", "rope_scaling", "head_dim", "position_biased_input"]
    )


def _heads(folder: Path) -> Target:
    """head.safetensors of a reward model whose card names the file as it is."""
    from tests.resealed import reseal
    from tests.small_models import PROMPTS, RESPONSES, tiny_scorer
    from westofn.models.saved_reward import HEAD, load_reward_model, save_reward_model

    canaries = list(zip(PROMPTS[:1], RESPONSES[:1], strict=True))
    place = folder / "rm"
    save_reward_model(tiny_scorer(_tiny_encoder(), "pointwise"), place, canaries, {})
    seed = (place / HEAD).read_bytes()

    def read(content: bytes) -> object:
        (place / HEAD).write_bytes(content)
        reseal(place)
        return load_reward_model(place)

    return Target([seed], read)


def _manifests(folder: Path) -> Target:
    from westofn.artifacts.integrity import MANIFEST, damage, write_manifest

    (folder / "a.bin").write_bytes(b"1")
    write_manifest(folder)

    def read(content: bytes) -> object:
        (folder / MANIFEST).write_bytes(content)
        return damage(folder)

    return Target([json.loads((folder / MANIFEST).read_bytes())], read)


def _checkpoints(stage: str) -> Callable[[Path], Target]:
    """A file of a checkpoint that is not as its manifest says: the checkpoint is dropped."""

    def make(folder: Path) -> Target:
        from westofn.artifacts.integrity import write_manifest
        from westofn.training.loop import _last_checkpoint
        from westofn.training.rl.checkpoint import drop_damaged, load_state

        is_rl = stage == "rlhf"
        name = "records.json" if is_rl else "trainer_state.json"
        place = folder / "state" / ("step-00000004" if is_rl else "checkpoint-4")
        whole = folder / "whole"
        whole.mkdir()
        content_as_saved = as_json({"best_global_step": 4, "curve": [], "history": [{"kl": 0.5}]})
        (whole / name).write_bytes(content_as_saved)
        write_manifest(whole)

        def read(content: bytes) -> object:
            if not place.exists():
                shutil.copytree(whole, place)
            (place / name).write_bytes(content)
            if is_rl:
                drop_damaged(stage, place.parent)
                is_used = load_state(place.parent, []).step == 4
            else:
                is_used = _last_checkpoint(stage, place.parent) is not None
            assert is_used == (content == content_as_saved), "a damaged checkpoint is used"
            return is_used

        return Target([content_as_saved], read)

    return make


READERS = (
    Reader("card.json", "models/card.py", 10_000, _cards),
    Reader("ensemble.json", "models/card.py", 10_000, _ensembles),
    Reader("index of sharded weights", "networks/weights.py", 10_000, _indices),
    Reader("header of weights", "networks/weights.py", 10_000, _headers),
    Reader("config.json, before loading", "preflight/models.py", 10_000, _preflight),
    Reader("config.json, loading", "networks/families.py", 1_000, _pretrained("config.json")),
    Reader("tokenizer.json", "text/tokenizer.py", 1_500, _pretrained("tokenizer.json")),
    Reader(
        "tokenizer_config.json", "text/tokenizer.py", 1_500, _pretrained("tokenizer_config.json")
    ),
    Reader("head of a reward model", "models/saved_reward.py", 1_000, _heads),
    Reader("manifest of a checkpoint", "artifacts/integrity.py", 45_000, _manifests),
    Reader("checkpoint of training", "training/loop.py", 5_000, _checkpoints("sft")),
    Reader("checkpoint of RL", "training/rl/checkpoint.py", 5_000, _checkpoints("rlhf")),
)
