"""A saved model answers as it did, or it is refused in one line before anything uses it."""

from __future__ import annotations

import copy
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

from tests.resealed import reseal
from tests.small_models import COMPARATORS, PROMPTS, RESPONSES
from westofn.errors import ModelError
from westofn.models.card import check_canaries, read_card
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
    path.write_text(json.dumps(edit(json.loads(path.read_text()))) + "\n")


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


def _of_format_1(card: dict[str, Any]) -> dict[str, Any]:
    """The card as earlier versions wrote it, without checksums."""
    return {key: card[key] for key in card if key not in ("files", "sha256")} | {"format": 1}


# Each damage, and the words that the one line must hold once the card names the damaged files.
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, r"is missing; run `dvc repro`"),
    "no card": (lambda f: (f / "card.json").unlink(), r"has no card\.json; it was not written"),
    "half a card": (lambda f: _truncate(f / "card.json"), r"card\.json is damaged .*rerun"),
    "an empty card": (lambda f: (f / "card.json").write_text("[]"), r"card\.json is damaged"),
    "a newer card": (
        lambda f: _edit_json(f / "card.json", lambda raw: raw | {"format": 3}),
        r"has format 3, this version reads 2; rerun",
    ),
    "a card of the version before": (
        lambda f: _edit_json(f / "card.json", _of_format_1),
        r"has format 1, this version reads 2; rerun",
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
        lambda f: BertConfig(**SMALL, vocab_size=64, intermediate_size=32).save_pretrained(f),
        r"weights of .* lack .* rerun",
    ),
    "no configuration": (lambda f: (f / "config.json").unlink(), r"cannot be loaded"),
}
HEAD_DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no head": (lambda f: (f / "head.safetensors").unlink(), r"head\.safetensors cannot be loaded"),
    "half a head": (lambda f: _truncate(f / "head.safetensors"), r"head\.safetensors cannot be"),
    "a changed head": (
        lambda f: _scale(f / "head.safetensors", "weight"),
        r"a canary gives .*, at save it gave .*rerun",
    ),
    "a head of another width": (
        lambda f: save_file({"weight": torch.zeros(3, 16)}, f / "head.safetensors"),
        r"head\.safetensors cannot be loaded",
    ),
    "an unknown comparator": (
        lambda f: _edit_json(f / "card.json", lambda raw: raw | {"comparator": "elo"}),
        r"comparator is 'elo', needs 'embedding', 'joint' or 'pointwise'",
    ),
    "an unknown readout": (
        lambda f: _edit_json(f / "card.json", lambda raw: raw | {"readout": "first"}),
        r"readout is 'first', needs 'mean' or 'last'",
    ),
    "canaries without output": (
        lambda f: _edit_json(
            f / "card.json",
            lambda raw: raw | {"canaries": [c | {"output": []} for c in raw["canaries"]]},
        ),
        r"a canary gives 1 outputs, at save it gave 0",
    ),
    "another readout": (
        lambda f: _edit_json(f / "card.json", lambda raw: raw | {"readout": "last"}),
        r"a canary gives .*, at save it gave",
    ),
}


def _damaged_twice(
    load: Callable[[Path], object],
    folder: Path,
    damage: tuple[Callable[[Path], object], str],
) -> None:
    """A changed file is refused by its checksum, and by what it holds where that is right."""
    break_it, needed = damage
    load(folder)
    break_it(folder)
    _refused(load, folder, r"SHA-256|is missing|is damaged|format|card\.json")
    card = folder / "card.json"
    if card.is_file() and card.read_text().startswith("{") and card.read_text().endswith("}\n"):
        reseal(folder)
    _refused(load, folder, needed)


