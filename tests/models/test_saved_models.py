"""A saved model answers as it did, or it is refused in one line before anything uses it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, ViTConfig

from tests.small_models import COMPARATORS, PROMPTS, RESPONSES
from westofn.errors import ModelError
from westofn.models.policy import Policy, load_policy, log_likelihood, save_policy
from westofn.models.reward import Scorer
from westofn.models.saved_reward import load_reward_model, save_reward_model
from westofn.models.scoring import score_rows
from westofn.networks.families import load_backbone
from westofn.params.comparator import ComparatorName
from westofn.text.tokenizer import load_pretrained_tokenizer, load_tokenizer

CANARIES = list(zip(PROMPTS, RESPONSES, strict=True))
# Loads in a process that has seen nothing of this one.
FRESH = """
import json, sys
from pathlib import Path
from tests.small_models import COMPARATORS, PROMPTS, RESPONSES
from westofn.models.policy import load_policy, log_likelihood
from westofn.models.saved_reward import load_reward_model
from westofn.models.scoring import score_rows
root = Path(sys.argv[1])
outputs = {"policy": log_likelihood(load_policy(root / "policy"), PROMPTS, RESPONSES).logprob}
for name in COMPARATORS:
    scorer = load_reward_model(root / name)
    outputs[name] = score_rows(scorer, PROMPTS, RESPONSES)
    outputs[name + " statistics"] = [scorer.reward_mean, scorer.reward_std]
