"""Made-up rows in the columns of the human data, and tasks that train for seconds."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.human.settings import ALL_TASKS, POLICY, SCRATCH, Sizes, Task

NAMES = [f"{a}{b}" for a in ("Al", "Bo", "Cu", "Di") for b in ("mar", "lin", "ten", "rus", "vo")]
AREAS = ("river", "centre", "park", "hill", "lake", "dock", "mill", "gate")
FOODS = ("Thai", "French", "Greek", "Welsh", "Dutch", "Irish")


def write(rows: Sequence[Mapping[str, object]], path: Path) -> None:
    """Gzipped JSONL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as handle:
        handle.writelines(json.dumps(row) + "\n" for row in rows)


def write_human_data(folder: Path) -> None:
    """All three folders. People like full sentences; the longer text wins."""
    chance = random.Random(0)
    inputs = [
        f"name[{name}], area[{area}], food[{food}], near[{chance.choice(NAMES)} {chance.random()}]"
        for name in NAMES
        for area in AREAS
        for food in FOODS[:2]
    ]
    chance.shuffle(inputs)
    rated, taught = inputs[:100], inputs[100:160]
    write([_pair(prompt, chance) for prompt in rated for _ in range(2)], folder / "e2e-ratings" /
          "quality.jsonl.gz")  # fmt: skip
    write([_pair(prompt, chance) for prompt in rated for _ in range(2)], folder / "e2e-ratings" /
          "naturalness.jsonl.gz")  # fmt: skip
    write(
        [{"prompt": p, "completion": _sentence(p, chance)} for p in taught for _ in range(2)],
        folder / "e2e-ratings" / "demonstrations.jsonl.gz",
    )
    write([{"prompt": p} for p in taught], folder / "e2e-ratings" / "prompts.jsonl.gz")
    _write_arguments(folder / "ukp-convarg", chance)
    rows = []
    for number in range(160):
        name, area = chance.choice(NAMES), chance.choice(AREAS)
        rows.append(
            {
                "prompt": f"\n\nHuman: Where is {name} {number}, {chance.random()}?\n\nAssistant:",
                "chosen": f"{name} is by the {area}",
                "rejected": f"by the {area} {chance.choice(NAMES)}",
                "subset": ("helpful-base", "helpful-rejection-sampled", "harmless-base")[
                    number % 3
                ],
            }
        )
    write(rows, folder / "hh-rlhf-8k" / "train.jsonl.gz")


def _sentence(prompt: str, chance: random.Random) -> str:
    name = prompt.removeprefix("name[").partition("]")[0]
    return f"{name} is a {chance.choice(FOODS)} place by the {chance.choice(AREAS)}."


def _pair(prompt: str, chance: random.Random) -> dict[str, object]:
    good = _sentence(prompt, chance)
    bad = chance.choice((f"{good.removesuffix('.')} .", good.lower(), good.partition(" by")[0]))
    return {
        "prompt": prompt,
        "chosen": good,
        "rejected": bad,
        "votes_chosen": 3,
        "votes_rejected": 0,
        "votes_equal": 1,
    }


def _write_arguments(folder: Path, chance: random.Random) -> None:
    pools, pairs = [], []
    for debate in range(10):
        for stance in ("yes", "no"):
            prompt = f"Debate: topic {debate}. Stance: {stance} it is. Give an argument."
            texts = [
                " ".join([f"{stance}{debate}", *chance.choices(AREAS, k=length)])
                for length in range(1, 10)
            ]
            chance.shuffle(texts)
            pools.append({"prompt": prompt, "responses": texts})
            for first, second in zip(texts, texts[1:] + texts[:1], strict=True):
                longer, shorter = sorted((first, second), key=len, reverse=True)
                pairs.append({"prompt": prompt, "chosen": longer, "rejected": shorter})
    write(pools, folder / "pools.jsonl.gz")
    write(pairs, folder / "pairs.jsonl.gz")


TINY_SFT = {
    "steps": 40,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "max_prompt_tokens": 48,
    "max_response_tokens": 24,
}
TINY_SCRATCH = {
    "width": 16,
    "heads": 2,
    "feed_forward": 32,
    "tokenizer": "words",
    "vocabulary": 400,
}
TINY_REWARD = {"steps": 4, "batch_size": 8, "average_decay": 0.5, "evaluations": 2, "runs": 1}


TINY_SIZES = Sizes(words=12, train=20, validation=6, test=6, pools=(4, 4))


def tiny(name: str) -> Task:
    """A task of the benchmark at a size that says nothing about quality.

    A model from scratch stands for the pretrained one of its section.
    """
    task = ALL_TASKS[name]
    return replace(
        task,
        labels=(8, 16),
        condition_labels=8,
        network_labels=(8,) if task.network_labels else (),
        sft=TINY_SFT,
        scratch=TINY_SCRATCH,
        reward=TINY_REWARD,
        n_candidates=8,
        unlabeled_prompts=6,
        test_prompts=4,
        draws=2,
        model=SCRATCH,
        start=POLICY if task.start == POLICY else SCRATCH,
        sizes=task.sizes and replace(TINY_SIZES, nearness=task.sizes.nearness),
    )
