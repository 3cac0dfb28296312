"""Paragraphs of a model card on how to load the model."""

from __future__ import annotations

from westofn.exporting.model_card import About
from westofn.models.encoding import NO_CHAT


def use_by_westofn(about: About) -> list[str]:
    """How to load it, in five lines."""
    if about.card.comparator == "pointwise":
        name, call = "mean_rewards", "mean_rewards(model, [prompt], [[response, another]])"
    else:
        name, call = "mean_pair_margins", "mean_pair_margins(model, [prompt], [one], [another])"
    return [
        "```python\nfrom pathlib import Path\n"
        f"from westofn.models.ensemble import load_reward_models, {name}\n"
        f'model = load_reward_models(Path("{about.name}"))\n{call}\n```',
        f"Or for rows of JSONL: `python -m westofn score rows.jsonl --model {about.name}`.",
    ]


def use_by_transformers(about: About) -> list[str]:
    """How to load it with transformers, and what is the caller's to do."""
    template = about.card.template
    paragraphs = [
        "```python\nimport torch\n"
        "from transformers import AutoModelForSequenceClassification, AutoTokenizer\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("{about.name}")\n'
        f'model = AutoModelForSequenceClassification.from_pretrained("{about.name}").eval()\n'
        'rows = tokenizer([prompt], [response], padding=True, return_tensors="pt")\n'
        "with torch.no_grad():\n    rewards = model(**rows).logits[:, 0]\n```",
        f'`pipeline("text-classification", model="{about.name}")` gives the raw reward as score.',
        "The tokenizer puts the special tokens in their places. Of prompts longer than "
        f"{template['max_prompt_tokens']} tokens training read the end: "
        '`truncation="only_first"` with a `max_length` of prompt and response trims them from the '
        "left. A special token that a text spells out is read as one unless "
        "`split_special_tokens=True` is passed.",
    ]
    if template.get("chat", NO_CHAT) != NO_CHAT:
        paragraphs.append(
            "The model reads dialogues in its chat template: `prompt` is what "
            "`tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)` "
            "gives, whose messages have no white space around them."
        )
    if about.card.precision != "fp32":
        paragraphs.append(
            "Weights are written in fp32, since the head is. westofn computes this model in "
            "bf16, so that its own rewards differ by bf16's rounding."
        )
    return paragraphs
