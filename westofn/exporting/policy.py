"""Export a policy as a language model of plain transformers, with a model card.

Weights, their precision and the vocabulary are those of training. So a tokenizer whose padding is
the end token keeps it: another row of the vocabulary would take probability from all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerFast,
)

from westofn.errors import ModelError
from westofn.exporting.cards import (
    PAPER,
    TAG,
    check_folder,
    new_folder,
    parameters,
    table,
    versions,
    write_card,
)
from westofn.exporting.lineage import LOCK, Lineage, lineage_of
from westofn.exporting.metadata import check_license, model_header
from westofn.exporting.tokenizer import comparable_rows, exported_tokenizer, tokenizer_input
from westofn.models.card import Canary, Card, read_card
from westofn.models.policy import Policy, load_policy, log_likelihood

# Absolute, and relative for |log π(y|x)| above 1; bf16 rounds to 3 digits.
TOLERANCE = {"fp32": 1e-4, "bf16": 5e-2}
_LOADER = {"causal": AutoModelForCausalLM, "encoder_decoder": AutoModelForSeq2SeqLM}


def export_policy(
    out: Path,
    *,
    model: Path,
    license: str | None = None,  # noqa: A002 (the name of the field in the card)
    lock: Path = LOCK,
) -> None:
    """Export a policy.

    Args:
        out: Folder to write; an earlier export in it is replaced.
        model: Folder of the policy that a stage wrote.
        license: License for the card; None: known for what only the embedded world gave.
        lock: Path of dvc.lock.

    Raises:
        ModelError: The policy is missing, damaged, or changed since it was saved; or transformers
            loads other token ids or log-likelihoods from the export.
        DataError: `out` exists and is not an export or has other files, or a file cannot be read or
            written.
        ParameterError: The license cannot be one.
    """
    check_folder(out, [model])
    check_license(license)
    policy, card, lineage = load_policy(model), read_card(model, "policy"), lineage_of(model, lock)
    tags = [TAG, *["conversational"] * (policy.encoder.chat is not None)]
    head = model_header(
        out.name,
        lineage.params,
        role="policy",
        license=license,
        tags=tags,
        library_name="transformers",
        pipeline_tag="text-generation" if card.family == "causal" else None,
    )
    with new_folder(out) as place:
        write_policy(policy, card, place)
        write_card(place, out.name, head, _body(_About(out.name, card, policy, lineage)))


def write_policy(policy: Policy, card: Card, place: Path) -> None:
    """Write configuration, weights and tokenizer, and verify them with plain transformers.

    Args:
        policy: The policy; its generation settings are replaced.
        card: Its card, whose canaries are compared.
        place: A new folder.

    Raises:
        ModelError: The loaded tokenizer gives other ids, the loaded model other log-likelihoods, or
            max_prompt_tokens leaves no row to compare.
    """
    rows = comparable_rows(policy.encoder, card.canaries)
    model: Any = policy.model
    model.generation_config = _generation(policy)
    model.save_pretrained(place)
    _tokenizer(policy).save_pretrained(place)
    loaded = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    _check_ids(policy, rows, loaded)
    expected = log_likelihood(
        policy, [row.prompt for row in rows], [row.response for row in rows]
    ).logprob
    worst = float(
        ((_plain_logprobs(policy, rows, loaded, place) - expected).abs())
        .div(expected.abs().clamp_min(1.0))
        .max()
    )
    if not worst <= TOLERANCE[card.precision]:
        raise ModelError(
            f"the policy that transformers loads gives log-likelihoods that differ by {worst:.2g}, "
            f"needs {TOLERANCE[card.precision]:g}; report this with the model's type"
        )


def _generation(policy: Policy) -> GenerationConfig:
    """Return settings with which `generate` draws from π(y|x), as long as training allows."""
    encoder, config = policy.encoder, policy.model.config
    return GenerationConfig(
        pad_token_id=encoder.pad_id,
        eos_token_id=encoder.eos_id,
        bos_token_id=getattr(config, "bos_token_id", None),
        decoder_start_token_id=getattr(config, "decoder_start_token_id", None),
        max_new_tokens=encoder.template.max_response_tokens + 1,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
    )


def _tokenizer(policy: Policy) -> PreTrainedTokenizerFast:
    """Return the tokenizer; one text is a prompt, ready to be continued."""
    encoder = policy.encoder
    causal = encoder.template.family == "causal"
    return exported_tokenizer(
        encoder, encoder.layout.after_prompt, padding_side="left" if causal else "right"
    )


def _check_ids(policy: Policy, rows: Sequence[Canary], tokenizer: Any) -> None:
    """Refuse a tokenizer that gives other ids than the encoder, for prompts or for responses."""
    encoder = policy.encoder
    texts = [tokenizer_input(encoder, tokenizer, row.prompt) for row in rows]
    responses = [encoder.layout.after_seam(row.response) for row in rows]
    prompt_ids = encoder.prompts([row.prompt for row in rows])
    response_ids = encoder.responses([row.response for row in rows])
    pairs = [prompt + response for prompt, response in zip(prompt_ids, response_ids, strict=True)]
    same = tokenizer(texts).input_ids == prompt_ids
    if not same or tokenizer(texts, responses).input_ids != pairs:
        raise ModelError(
            f"transformers loads this tokenizer as {type(tokenizer).__name__} for a model of type "
            f"{policy.model.config.model_type}, which gives other token ids; start from a "
            "pretrained model with its own tokenizer"
        )


@torch.inference_mode()
def _plain_logprobs(
    policy: Policy, rows: Sequence[Canary], tokenizer: Any, place: Path
) -> torch.Tensor:
    """Compute log π(y|x) (rows,) with plain transformers, one row at a time."""
    family = policy.encoder.template.family
    model: Any = (
        _LOADER[family]
        .from_pretrained(
            place, dtype=policy.model.dtype, use_safetensors=True, trust_remote_code=False
        )
        .eval()
    )
    sums = []
    for row in rows:
        text = tokenizer_input(policy.encoder, tokenizer, row.prompt)
        response = policy.encoder.layout.after_seam(row.response)
        prompt = tokenizer(text).input_ids
        targets = tokenizer(text, response).input_ids[len(prompt) :]
        if family == "causal":
            logits = model(input_ids=torch.tensor([prompt + targets])).logits
            logits = logits[0, len(prompt) - 1 : -1]
        else:
            labels = torch.tensor([targets])
            logits = model(input_ids=torch.tensor([prompt]), labels=labels).logits[0]
        logprobs = logits.float().log_softmax(-1)
        sums.append(logprobs.gather(-1, torch.tensor(targets)[:, None]).sum())
    return torch.stack(sums)


@dataclass(frozen=True)
class _About:
    """Information about a policy for its card."""

    name: str
    card: Card
    policy: Policy
    lineage: Lineage


def _body(about: _About) -> list[str]:
    card, encoder = about.card, about.policy.encoder
    learned = "rlhf" in about.lineage.params
    origin = (
        f"Trained by reinforcement learning against a reward model. {PAPER}"
        if learned
        else "The policy of which responses are sampled and from which RL starts."
    )
    return [
        f"# {about.name}",
        f"Language model, {card.family.replace('_', '–')}, {card.precision}. {origin}",
        "## Use",
        _code(about),
        "`generate` draws from the policy at temperature 1, up to "
        f"{encoder.template.max_response_tokens} tokens and the end token.",
        "\n".join(f"- {point}" for point in _points(about)),
        "## Input",
        table(("", "value"), sorted(card.template.items())),
        "`layout` holds the ids of the special tokens around a prompt x and after a response y; "
        "`vocabulary` and `chat` are hashes of the tokenizer and the chat template.",
        "## Training",
        table(("", "value"), card.training.items()),
        "## Parameters",
        parameters(about.lineage),
        versions(),
    ]


def _code(about: _About) -> str:
    family = about.policy.encoder.template.family
    loader = _LOADER[family].__name__
    text = "prompt"
    if about.policy.encoder.chat:
        text = (
            "tokenizer.apply_chat_template(\n"
            '    [{"role": "user", "content": prompt}],\n'
            "    tokenize=False,\n    add_generation_prompt=True,\n)"
        )
    start = "rows.input_ids.shape[1]" if family == "causal" else "1"
    return (
        f"```python\nfrom transformers import {loader}, AutoTokenizer\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("{about.name}")\n'
        f'model = {loader}.from_pretrained("{about.name}").eval()\n'
        f"text = {text}\n"
        'rows = tokenizer([text], padding=True, return_tensors="pt")\n'
        "tokens = model.generate(**rows)\n"
        f"tokenizer.batch_decode(tokens[:, {start}:], skip_special_tokens=True)\n```"
    )


def _points(about: _About) -> list[str]:
    """List what a caller should know about texts and special tokens."""
    encoder = about.policy.encoder
    points = [
        f"Training trimmed prompts longer than {encoder.template.max_prompt_tokens} tokens, "
        "special tokens included, from the left.",
        "A special token in a text is read as the token, but was plain text in training.",
    ]
    if encoder.pad_id == encoder.eos_id:
        points.append(
            "Padding is the end token: give `attention_mask`, and mark padding in labels by the "
            "mask, not by the id, else the model unlearns to end."
        )
    if encoder.layout.seam:
        points.append(
            'A response begins with a space: `tokenizer(prompt, " " + response)` gives the token '
            "ids of training."
        )
    return points
