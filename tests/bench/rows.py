"""Rows of every benchmark, made by hand from the words of the tiny models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.small_models import PROMPTS, RESPONSES

Rows = list[dict[str, Any]]
PLAIN, OTHER, LONGER = RESPONSES[0], RESPONSES[1], RESPONSES[2]


def write(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def reward_bench() -> Rows:
    """Two subsets of two sections, with two prompts each."""
    subsets = ("alpacaeval-easy", "math-prm", "hep-cpp", "alpacaeval-easy")
    return [
        {
            "prompt": prompt,
            "chosen": LONGER,
            "rejected": PLAIN if index % 2 else OTHER,
            "chosen_model": "a",
            "rejected_model": "b",
            "subset": subset,
            "id": index,
        }
        for index, (prompt, subset) in enumerate(zip(PROMPTS, subsets, strict=True))
    ]


def reward_bench_2() -> Rows:
    four = [
        {
            "id": str(index),
            "prompt": prompt,
            "chosen": [RESPONSES[index]],
            "rejected": [other for other in RESPONSES if other != RESPONSES[index]],
            "num_correct": 1,
            "num_incorrect": 3,
            "total_completions": 4,
            "subset": "Focus",
        }
        for index, prompt in enumerate(PROMPTS)
    ]
    return [*four, *ties_rows()]


def ties_rows() -> Rows:
    sides = {
        "ref:1": (["red"], ["bad", "blue"]),
        "tied:1": (["red", "good sun"], ["bad", "blue"]),
        "ref:2": (["a cat"], ["moon"]),
        "tied:2": (["a cat", "a dog", "cat"], ["moon", "so"]),
    }
    return [
        {
            "id": name,
            "prompt": PROMPTS[int(name[-1])],
            "chosen": chosen,
            "rejected": rejected,
            "num_correct": len(chosen),
            "num_incorrect": len(rejected),
            "total_completions": len(chosen) + len(rejected),
            "subset": "Ties",
        }
        for name, (chosen, rejected) in sides.items()
    ]


def rm_bench() -> Rows:
    domains = ("chat", "safety-refuse", "safety-response")
    return [
        {
            "id": str(index),
            "prompt": PROMPTS[index],
            "chosen": ["good", "good dog", "a good red dog"],
            "rejected": ["bad", "bad dog", "a bad blue dog ran"],
            "domain": domain,
        }
        for index, domain in enumerate(domains)
    ]


def judge_bench() -> Rows:
    sources = ("mmlu-pro-law", "livebench-math", "mmlu-pro-math")
    return [
        {
            "pair_id": f"p{index}",
            "source": source,
            "question": PROMPTS[index],
            "response_A": RESPONSES[index],
            "response_B": RESPONSES[index + 1],
            "label": "A>B" if index % 2 else "B>A",
        }
        for index, source in enumerate(sources)
    ]


def llm_bar() -> Rows:
    return [
        {"input": prompt, "output_1": PLAIN, "output_2": LONGER, "label": 1 + index % 2}
        for index, prompt in enumerate(PROMPTS)
    ]


def best_of_k() -> Rows:
    flags = ([True, False, False, False], [False, True, True, False])
    return [
        {
            "question_id": f"q{index}",
            "prompt": PROMPTS[index],
            **{f"response_{n}": text for n, text in enumerate(RESPONSES, 1)},
            "scores": scores,
            "mean_score": sum(scores) / 4,
        }
        for index, scores in enumerate(flags)
    ]


def preferences() -> Rows:
    return [{"prompt": p, "chosen": OTHER, "rejected": LONGER} for p in PROMPTS]