print(json.dumps({k: v if isinstance(v, list) else v.tolist() for k, v in outputs.items()}))
"""


@pytest.fixture(scope="module")
def saved(
    small_policy: Policy,
    scorers: Callable[[ComparatorName], Scorer],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    root = tmp_path_factory.mktemp("models")
    save_policy(small_policy, root / "policy", CANARIES, {"steps": 3})
    for name in COMPARATORS:
        made = scorers(name)
        scorer = Scorer(made.model, made.encoder, reward_mean=0.25, reward_std=1.5)
        save_reward_model(scorer, root / name, CANARIES, {"steps": 3})
    return root


def test_a_fresh_process_gives_the_same_outputs(
    saved: Path, small_policy: Policy, scorers: Callable[[ComparatorName], Scorer]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(saved)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    outputs = json.loads(done.stdout.splitlines()[-1])
    assert outputs["policy"] == log_likelihood(small_policy, PROMPTS, RESPONSES).logprob.tolist()
    for name in COMPARATORS:
        assert outputs[name] == score_rows(scorers(name), PROMPTS, RESPONSES).tolist()
        assert outputs[f"{name} statistics"] == [0.25, 1.5]


def test_a_model_is_loaded_for_inference_with_its_card(saved: Path) -> None:
    assert not load_policy(saved / "policy").model.training
    scorer = load_reward_model(saved / "pointwise")
    assert not scorer.model.training
    assert (scorer.reward_mean, scorer.reward_std) == (0.25, 1.5)
    card = json.loads((saved / "pointwise" / "card.json").read_text())
    assert card["training"] == {"steps": 3}
    assert [canary["prompt"] for canary in card["canaries"]] == PROMPTS


def _edit_json(path: Path, edit: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))


def _scale(path: Path, name: str) -> None:
    tensors = load_file(path)
    tensors[name] = tensors[name] * 1.5
    save_file(tensors, path, metadata={"format": "pt"})


def _swap_two_words(folder: Path) -> None:
    def swap(raw: Any) -> Any:
        vocabulary = raw["model"]["vocab"]
        vocabulary[" cat"], vocabulary[" dog"] = vocabulary[" dog"], vocabulary[" cat"]
        return raw

    _edit_json(folder / "tokenizer.json", swap)


def _pickle_only(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


SMALL: dict[str, Any] = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}


def _other_family(folder: Path) -> None:
    ViTConfig(**SMALL).save_pretrained(folder)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-64])


# Each damage, and the words that the one line must hold.
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, r"is missing; run `dvc repro`"),
    "no card": (lambda f: (f / "card.json").unlink(), r"has no card\.json; it was not written"),
    "half a card": (lambda f: _truncate(f / "card.json"), r"card\.json is damaged .*rerun"),
    "an empty card": (lambda f: (f / "card.json").write_text("[]"), r"card\.json is damaged"),
    "a newer card": (
        lambda f: _edit_json(f / "card.json", lambda raw: raw | {"format": 2}),
        r"has format 2, this version reads 1",
    ),
    "other limits in the card": (
        lambda f: _edit_json(
            f / "card.json",
            lambda raw: raw | {"template": raw["template"] | {"max_prompt_tokens": 4}},
        ),
        r"a canary gives .*, at save it gave .*rerun",
    ),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), r"has no tokenizer\.json; rerun"),
    "half a tokenizer": (lambda f: _truncate(f / "tokenizer.json"), r"tokenizer\.json .*rerun"),
    "another tokenizer": (_swap_two_words, r"vocabulary of the tokenizer is .*, the card says"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), r"weights of .* cannot be loaded"),
    "half the weights": (
        lambda f: _truncate(f / "model.safetensors"),
        r"weights of .* cannot be loaded",
    ),
    "pickled weights": (_pickle_only, r"weights of .* cannot be loaded"),
    "changed weights": (
        lambda f: _scale(
            f / "model.safetensors", "decoder.block.1.layer.2.DenseReluDense.wo.weight"
        ),
        r"a canary gives .*, at save it gave",
    ),
    "another family": (_other_family, r"is of family vit; supported: t5"),
    "an encoder-only family": (
        lambda f: BertConfig(**SMALL).save_pretrained(f),
        r"weights of .* lack .* rerun",
    ),
    "no configuration": (lambda f: (f / "config.json").unlink(), r"cannot be loaded"),
}
HEAD_DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no head": (lambda f: (f / "head.safetensors").unlink(), r"head\.safetensors cannot be loaded"),
    "half a head": (lambda f: _truncate(f / "head.safetensors"), r"head\.safetensors cannot be"),
    "a changed head": (
        lambda f: _scale(f / "head.safetensors", "weight"),
        r"a canary gives .*, at save it gave .*head or tokenizer were changed, rerun",
    ),
    "a head of another width": (
        lambda f: save_file({"weight": torch.zeros(3, 16)}, f / "head.safetensors"),
        r"head\.safetensors cannot be loaded",
    ),
    "an unknown comparator": (
        lambda f: _edit_json(f / "card.json", lambda raw: raw | {"comparator": "elo"}),
        r"unknown comparator 'elo'",
    ),
    "an unknown readout": (
        lambda f: _edit_json(f / "card.json", lambda raw: raw | {"readout": "first"}),
        r"unknown readout 'first'",
    ),
    "another readout": (
        lambda f: _edit_json(f / "card.json", lambda raw: raw | {"readout": "last"}),
        r"a canary gives .*, at save it gave",
    ),
}


def _refused(load: Callable[[Path], object], folder: Path, needed: str) -> None:
    with pytest.raises(ModelError, match=needed) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_policy_is_refused_in_one_line(damage: str, saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(saved / "policy", folder)
    load_policy(folder)
    break_it, needed = DAMAGE[damage]
    break_it(folder)
    _refused(load_policy, folder, needed)


@pytest.mark.parametrize("damage", ["changed weights", "another tokenizer", "pickled weights"])
def test_a_damaged_reward_model_is_refused_in_one_line(
    damage: str, saved: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "rm"
    shutil.copytree(saved / "embedding", folder)
    break_it, needed = DAMAGE[damage]
    break_it(folder)
    _refused(load_reward_model, folder, needed)


@pytest.mark.parametrize("damage", HEAD_DAMAGE)
def test_a_damaged_head_is_refused_in_one_line(damage: str, saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rm"
    shutil.copytree(saved / "pointwise", folder)
    break_it, needed = HEAD_DAMAGE[damage]
    break_it(folder)
    _refused(load_reward_model, folder, needed)


def test_a_model_in_the_wrong_role_is_refused(saved: Path) -> None:
    _refused(load_policy, saved / "pointwise", "holds a reward_model, needs a policy")
    _refused(load_reward_model, saved / "policy", "holds a policy, needs a reward_model")


def test_a_backbone_that_is_nowhere_is_refused_in_one_line(tmp_path: Path) -> None:
    _refused(lambda path: load_backbone(str(path)), tmp_path / "none", "cannot be loaded")
    _refused(lambda path: load_pretrained_tokenizer(str(path)), tmp_path / "none", "cannot be")


def test_a_backbone_of_another_family_is_refused(tmp_path: Path) -> None:
    _other_family(tmp_path)
    _refused(lambda path: load_backbone(str(path)), tmp_path, "family vit; supported: t5")


def test_a_save_that_fails_leaves_the_earlier_model(
    saved: Path, small_policy: Policy, tmp_path: Path
) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(saved / "policy", folder)
    before = sorted((p.name, p.read_bytes()) for p in folder.iterdir())
    with pytest.raises(ValueError, match="JSON"):  # the card refuses what JSON cannot hold
        save_policy(small_policy, folder, CANARIES, {"loss": float("nan")})
    assert sorted((p.name, p.read_bytes()) for p in folder.iterdir()) == before
    assert [p.name for p in tmp_path.iterdir()] == ["policy"]


def test_a_save_replaces_the_whole_folder(small_policy: Policy, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "policy"
    save_policy(small_policy, folder, CANARIES, {})
    (folder / "left.over").write_text("x")
    save_policy(small_policy, folder, CANARIES[:1], {})
    assert not (folder / "left.over").exists()
    assert load_tokenizer(folder).get_vocab() == small_policy.tokenizer.get_vocab()
