"""`python -m westofn export policy`: plain transformers loads the same distribution."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerFast,
)

from tests.chat_templates import END, chatting
from tests.exporting.test_classifier import tokenizer_of
from tests.small_families import tiny_model
from tests.small_models import PROMPTS, RESPONSES
from westofn import __main__ as command
from westofn.errors import DataError, ModelError
from westofn.exporting import policy as exporting
from westofn.exporting.policy import export_policy
from westofn.models.policy import Policy, log_likelihood, save_policy
from westofn.text.encoding import Encoder
from westofn.text.model_files import FAMILY_OF

ROWS = [(prompt, response) for prompt in PROMPTS for response in RESPONSES]
KINDS = [("t5", "plain"), ("llama", "plain"), ("llama", "shared"), ("llama", "start"),
         ("gpt2", "shared"), ("gemma2", "start")]  # fmt: skip


def policy_of(model_type: str, kind: str) -> Policy:
    encoder = Encoder(tokenizer_of(kind), 40, 20, FAMILY_OF[model_type])
    return Policy(tiny_model(model_type, encoder), encoder)


def exported(policy: Policy, folder: Path) -> Path:
    save_policy(policy, folder / "policy", ROWS[:3], {"steps": 6})
    export_policy(folder / "out", model=folder / "policy")
    return folder / "out"


def expected(policy: Policy) -> torch.Tensor:
    prompts, responses = map(list, zip(*ROWS, strict=True))
    return log_likelihood(policy, prompts, responses).logprob


@torch.inference_mode()
def plain(folder: Path, texts: list[str], responses: list[str]) -> torch.Tensor:
    """log π(y|x) by transformers alone, from the loss that it computes of labels."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    both = {"t5": AutoModelForSeq2SeqLM}
    config = (folder / "config.json").read_text()
    is_t5 = '"t5"' in config
    model: Any = both.get("t5" if is_t5 else "", AutoModelForCausalLM).from_pretrained(folder)
    sums = []
    for text, response in zip(texts, responses, strict=True):
        if is_t5:
            rows = tokenizer([text], text_target=[response], return_tensors="pt")
            labels = rows.labels
        else:
            rows = tokenizer([text], [response], return_tensors="pt")
            labels = rows.input_ids.clone()
            labels[:, : len(tokenizer(text).input_ids)] = -100
        loss = model.eval()(**{**rows, "labels": labels}).loss
        sums.append(-loss * (labels != -100).sum())
    return torch.stack(sums)


@pytest.mark.parametrize(("model_type", "kind"), KINDS)
def test_plain_transformers_gives_the_same_log_likelihoods(
    model_type: str, kind: str, tmp_path: Path
) -> None:
    policy = policy_of(model_type, kind)
    before = expected(policy)
    assert before.std() > 0.1
    out = exported(policy, tmp_path)
    prompts, responses = map(list, zip(*ROWS, strict=True))
    seam = policy.encoder.layout.seam
    assert bool(seam) == (model_type != "t5")
    plain_logprobs = plain(out, prompts, [seam + response for response in responses])
    torch.testing.assert_close(plain_logprobs, before, atol=1e-4, rtol=1e-4)
    tokenizer, settings = AutoTokenizer.from_pretrained(out), GenerationConfig.from_pretrained(out)
    assert tokenizer.pad_token_id == settings.pad_token_id == policy.encoder.pad_id
    assert settings.eos_token_id == policy.encoder.eos_id
    assert (settings.pad_token_id == settings.eos_token_id) == (kind == "shared")
    assert (settings.max_new_tokens, settings.do_sample, settings.top_k) == (21, True, 0)
    assert tokenizer.chat_template is None
    assert tokenizer.padding_side == ("right" if model_type == "t5" else "left")
    text = (out / "README.md").read_text("utf-8")
    assert ("Padding is the end token" in text) == (kind == "shared")


def test_a_bf16_policy_leaves_in_bf16(tmp_path: Path) -> None:
    policy = policy_of("llama", "plain")
    out = exported(Policy(policy.model.to(torch.bfloat16), policy.encoder), tmp_path)
    model = AutoModelForCausalLM.from_pretrained(out)
    assert model.dtype == torch.bfloat16
    assert "Language model, causal, bf16." in (out / "README.md").read_text("utf-8")


@pytest.mark.parametrize("kind", ["chatml", "llama"])
def test_a_policy_with_a_chat_template_keeps_it_and_ends_a_turn(
    kind: str, spelling: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    encoder = Encoder(chatting(spelling, kind), 60, 20, "causal", chat=True)
    policy = Policy(tiny_model("llama", encoder, max_position_embeddings=128), encoder)
    save_policy(policy, tmp_path / "policy", [("sun", "a")], {"steps": 6})
    export_policy(tmp_path / "out", model=tmp_path / "policy")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    messages = [{"role": "user", "content": "sun"}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True).input_ids
    assert ids == encoder.prompts(["sun"])[0]
    settings = GenerationConfig.from_pretrained(tmp_path / "out")
    assert settings.eos_token_id == tokenizer.convert_tokens_to_ids(END[kind])


@pytest.mark.parametrize("model_type", ["t5", "llama"])
def test_the_lines_of_the_card_generate(
    model_type: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = exported(policy_of(model_type, "plain"), tmp_path)
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", (out / "README.md").read_text(), re.DOTALL)
    *lines, last = block.strip().splitlines()
    values: dict[str, Any] = {"prompt": PROMPTS[0]}
    torch.manual_seed(0)
    exec("\n".join(lines), values)
    (text,) = eval(last, values)
    assert isinstance(text, str)
    assert PROMPTS[0] not in text
    assert values["tokens"].shape[1] <= 21 + (1 if model_type == "t5" else len(values["rows"][0]))
    data = ModelCard.load(out / "README.md").data
    assert data.library_name == "transformers"
    assert data.pipeline_tag == ("text-generation" if model_type == "llama" else None)


def test_an_export_that_transformers_reads_otherwise_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policy_of("llama", "plain")
    save_policy(policy, tmp_path / "policy", ROWS[:3], {"steps": 6})
    monkeypatch.setattr(exporting, "log_likelihood", lambda *_: log_likelihood(policy, *wrong()))
    with pytest.raises(ModelError, match=r"log-likelihoods that differ by .*, needs 0\.0001"):
        export_policy(tmp_path / "out", model=tmp_path / "policy")
    monkeypatch.undo()
    monkeypatch.setattr(exporting, "_tokenizer", lambda policy: policy.tokenizer)
    with pytest.raises(ModelError, match="which gives other token ids"):
        export_policy(tmp_path / "out", model=tmp_path / "policy")
    assert not (tmp_path / "out").exists()


def wrong() -> tuple[list[str], list[str]]:
    """Other responses than those of the canaries and the probes, as many."""
    return ["sun"] * 5, ["moon"] * 5


def test_the_command_refuses_what_is_no_policy_and_what_is_no_export(
    saved_models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = saved_models / "pointwise"
    monkeypatch.setattr(
        sys, "argv", ["westofn", "export", "policy", f"{tmp_path / 'out'}", "--model", f"{model}"]
    )
    with pytest.raises(SystemExit) as end:
        command.main()
    assert end.value.code == 2
    assert "holds a reward_model, needs a policy" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").touch()
    with pytest.raises(DataError, match="mine exists and is not an export"):
        export_policy(tmp_path / "mine", model=model)
