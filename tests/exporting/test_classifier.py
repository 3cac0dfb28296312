"""Pointwise models leave as classifiers that plain transformers loads, with the same scores."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    pipeline,
)

from tests.chat_templates import TEMPLATES, chatting
from tests.exporting.run import DIALOGUE
from tests.small_families import CAUSAL, tiny_model
from tests.small_models import PROMPTS, RESPONSES, TINY, texts
from tests.tiny_encoders import ENCODERS, start_of
from westofn.core.dialogue import Message, to_text
from westofn.errors import ModelError
from westofn.exporting.forms import turns
from westofn.exporting.reward_model import export_reward_model
from westofn.models.card import member_folder, write_ensemble
from westofn.models.reward import RewardModel, Scorer
from westofn.models.saved_reward import load_reward_model, save_reward_model
from westofn.models.scoring import score_rows
from westofn.networks.encoder_only import build_scratch_encoder
from westofn.params.comparator import ComparatorName
from westofn.params.network import Readout
from westofn.text.encoding import Encoder
from westofn.text.tokenizer import train_tokenizer

ROWS = [(prompt, response) for prompt in PROMPTS for response in RESPONSES]


def tokenizer_of(kind: str) -> PreTrainedTokenizerFast:
    """`plain`; `shared`, whose padding is the end token; `start`, which begins texts with <s>."""
    made = train_tokenizer(texts(), "bytes", 300)
    if kind == "shared":
        made.pad_token = made.eos_token
    if kind == "start":
        made.add_special_tokens({"bos_token": "<s>"})
        made.backend_tokenizer.post_processor = TemplateProcessing(
            single=["<s>", "$A"],
            pair=["<s>", "$A", "<s>:1", "$B:1"],
            special_tokens=[("<s>", made.bos_token_id)],
        )
    return made


def scorer_of(
    model_type: str,
    kind: str = "plain",
    comparator: ComparatorName = "pointwise",
    readout: Readout = "last",
) -> Scorer:
    encoder = Encoder(tokenizer_of(kind), 40, 20, "causal")
    model = RewardModel(tiny_model(model_type, encoder), comparator, 2, readout)
    torch.nn.init.normal_(model.head.weight, std=0.7)
    return Scorer(model.eval(), encoder)


def chat_scorer(kind: str, spelling: PreTrainedTokenizerFast, limit: int) -> Scorer:
    encoder = Encoder(chatting(spelling, kind), limit, 20, "causal", chat=True)
    model = RewardModel(tiny_model("llama", encoder), "pointwise", 0, "last")
    torch.nn.init.normal_(model.head.weight, std=0.7)
    return Scorer(model.eval(), encoder)


def saved(scorer: Scorer, folder: Path) -> Path:
    save_reward_model(scorer, folder, ROWS[:3], {"human_pairs": 30, "synthetic_pairs": 28})
    return folder


@torch.inference_mode()
def plain_rewards(folder: Path, side: str = "right", before: str = "") -> Tensor:
    """By transformers alone, of all rows in one padded batch; `before` precedes responses."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    prompts, responses = map(list, zip(*ROWS, strict=True))
    responses = [before + response for response in responses]
    rows = tokenizer(prompts, responses, padding=True, padding_side=side, return_tensors="pt")
    assert not rows.attention_mask.bool().all()
    logits: Tensor = model(**rows).logits
    return logits[:, 0]


@pytest.mark.parametrize(
    ("model_type", "kind"),
    [*((name, "shared") for name in CAUSAL), ("llama", "plain"), ("llama", "start")],
)
def test_plain_transformers_gives_the_same_rewards(
    model_type: str, kind: str, tmp_path: Path
) -> None:
    scorer = scorer_of(model_type, kind)
    prompts, responses = map(list, zip(*ROWS, strict=True))
    expected = score_rows(scorer, prompts, responses)[:, 0]
    assert expected.std() > 0.1
    export_reward_model(tmp_path / "out", model=saved(scorer, tmp_path / "rm"))
    rewards = plain_rewards(tmp_path / "out", before=" ")
    torch.testing.assert_close(rewards, expected, atol=1e-5, rtol=1e-5)
    # The space between prompt and response is the caller's, and the card says so.
    assert (plain_rewards(tmp_path / "out") - expected).abs().max() > 1e-3
    assert 'pass `" " + response`' in (tmp_path / "out" / "README.md").read_text("utf-8")


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_encoder_only_model_is_its_own_classifier(kind: str, tmp_path: Path) -> None:
    model, encoder = start_of(kind, tmp_path / kind)
    reward = RewardModel(model, "pointwise", 0, "last")
    torch.nn.init.normal_(reward.head.weight, std=0.7)
    scorer = Scorer(reward.eval(), encoder)
    prompts, responses = map(list, zip(*ROWS, strict=True))
    expected = score_rows(scorer, prompts, responses)[:, 0]
    export_reward_model(tmp_path / "out", model=saved(scorer, tmp_path / "rm"))
    torch.testing.assert_close(plain_rewards(tmp_path / "out"), expected, atol=1e-5, rtol=1e-5)
    loaded = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert ("token_type_ids" in loaded("sun", "good")) == (kind in ("bert", "electra"))


