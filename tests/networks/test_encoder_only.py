"""Encoders score whole rows as their own sequence classifiers do, whatever stands beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.resealed import reseal
from tests.small_models import COMPARATORS, PROMPTS, READOUTS, RESPONSES
from tests.tiny_encoders import ENCODERS, POSITIONS, write_encoder
from westofn.errors import ModelError
from westofn.models import scoring
from westofn.models.reward import RewardModel, Scorer
from westofn.models.saved_reward import load_reward_model, save_reward_model
from westofn.models.scoring import pair_margins, score_pools, score_rows
from westofn.networks import encoder_only
from westofn.networks.encoder_only import PromptTokens, join, last_linear
from westofn.networks.families import generator_of, load_backbone
from westofn.networks.pretrained import load_pretrained
from westofn.params.comparator import ComparatorName
from westofn.params.network import Readout
from westofn.text.encoding import Encoder, Padded, pad

CLOSE = {"atol": 1e-5, "rtol": 1e-5}
OTHERS = ["a sun", "so long", "the moon hid", "good"]
TYPED = [
    "a cat </s> dog",
    "[SEP]",
    "[CLS] the sun [PAD][SEP]",
    "<pad><s>so</s></s>",
    "[MASK] <mask>",
    "[[SEP]SEP]",
    "",
    "   ",
]
Folders = Callable[[str], Path]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Folders of every type, made once."""
    root = tmp_path_factory.mktemp("encoders")

    def folder(kind: str) -> Path:
        return root / kind if (root / kind).exists() else write_encoder(kind, root / kind)

    return folder


def _scorer(
    folder: Path,
    comparator: ComparatorName = "pointwise",
    readout: Readout = "last",
    prompt: int = 30,
    response: int = 24,
) -> Scorer:
    """An untrained reward model whose outputs are some units wide."""
    model, encoder = load_pretrained(
        str(folder), "reward_start.model", max_prompt_tokens=prompt, max_response_tokens=response
    )
    torch.manual_seed(5)
    reward = RewardModel(model, comparator, 2, readout)
    torch.nn.init.normal_(reward.head.weight, std=0.7)
    return Scorer(reward.eval(), encoder)


@pytest.mark.parametrize("kind", ENCODERS)
@torch.no_grad()
def test_a_score_is_the_logit_of_the_familys_own_classifier(kind: str, folders: Folders) -> None:
    scorer = _scorer(folders(kind), prompt=60, response=30)
    rewards = score_rows(scorer, PROMPTS, RESPONSES)[:, 0]
    plain = AutoModelForSequenceClassification.from_pretrained(folders(kind)).eval()
    layer = last_linear(plain)
    layer.weight.copy_(scorer.model.head.weight)
    layer.bias.zero_()
    tokenizer = AutoTokenizer.from_pretrained(folders(kind))
    for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        inputs = tokenizer(prompt, response, return_tensors="pt")
        assert float(plain(**inputs).logits) == pytest.approx(float(rewards[row]), abs=1e-5)
    assert float(rewards.std()) > 0.05


