"""Paragraphs of a model card on how to load the model."""

from __future__ import annotations

from westofn.exporting.model_card import About
from westofn.text.encoding import Encoder


def use_by_westofn(about: About) -> list[str]:
    """How to load it, in five lines."""
    if about.card.gives_rewards:
        name, call = "mean_rewards", "mean_rewards(model, [prompt], [[response, another]])"
    else:
        name, call = "mean_pair_margins", "mean_pair_margins(model, [prompt], [one], [another])"
    return [
        "```python\nfrom pathlib import Path\n"
        f"from westofn.models.ensemble import load_reward_models, {name}\n"
        f'model = load_reward_models(Path("{about.name}"))\n{call}\n```',
        "`prompt` and the responses are texts. Or for rows of JSONL: "
        f"`python -m westofn score rows.jsonl --model {about.name}`.",
    ]


def use_by_transformers(about: About, encoder: Encoder) -> list[str]:
    """How to load it with transformers, and what is the caller's to do.

    Args:
        about: What is known of the model.
        encoder: That read its training texts.
    """
    paragraphs = [
        "The folder needs nothing but torch and transformers.",
        "```python\nimport torch\n"
        "from transformers import AutoModelForSequenceClassification, AutoTokenizer\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("{about.name}")\n'
        f'model = AutoModelForSequenceClassification.from_pretrained("{about.name}").eval()\n'
        'rows = tokenizer([prompt], [response], padding=True, return_tensors="pt")\n'
        "with torch.no_grad():\n    rewards = model(**rows).logits[:, 0]\n```",
        "`pipeline` gives the raw reward as score:",
        "```python\nfrom transformers import pipeline\n\n"
        f'classify = pipeline("text-classification", model="{about.name}")\n'
        'classify({"text": prompt, "text_pair": response})["score"]\n```',
        "Prompt and response go in as two texts, not joined: the tokenizer puts the special tokens "
        "in their places and so gives the ids that training read. What it does not do:",
        "\n".join(f"- {point}" for point in _left_to_the_caller(encoder)),
    ]
    if about.card.precision != "fp32":
        paragraphs.append(
            "Weights are written in fp32, since the head is. westofn computes this model in "
            "bf16, so that its own rewards differ by bf16's rounding."
        )
    return paragraphs


def _left_to_the_caller(encoder: Encoder) -> list[str]:
    """Where a plain tokenizer reads other ids than training did."""
    limits, points = encoder.template, []
    if encoder.chat:
        points += [
            "This model read dialogues in its chat template: give as `prompt` what "
            "`tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)` "
            "returns, of messages that have no white space around them.",
            "Training joined messages of one role in succession by an empty line, put an empty "
            "message of the user where the assistant spoke first, and let the user say a system "
            "message that the template does not take. Export compared rewards on dialogues alone "
            "that have no system message and in which user and assistant take turns.",
            f"Of dialogues longer than {limits.max_prompt_tokens} tokens training left out the "
            "oldest words or messages; drop whole messages from the beginning.",
            "A special token that a message spells out is read as the token, in training it was "
            "text; take it out of messages.",
        ]
        return points
    points.append(
        f"Of prompts longer than {limits.max_prompt_tokens} tokens, special ones included, "
        'training read the end: `truncation="only_first"` with a `max_length` that leaves the '
        f"response whole trims them from the left, such as {_longest(encoder)} for responses of up "
        f"to {limits.max_response_tokens} tokens."
    )
    if not encoder.layout.before_prompt:
        points.append(
            "An empty prompt was read as the end token, here it has no token: give "
            "`tokenizer.eos_token` as prompt."
        )
    points.append(
        "A special token that a text spells out is read as the token, in training it was text: "
        + (
            "pass `split_special_tokens=True`."
            if _splits(encoder)
            else "this tokenizer cannot split it, so take it out of texts."
        )
    )
    return points


def _longest(encoder: Encoder) -> int:
    """Tokens of a row whose prompt and response are as long as their limits."""
    return encoder.template.max_prompt_tokens + encoder.template.max_response_tokens + 1


def _splits(encoder: Encoder) -> bool:
    """Whether the tokenizer itself reads a spelled-out special token as text when told to."""
    end = str(encoder.tokenizer.convert_ids_to_tokens(encoder.eos_id))
    ids = encoder.tokenizer(f"a {end} b", add_special_tokens=False, split_special_tokens=True)
    return encoder.eos_id not in ids.input_ids