def test_a_small_encoder_from_scratch_leaves_too(
    spelling: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    encoder = Encoder(spelling, 60, 30, "encoder")
    torch.manual_seed(0)
    backbone = build_scratch_encoder(
        TINY,
        vocabulary=len(spelling),
        max_tokens=encoder.max_tokens,
        pad_id=encoder.pad_id,
        end_id=encoder.eos_id,
    )
    reward = RewardModel(backbone, "pointwise", 0, "last")
    torch.nn.init.normal_(reward.head.weight, std=0.7)
    scorer = Scorer(reward.eval(), encoder)
    prompts, responses = map(list, zip(*ROWS, strict=True))
    expected = score_rows(scorer, prompts, responses)[:, 0]
    export_reward_model(tmp_path / "out", model=saved(scorer, tmp_path / "rm"))
    torch.testing.assert_close(plain_rewards(tmp_path / "out"), expected, atol=1e-5, rtol=1e-5)


def test_a_bf16_model_leaves_in_fp32_with_its_head(tmp_path: Path) -> None:
    scorer = scorer_of("llama")
    scorer.model.finish("bf16")
    export_reward_model(tmp_path / "out", model=saved(scorer, tmp_path / "rm"))
    assert "differ by the rounding of bf16" in (tmp_path / "out" / "README.md").read_text()
    prompts, responses = map(list, zip(*ROWS, strict=True))
    rounded = score_rows(scorer, prompts, responses)[:, 0]
    found = plain_rewards(tmp_path / "out", before=" ")
    assert found.dtype == torch.float32
    assert 1e-5 < (found - rounded).abs().max() < 0.5
    scorer.model.backbone.float()
    exact = score_rows(scorer, prompts, responses)[:, 0]
    torch.testing.assert_close(found, exact, atol=1e-5, rtol=1e-5)


def test_the_side_of_padding_does_not_matter(tmp_path: Path) -> None:
    export_reward_model(
        tmp_path / "out", model=saved(scorer_of("llama", "shared"), tmp_path / "rm")
    )
    right, left = (plain_rewards(tmp_path / "out", side) for side in ("right", "left"))
    torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-5)


def test_the_tokenizer_gives_the_encoders_ids(tmp_path: Path) -> None:
    for kind in ("plain", "shared", "start"):
        scorer = scorer_of("llama", kind)
        export_reward_model(tmp_path / kind, model=saved(scorer, tmp_path / f"rm-{kind}"))
        loaded = AutoTokenizer.from_pretrained(tmp_path / kind)
        # An empty prompt is read as the end token, where the tokenizer has none that starts a text.
        empty = [("", "good")] if kind == "start" else []
        for prompt, response in [*ROWS, ("sun", ""), *empty]:
            (x,), (y,) = scorer.encoder.prompts([prompt]), scorer.encoder.responses([response])
            assert loaded(prompt, response and f" {response}").input_ids == x + y
        assert loaded.pad_token_id != loaded.eos_token_id
        assert loaded(" sun").input_ids[-1] == loaded.eos_token_id
        # As the encoder trims: from the left, the start token stays.
        (x,), (y,) = scorer.encoder.prompts(["cat dog " * 40]), scorer.encoder.responses(["good"])
        limits = {"truncation": "only_first", "max_length": len(x + y)}
        assert loaded("cat dog " * 40, " good", **limits).input_ids == x + y