def _refused(load: Callable[[Path], object], folder: Path, needed: str) -> None:
    with pytest.raises(ModelError, match=needed) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_policy_is_refused_in_one_line(damage: str, saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(saved / "policy", folder)
    _damaged_twice(load_policy, folder, DAMAGE[damage])


@pytest.mark.parametrize("damage", ["changed weights", "another tokenizer", "pickled weights"])
def test_a_damaged_reward_model_is_refused_in_one_line(
    damage: str, saved: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "rm"
    shutil.copytree(saved / "embedding", folder)
    _damaged_twice(load_reward_model, folder, DAMAGE[damage])


@pytest.mark.parametrize("damage", HEAD_DAMAGE)
def test_a_damaged_head_is_refused_in_one_line(damage: str, saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rm"
    shutil.copytree(saved / "pointwise", folder)
    _damaged_twice(load_reward_model, folder, HEAD_DAMAGE[damage])


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
    with pytest.raises(ModelError, match="not written: no canary, needs at least 1"):
        save_policy(small_policy, folder, [], {})
    with pytest.raises(ValueError, match="finite"):
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


@pytest.mark.parametrize("name", ["model.safetensors", "head.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("place", [0, 0.5, -1])
def test_one_flipped_bit_of_any_file_is_noticed(
    name: str, place: float, saved: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "rm"
    shutil.copytree(saved / "pointwise", folder)
    content = bytearray((folder / name).read_bytes())
    content[place if isinstance(place, int) else len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    _refused(load_reward_model, folder, rf"{name}: has SHA-256 .*, at save it had .*rerun")


def test_every_flipped_bit_of_the_card_is_noticed(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rm"
    shutil.copytree(saved / "pointwise", folder)
    path = folder / "card.json"
    content = path.read_bytes()
    same = json.loads(content)
    noticed = 0
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            equal = json.loads(bytes(changed)) == same  # only white space was changed
        except ValueError:
            equal = False
        if not equal:
            _refused(lambda path: read_card(path, "reward_model"), folder, "card|holds a")
            noticed += 1
    assert noticed > 100


# What a card holds, and what its line names.
CARDS: dict[str, tuple[dict[str, object], str]] = {
    "a template that is null": ({"template": None}, "template is None"),
    "a limit as text": ({"template": {"max_prompt_tokens": "64"}}, r"template\..* is"),
    "a negative size": ({"planes": -1}, "planes is -1, needs greater than or equal to 0"),
    "a size as text": ({"planes": "2"}, "planes is '2', needs a valid integer"),
    "a size that is true": ({"planes": True}, "planes is True, needs a valid integer"),
    "canaries that are none": ({"canaries": []}, "canaries is empty, needs at least 1"),
    "canaries of another kind": (
        {"canaries": {"prompt": 1}},
        r"canaries is .* needs a valid list",
    ),
    "no files": ({"files": {}}, "files is empty, needs at least 1"),
    "a file outside": ({"files": {"../x": "0" * 64}}, r"files\.\.\./x"),
    "a hash that is none": ({"files": {"model.safetensors": "x"}}, r"files\.model\.safetensors is"),
    "an unknown key": ({"colour": "red"}, "'colour' is not one of its keys"),
    "no spread": ({"reward_std": 0.0}, "reward_std is 0, needs greater than 0"),
    "a list as a fact": ({"training": {"steps": [1]}}, r"training\.steps"),
    "another family": ({"family": "rnn"}, "family is 'rnn', needs"),
    "no comparator": ({"comparator": None}, "a reward_model needs comparator and readout"),
    "text as format": ({"format": "2"}, "has format '2', this version reads 2"),
}


@pytest.mark.parametrize("name", CARDS)
def test_a_card_with_a_wrong_value_is_refused_by_its_key(
    name: str, saved: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "rm"
    shutil.copytree(saved / "pointwise", folder)
    changes, needed = CARDS[name]
    path = folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    _refused(load_reward_model, folder, needed)


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("", "the file is empty"),
        ("[]", "holds a list, needs a JSON object"),
        ("null", "holds a NoneType"),
        ('{"format": 2, "reward_mean": NaN}', "NaN is not a finite number"),
        ('{"format": 2, "reward_mean": 1e999}', "'1e999' is not a finite number"),
        ('{"format": 2, "format": 2}', "occurs twice"),
        ('{"format": ' + "[" * 10**5, "damaged"),
        ('{"planes": ' + "9" * 5000 + "}", "damaged"),
    ],
)
def test_a_card_that_is_no_card_is_refused(
    text: str, needed: str, saved: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "rm"
    shutil.copytree(saved / "pointwise", folder)
    (folder / "card.json").write_text(text)
    _refused(load_reward_model, folder, needed)


def test_a_card_that_is_a_folder_is_refused(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rm"
    shutil.copytree(saved / "pointwise", folder)
    (folder / "card.json").unlink()
    (folder / "card.json").mkdir()
    _refused(load_reward_model, folder, r"card\.json is damaged \(is a folder")


def test_a_canary_that_is_not_a_number_is_refused(saved: Path, tmp_path: Path) -> None:
    card = read_card(saved / "pointwise", "reward_model")
    check_canaries(saved, card, lambda prompts, _: [c.output for c in card.canaries])
    with pytest.raises(ModelError, match="a canary gives nan, at save it gave"):
        check_canaries(saved, card, lambda prompts, _: [[float("nan")]] * len(prompts))
    with pytest.raises(ModelError, match="a canary gives 2 outputs, at save it gave 1"):
        check_canaries(saved, card, lambda prompts, _: [[0.0, 0.0]] * len(prompts))


def test_a_model_that_gives_nan_is_not_saved(small_policy: Policy, tmp_path: Path) -> None:
    weights = copy.deepcopy(small_policy.model)
    with torch.no_grad():
        next(weights.parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match=r"not written: canary 0 gives nan, needs a finite"):
        save_policy(Policy(weights, small_policy.encoder), tmp_path / "policy", CANARIES, {})
    assert not list(tmp_path.iterdir())