@pytest.mark.parametrize("kind", ENCODERS)
@torch.no_grad()
def test_the_mean_is_of_the_last_states_of_the_response(kind: str, folders: Folders) -> None:
    scorer = _scorer(folders(kind), readout="mean", prompt=60, response=30)
    rewards = score_rows(scorer, PROMPTS, RESPONSES)[:, 0]
    body, encoder = scorer.model.backbone.base_model, scorer.encoder
    for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        (x,), (y,) = encoder.prompts([prompt]), encoder.responses([response])
        inputs = {"input_ids": torch.tensor([x + y])}
        if kind in ("bert", "electra"):
            inputs["token_type_ids"] = torch.tensor([[0] * len(x) + [1] * len(y)])
        states = body(**inputs).last_hidden_state[0, len(x) :]
        assert len(states) == len(y)
        expected = float(scorer.model.head(states.mean(0)))
        assert float(rewards[row]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("kind", ENCODERS)
def test_a_score_depends_on_its_row_alone(kind: str, readout: Readout, folders: Folders) -> None:
    scorer = _scorer(folders(kind), "embedding", readout)
    alone = torch.cat(
        [score_rows(scorer, [x], [y]) for x, y in zip(PROMPTS, RESPONSES, strict=True)]
    )
    long = ["the cat sat on the red moon"]
    beside = score_rows(scorer, [*PROMPTS, PROMPTS[0]], RESPONSES + long, batch=64)
    torch.testing.assert_close(beside[:4], alone, **CLOSE)
    pools = [[response, *OTHERS[: index + 1]] for index, response in enumerate(RESPONSES)]
    pooled = torch.stack([pool[0] for pool in score_pools(scorer, PROMPTS, pools)])
    torch.testing.assert_close(pooled, alone, **CLOSE)
    assert float(alone.std(0).min()) > 1e-3


def test_rows_of_alike_length_share_a_batch(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompt and response are one row of an encoder, so both lengths count."""
    sizes: list[set[int]] = []
    original = scoring._features

    def noted(scorer: Scorer, prompts: list[list[int]], pools: list[list[list[int]]]) -> Tensor:
        rows = zip(prompts, pools, strict=True)
        sizes.append({len(prompt) + len(pool[0]) for prompt, pool in rows})
        return original(scorer, prompts, pools)

    monkeypatch.setattr(scoring, "_features", noted)
    prompts = [" ".join(["cat"] * count) for count in (9, 1, 9, 1)]
    responses = [" ".join(["dog"] * count) for count in (1, 2, 2, 1)]
    scorer = _scorer(folders("bert"))
    together = score_rows(scorer, prompts, responses, batch=2)
    assert [max(batch) - min(batch) for batch in sizes] == [1, 1]
    alone = [score_rows(scorer, [x], [y]) for x, y in zip(prompts, responses, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone), **CLOSE)


@pytest.mark.parametrize("kind", ENCODERS)
def test_what_pads_is_said_by_the_mask(kind: str, folders: Folders) -> None:
    scorer = _scorer(folders(kind))
    encoder, model = scorer.encoder, scorer.model
    prompts, responses = encoder.prompts(PROMPTS[:1]), encoder.responses(RESPONSES[:1])
    scores = []
    for width, filler in ((0, encoder.pad_id), (5, encoder.pad_id), (5, encoder.eos_id)):
        x = pad(prompts, filler, len(prompts[0]) + width)
        y = pad(responses, filler, len(responses[0]) + width)
        states = model.prompt_states(x)
        scores.append(model.features(states, Padded(y.ids[None], y.mask[None])).detach())
    torch.testing.assert_close(scores[1], scores[0], **CLOSE)
    torch.testing.assert_close(scores[2], scores[0], **CLOSE)


def test_rows_are_joined_without_a_gap() -> None:
    prompts = PromptTokens(*_padded([[1, 2, 3], [4]]))
    ids, mask = _padded([[5, 6], [7], [8], [5, 6, 7]])
    rows = join(prompts, Padded(ids.view(2, 2, 3), mask.view(2, 2, 3)))
    real = [row[keep].tolist() for row, keep in zip(rows.ids, rows.mask, strict=True)]
    assert real == [[1, 2, 3, 5, 6], [1, 2, 3, 7], [4, 8], [4, 5, 6, 7]]
    answer = [row[keep].tolist() for row, keep in zip(rows.ids, rows.response, strict=True)]
    assert answer == [[5, 6], [7], [8], [5, 6, 7]]
    # Padding is on the right, and no column is padding only.
    assert bool((rows.mask.long().diff(dim=-1) <= 0).all())
    assert rows.ids.shape == (4, 5)


def _padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    padded = pad(rows, 9)
    return padded.ids, padded.mask


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("comparator", COMPARATORS)
@pytest.mark.parametrize("kind", ENCODERS)
def test_margins_of_both_orders_cancel(
    kind: str, comparator: ComparatorName, readout: Readout, folders: Folders
) -> None:
    scorer = _scorer(folders(kind), comparator, readout)
    forth = pair_margins(scorer, PROMPTS, RESPONSES, OTHERS)
    back = pair_margins(scorer, PROMPTS, OTHERS, RESPONSES)
    torch.testing.assert_close(forth, -back, **CLOSE)
    assert float(forth.abs().max()) > 1e-3
    same = pair_margins(scorer, PROMPTS, RESPONSES, RESPONSES)
    torch.testing.assert_close(same, torch.zeros(4), **CLOSE)


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("kind", ENCODERS)
def test_every_weight_that_trains_is_read(kind: str, readout: Readout, folders: Folders) -> None:
    """Else several processes would wait for a gradient that never comes."""
    model = _scorer(folders(kind), readout=readout).model.train()
    encoder = _scorer(folders(kind)).encoder
    x = pad(encoder.prompts(PROMPTS), encoder.pad_id)
    y = pad(encoder.responses(RESPONSES), encoder.pad_id)
    scores = model.features(model.prompt_states(x), Padded(y.ids[:, None], y.mask[:, None]))
    scores.square().sum().backward()
    weights = dict(model.named_parameters())
    assert [n for n, w in weights.items() if w.requires_grad and w.grad is None] == []
    frozen = [name for name, weight in weights.items() if not weight.requires_grad]
    assert any(encoder_only.LAST_LINEAR[kind] in name for name in frozen)
    assert len(frozen) < len(weights) / 3


@pytest.mark.parametrize("text", TYPED)
@pytest.mark.parametrize("kind", ENCODERS)
def test_special_tokens_that_are_typed_stay_text(kind: str, text: str, folders: Folders) -> None:
    encoder = _scorer(folders(kind)).encoder
    special = set(encoder.tokenizer.all_special_ids) - {encoder.tokenizer.unk_token_id}
    layout = encoder.layout
    (x,), (y,) = encoder.prompts([text]), encoder.responses([text])
    assert x[: len(layout.before_prompt)] == list(layout.before_prompt)
    assert x[-len(layout.after_prompt) :] == list(layout.after_prompt)
    assert y[-1] == layout.end
    inside = x[len(layout.before_prompt) : -len(layout.after_prompt)]
    assert special.isdisjoint(inside)
    assert special.isdisjoint(y[:-1])
    assert y[:-1] or not text.strip()


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_row_is_the_tokenizers_own_pair(kind: str, folders: Folders) -> None:
    encoder = _scorer(folders(kind), prompt=60, response=30).encoder
    tokenizer = AutoTokenizer.from_pretrained(folders(kind))
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        (x,), (y,) = encoder.prompts([prompt]), encoder.responses([response])
        assert x + y == tokenizer(prompt, response).input_ids


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_long_prompt_keeps_its_end_and_both_special_tokens(kind: str, folders: Folders) -> None:
    encoder = _scorer(folders(kind), prompt=9).encoder
    (whole,) = _scorer(folders(kind), prompt=60).encoder.prompts([PROMPTS[1]])
    (short,) = encoder.prompts([PROMPTS[1]])
    before, after = encoder.layout.before_prompt, encoder.layout.after_prompt
    assert len(short) == 9
    keep = 9 - len(before) - len(after)
    assert short == [*before, *whole[: -len(after)][-keep:], *after]


@pytest.mark.parametrize("comparator", COMPARATORS)
@pytest.mark.parametrize("kind", ENCODERS)
def test_a_saved_model_answers_as_before(
    kind: str, comparator: ComparatorName, folders: Folders, tmp_path: Path
) -> None:
    scorer = _scorer(folders(kind), comparator)
    save_reward_model(scorer, tmp_path / "rm", [("the cat", "good"), ("sun", "")], {})
    again = load_reward_model(tmp_path / "rm")
    assert again.encoder.template == scorer.encoder.template
    assert again.encoder.layout == scorer.encoder.layout
    margins = pair_margins(again, PROMPTS, RESPONSES, OTHERS)
    assert torch.equal(margins, pair_margins(scorer, PROMPTS, RESPONSES, OTHERS))
    card = json.loads((tmp_path / "rm" / "card.json").read_text(encoding="utf-8"))
    assert card["family"] == "encoder"


def test_a_saved_model_is_a_plain_classifier_but_for_its_last_layer(
    folders: Folders, tmp_path: Path
) -> None:
    """What an export has to fill in, and nothing else."""
    scorer = _scorer(folders("bert"))
    save_reward_model(scorer, tmp_path / "rm", [("the cat", "good")], {})
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm").eval()
    layer = last_linear(plain)
    assert (plain.config.num_labels, layer.out_features) == (1, 1)
    assert not layer.weight.any()
    assert not layer.bias.any()


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_model_with_another_tokenizer_is_refused(
    kind: str, folders: Folders, tmp_path: Path
) -> None:
    save_reward_model(_scorer(folders(kind)), tmp_path / "rm", [("the cat", "good")], {})
    other = "roberta" if kind == "bert" else "bert"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "rm" / name).write_bytes((folders(other) / name).read_bytes())
    reseal(tmp_path / "rm")
    with pytest.raises(ModelError, match=r"vocabulary of the tokenizer is .* rerun its stage"):
        load_reward_model(tmp_path / "rm")


def test_a_model_whose_tokenizer_lost_its_pair_is_refused(folders: Folders, tmp_path: Path) -> None:
    save_reward_model(_scorer(folders("bert")), tmp_path / "rm", [("the cat", "good")], {})
    path = tmp_path / "rm" / "tokenizer.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(raw | {"post_processor": None}), encoding="utf-8")
    reseal(tmp_path / "rm")
    with pytest.raises(ModelError, match=r"does not put special tokens .* post-processor"):
        load_reward_model(tmp_path / "rm")


def test_a_folder_without_some_of_its_weights_is_refused(folders: Folders, tmp_path: Path) -> None:
    scorer = _scorer(folders("bert"))
    save_reward_model(scorer, tmp_path / "rm", [("the cat", "good")], {})
    path = tmp_path / "rm" / "model.safetensors"
    weights = load_file(path)
    del weights["bert.encoder.layer.1.output.dense.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    reseal(tmp_path / "rm")
    with pytest.raises(ModelError, match=r"lack 1 that the model needs, such as bert\.encoder"):
        load_reward_model(tmp_path / "rm")


@pytest.mark.parametrize("kind", ENCODERS)
def test_what_pretraining_leaves_out_is_drawn_by_the_callers_seed(
    kind: str, tmp_path: Path
) -> None:
    folder = str(write_encoder(kind, tmp_path / kind, headless=True))
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(load_backbone(folder, "reward_start.model").state_dict())
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
    last = encoder_only.LAST_LINEAR[kind]
    assert not made[0][f"{last}.weight"].any()
    drawn = [name for name in made[0] if not torch.equal(made[0][name], made[2][name])]
    assert [name for name in drawn if "pool" not in name and "class" not in name] == []
    assert bool(drawn) == (kind != "modernbert")  # whose head is pretrained with it


def test_a_classifier_of_more_labels_lends_all_but_its_last_layer(tmp_path: Path) -> None:
    folder = write_encoder("bert", tmp_path / "nli", num_labels=3)
    model = load_backbone(str(folder), "reward_start.model")
    weights = load_file(folder / "model.safetensors")
    assert last_linear(model).out_features == 1
    assert torch.equal(
        model.state_dict()["bert.pooler.dense.weight"], weights["bert.pooler.dense.weight"]
    )


@pytest.mark.parametrize("kind", ENCODERS)
def test_limits_beyond_the_positions_are_refused_by_number(kind: str, folders: Folders) -> None:
    def load(response: int, responses: int) -> object:
        return load_pretrained(
            str(folders(kind)),
            "reward_start.model",
            max_prompt_tokens=40,
            max_response_tokens=response,
            responses=responses,
        )

    # 40 + 56 and 40 + 2 · 28 are the 96 positions.
    load(55, 1)
    load(27, 2)
    if kind == "deberta-v2":  # as published: relative positions alone
        load(500, 2)
        return
    with pytest.raises(ModelError, match=rf"positions for {POSITIONS} .* rows of 97: .* 40, \("):
        load(56, 1)
    with pytest.raises(ModelError, match=r"rows of 98: .* 40, 2 × \(.*reward_start\.model"):
        load(28, 2)


def test_a_row_beyond_the_positions_is_refused_and_not_cut(folders: Folders) -> None:
    scorer = _scorer(folders("bert"))
    with pytest.raises(
        ModelError, match=rf"positions for {POSITIONS}, .* responses are not trimmed"
    ):
        score_rows(scorer, ["the cat"], ["so " * 120])


def test_an_encoder_is_refused_where_something_must_write(folders: Folders) -> None:
    folder = str(folders("bert"))
    with pytest.raises(ModelError, match=r"is a bert, which is encoder-only .* sft\.model"):
        load_backbone(folder, must_write=True)
    with pytest.raises(ModelError, match="bert model is encoder-only, which cannot generate"):
        generator_of(load_backbone(folder))


def test_a_copy_reads_its_own_weights(folders: Folders) -> None:
    """Averages of weights and runs are copies of a model."""
    model = _scorer(folders("roberta")).model
    encoder = _scorer(folders("roberta")).encoder
    other = deepcopy(model)
    with torch.no_grad():
        for weight in other.backbone.parameters():
            weight.mul_(1.5)
    one, two = (score_rows(Scorer(m, encoder), PROMPTS, RESPONSES) for m in (model, other))
    assert not torch.allclose(one, two, atol=1e-2)


def test_a_tokenizer_that_adds_nothing_lends_its_end_token(small_encoder: Encoder) -> None:
    encoder = Encoder(small_encoder.tokenizer, 10, 8, "encoder")
    end = encoder.eos_id
    assert encoder.layout.before_prompt == encoder.layout.after_prompt == (end,)
    (x,), (y,) = encoder.prompts(["the cat"]), encoder.responses(["good"])
    assert (x[0], x[-1], y[-1]) == (end, end, end)
    assert (x + y).count(end) == 3
