"""Paragraphs of a model card on how to load the model."""

from __future__ import annotations

from westofn.exporting.model_card import About
from westofn.text.encoding import Encoder


def use_by_westofn(about: About) -> list[str]:
    """Return paragraphs on how to load the model with westofn."""
    if about.card.gives_rewards:
        name, call = "mean_rewards", "mean_rewards(model, [prompt], [[first, second]])"
    else:
        name, call = "mean_pair_margins", "mean_pair_margins(model, [prompt], [first], [second])"
    return [
        "```python\nfrom pathlib import Path\n"
        f"from westofn.models.ensemble import load_reward_models, {name}\n"
        f'model = load_reward_models(Path("{about.name}"))\n{call}\n```',
        "`prompt` and the responses are texts. For rows of JSONL: "
        f"`python -m westofn score rows.jsonl --model {about.name}`.",
    ]


def use_by_transformers(about: About, encoder: Encoder) -> list[str]:
    """Return paragraphs on how to load the model with transformers, and on the caller's duties.

    Args:
        about: Information about the model.
        encoder: Encoder of the model's training texts.
    """
    response = '" " + response' if encoder.layout.seam else "response"
    paragraphs = [
        "Loading requires only torch and transformers.",
        "```python\nimport torch\n"
        "from transformers import AutoModelForSequenceClassification, AutoTokenizer\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("{about.name}")\n'
        f'model = AutoModelForSequenceClassification.from_pretrained("{about.name}").eval()\n'
        f'rows = tokenizer([prompt], [{response}], padding=True, return_tensors="pt")\n'
        "with torch.no_grad():\n    rewards = model(**rows).logits[:, 0]\n```",
        "`pipeline` returns the raw reward as score:",
        "```python\nfrom transformers import pipeline\n\n"
        f'classify = pipeline("text-classification", model="{about.name}")\n'
        f'classify({{"text": prompt, "text_pair": {response}}})["score"]\n```',
        "Pass prompt and response as two texts, not concatenated: the tokenizer inserts the "
        "special tokens and gives the token ids of training, with these exceptions:",
        "\n".join(f"- {point}" for point in _left_to_the_caller(encoder)),
    ]
    if about.card.precision != "fp32":
        paragraphs.append(
            "Weights are stored in fp32, because the head is fp32. westofn computes this model in "
            "bf16, so its rewards differ by the rounding of bf16."
        )
    return paragraphs


def _left_to_the_caller(encoder: Encoder) -> list[str]:
    """List the cases in which the exported tokenizer gives other ids than training."""
    limits, points = encoder.template, []
    if encoder.chat:
        points += [
            "This model was trained on dialogues in its chat template: pass as `prompt` the result "
            "of `tokenizer.apply_chat_template(messages, tokenize=False, "
            "add_generation_prompt=True)`, and strip white space around messages.",
            "Training joined consecutive messages of one role with an empty line, inserted an "
            "empty user message before a first assistant message, and moved a system message that "
            "the template does not support into the user message. The export was verified only on "
            "dialogues without system message in which user and assistant alternate.",
            f"In dialogues longer than {limits.max_prompt_tokens} tokens, training removed the "
            "oldest words or messages; remove whole messages from the beginning.",
            "A special token in a message is read as the token, but was plain text in training; "
            "remove it from messages.",
        ]
        return points
    if encoder.layout.seam:
        points.append(
            'A space parts prompt and response: pass `" " + response`, unless the response begins '
            "with white space, as what a policy generates after the prompt does."
        )
    points.append(
        f"Training trimmed prompts longer than {limits.max_prompt_tokens} tokens, special tokens "
        'included, from the left: use `truncation="only_first"` with a `max_length` that leaves '
        f"the response whole, such as {_longest(encoder)} for responses of up to "
        f"{limits.max_response_tokens} tokens."
    )
    if not encoder.layout.before_prompt:
        points.append(
            "An empty prompt was the end token in training, but has no token here: pass "
            "`tokenizer.eos_token` as prompt."
        )
    points.append(
        "A special token in a text is read as the token, but was plain text in training: "
        + (
            "pass `split_special_tokens=True`."
            if _splits(encoder)
            else "this tokenizer cannot split it, so remove it from texts."
        )
    )
    return points


def _longest(encoder: Encoder) -> int:
    """Return the number of tokens of a row whose prompt and response have the maximum length."""
    return encoder.template.max_prompt_tokens + encoder.template.max_response_tokens + 1


def _splits(encoder: Encoder) -> bool:
    """Return whether the tokenizer can read a special token in a text as plain text."""
    end = str(encoder.tokenizer.convert_ids_to_tokens(encoder.eos_id))
    ids = encoder.tokenizer(f"a {end} b", add_special_tokens=False, split_special_tokens=True)
    return encoder.eos_id not in ids.input_ids