def test_a_template_that_training_did_not_use_is_not_exported(
    spelling: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    tokenizer = chatting(spelling, "chatml")
    assert tokenizer.chat_template
    encoder = Encoder(tokenizer, 90, 40, "causal")
    model = RewardModel(tiny_model("llama", encoder), "pointwise", 0, "last")
    save_reward_model(Scorer(model.eval(), encoder), tmp_path / "rm", [("sun", "good")], {})
    export_reward_model(tmp_path / "out", model=tmp_path / "rm")
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template is None


@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_chat_model_reads_what_its_template_writes(
    kind: str, spelling: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    scorer = chat_scorer(kind, spelling, 90)
    prompts, responses = [PROMPTS[0], DIALOGUE], RESPONSES[:2]
    expected = score_rows(scorer, prompts, responses)[:, 0]
    save_reward_model(scorer, tmp_path / "rm", [(DIALOGUE, "good")], {})
    export_reward_model(tmp_path / "out", model=tmp_path / "rm")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    given = [
        tokenizer.apply_chat_template(turns(text), tokenize=False, add_generation_prompt=True)
        for text in prompts
    ]
    rows = tokenizer(given, responses, padding=True, return_tensors="pt")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        torch.testing.assert_close(loaded(**rows).logits[:, 0], expected, atol=1e-5, rtol=1e-5)
    said = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "pass as `prompt` the result of `tokenizer.apply_chat_template" in said
    assert "dialogues without system message in which user and assistant alternate" in said
    assert "split_special_tokens" not in said


@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_chat_model_leaves_whatever_its_canaries_say(
    kind: str, spelling: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    user, assistant = Message("user", "sun"), Message("assistant", "dog")
    prompts = [
        # The oldest turns go as a whole, so that what is left is shorter than the limit.
        to_text([user, Message("assistant", "dog " * 60), user]),
        to_text([user, user]),
        to_text([Message("system", "good"), user]),
        to_text([assistant, user]),
        "\n\nAssistant:",
        "so </s> long",
        "so <|im_end|> long",
    ]
    scorer = chat_scorer(kind, spelling, 60)
    assert len(scorer.encoder.prompts(prompts[:1])[0]) < 60
    canaries = [*((prompt, "good") for prompt in prompts), ("sun", "so </s> bad")]
    save_reward_model(scorer, tmp_path / "rm", canaries, {})
    export_reward_model(tmp_path / "out", model=tmp_path / "rm")
    assert plain_rewards(tmp_path / "out").isfinite().all()


def test_a_model_leaves_whatever_its_canaries_say(tmp_path: Path) -> None:
    canaries = [("so </s> long", "good"), ("sun", "a <pad> b"), ("", "good"), ("cat " * 50, "bad")]
    for kind in ("plain", "shared", "start"):
        scorer = scorer_of("llama", kind)
        save_reward_model(scorer, tmp_path / f"rm-{kind}", canaries, {})
        export_reward_model(tmp_path / kind, model=tmp_path / f"rm-{kind}")
        loaded = AutoTokenizer.from_pretrained(tmp_path / kind)
        for prompt, response in canaries[:2]:
            (x,), (y,) = scorer.encoder.prompts([prompt]), scorer.encoder.responses([response])
            assert loaded(prompt, f" {response}").input_ids != x + y
            assert loaded(prompt, f" {response}", split_special_tokens=True).input_ids == x + y
        (x,), (y,) = scorer.encoder.prompts([""]), scorer.encoder.responses(["good"])
        assert loaded("" if kind == "start" else loaded.eos_token, " good").input_ids == x + y
        said = (tmp_path / kind / "README.md").read_text()
        assert ("pass `tokenizer.eos_token` as prompt" in said) == (kind != "start")
        assert "pass `split_special_tokens=True`" in said


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_encoder_leaves_whatever_its_canaries_say(kind: str, tmp_path: Path) -> None:
    model, encoder = start_of(kind, tmp_path / kind)
    scorer = Scorer(RewardModel(model, "pointwise", 0, "last").eval(), encoder)
    end = encoder.tokenizer.sep_token
    canaries = [(f"so {end} long", "good"), ("sun", f"a {end} b"), ("", "good")]
    save_reward_model(scorer, tmp_path / "rm", canaries, {})
    export_reward_model(tmp_path / "out", model=tmp_path / "rm")
    loaded = AutoTokenizer.from_pretrained(tmp_path / "out")
    for prompt, response in canaries[:2]:
        (x,), (y,) = encoder.prompts([prompt]), encoder.responses([response])
        split = loaded(prompt, response, split_special_tokens=True).input_ids
        assert (split == x + y) == (kind != "deberta-v2")  # special tokens are among its pieces
    said = (tmp_path / "out" / "README.md").read_text()
    assert ("this tokenizer cannot split it" in said) == (kind == "deberta-v2")


@pytest.mark.parametrize("limit", [1, 5])
def test_a_short_limit_of_prompts_is_no_reason_to_refuse(limit: int, tmp_path: Path) -> None:
    scorer = scorer_of("llama")
    scorer = replace(scorer, encoder=Encoder(scorer.tokenizer, limit, 20, "causal"))
    folder = saved(scorer, tmp_path / "rm")
    export_reward_model(tmp_path / "out", model=folder)
    assert plain_rewards(tmp_path / "out").isfinite().all()


def test_a_limit_that_leaves_nothing_to_compare_is_refused(tmp_path: Path) -> None:
    made = tokenizer_of("plain")
    # The space that it puts before a text is a token of its own before "a", so none fits in one.
    made.backend_tokenizer.pre_tokenizer = Sequence(
        [ByteLevel(add_prefix_space=True), Split("Ġ", "isolated")]
    )
    encoder = Encoder(made, 1, 20, "causal")
    model = RewardModel(tiny_model("llama", encoder), "pointwise", 0, "last")
    folder = saved(Scorer(model.eval(), encoder), tmp_path / "rm")
    with pytest.raises(
        ModelError, match=r"max_prompt_tokens is 1, .* raise sft\.max_prompt_tokens"
    ):
        export_reward_model(tmp_path / "out", model=folder)


def test_a_pipeline_gives_the_raw_reward(tmp_path: Path) -> None:
    scorer = scorer_of("llama", "shared")
    expected = score_rows(scorer, PROMPTS, RESPONSES)[:, 0]
    export_reward_model(tmp_path / "out", model=saved(scorer, tmp_path / "rm"))
    classify: Any = pipeline("text-classification", model=str(tmp_path / "out"), device="cpu")
    rows = [{"text": x, "text_pair": f" {y}"} for x, y in zip(PROMPTS, RESPONSES, strict=True)]
    found = classify(rows, batch_size=4)
    assert [row["label"] for row in found] == ["reward"] * 4
    assert [row["score"] for row in found] == pytest.approx(expected.tolist(), abs=1e-5)


def test_the_cards_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = scorer_of("llama")
    expected = float(score_rows(scorer, [PROMPTS[0]], [RESPONSES[0]])[0, 0])
    export_reward_model(tmp_path / "out" / "student", model=saved(scorer, tmp_path / "rm"))
    text = (tmp_path / "out" / "student" / "README.md").read_text()
    assert "pipeline_tag: text-classification" in text
    monkeypatch.chdir(tmp_path / "out")
    plain, piped = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {"prompt": PROMPTS[0], "response": RESPONSES[0]}
    exec(plain, names)
    assert names["rewards"].tolist() == pytest.approx([expected], abs=1e-5)
    *lines, last = piped.strip().splitlines()
    exec("\n".join(lines), names)
    assert eval(last, names) == pytest.approx(expected, abs=1e-5)


def test_what_no_classifier_can_be_is_refused_with_what_to_set(tmp_path: Path) -> None:
    for comparator, readout, needed in (
        ("embedding", "last", "comparator is embedding, .* set base_rm.comparator to pointwise"),
        ("joint", "last", "comparator is joint, .* set base_rm.comparator to pointwise"),
        ("pointwise", "mean", r"read-out is mean, .* set reward.readout to"),
    ):
        scorer = scorer_of("llama", "plain", comparator, readout)
        model = saved(scorer, tmp_path / f"{comparator}-{readout}")
        with pytest.raises(ModelError, match=needed):
            export_reward_model(tmp_path / "out", model=model)
        assert not (tmp_path / "out").exists()


def test_an_exported_classifier_is_for_transformers(tmp_path: Path) -> None:
    export_reward_model(tmp_path / "out", model=saved(scorer_of("llama"), tmp_path / "rm"))
    with pytest.raises(
        ModelError,
        match=r"out has config.json but no card.json: .* AutoModelForSequenceClassification, or "
        "give the folder that it was exported from",
    ):
        load_reward_model(tmp_path / "out")
    (tmp_path / "rm" / "card.json").unlink()
    with pytest.raises(ModelError, match=r"has no card\.json; it was not written by this project"):
        load_reward_model(tmp_path / "rm")


def test_of_an_ensemble_a_member_is_exported(tmp_path: Path) -> None:
    ensemble = tmp_path / "rm"
    for index in range(2):
        saved(scorer_of("llama"), member_folder(ensemble, index))
    write_ensemble(ensemble, 2)
    with pytest.raises(
        ModelError, match=r"an ensemble of 2, .* export a member, such as .*member-0"
    ):
        export_reward_model(tmp_path / "out", model=ensemble)
    export_reward_model(tmp_path / "out", model=ensemble / "member-0")
    assert plain_rewards(tmp_path / "out").isfinite().all()


def test_a_tokenizer_that_transformers_would_rebuild_is_refused(
    words: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    # Beside a Qwen2, AutoTokenizer takes any tokenizer.json for Qwen2's kind: words become bytes.
    encoder = Encoder(words, 40, 20, "causal")
    model = RewardModel(tiny_model("qwen2", encoder), "pointwise", 0, "last")
    folder = saved(Scorer(model.eval(), encoder), tmp_path / "rm")
    expected = "loads this tokenizer as Qwen2Tokenizer for a model of type qwen2"
    with pytest.raises(ModelError, match=expected):
        export_reward_model(tmp_path / "out", model=folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rm"]
