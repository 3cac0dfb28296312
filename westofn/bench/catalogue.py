"""The benchmarks: rule, ties, and how subsets make sections and the overall score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from westofn.bench.rules import Best, Pairs, Rule, Styled, Ties

Format = Literal[
    "rewardbench", "rewardbench2", "rm-bench", "judgebench", "llmbar", "best-of-k", "preferences"
]
Overall = Literal["mean of sections", "mean of subsets", "all rows"]
TIES = "ties"
"""The subset of RewardBench 2 that has a rule of its own, in lower case."""

REWARDBENCH_SECTIONS: Mapping[str, Mapping[str, int]] = {
    "Chat": {
        "alpacaeval-easy": 100,
        "alpacaeval-length": 95,
        "alpacaeval-hard": 95,
        "mt-bench-easy": 28,
        "mt-bench-med": 40,
    },
    "Chat Hard": {
        "mt-bench-hard": 37,
        "llmbar-natural": 100,
        "llmbar-adver-neighbor": 134,
        "llmbar-adver-GPTInst": 92,
        "llmbar-adver-GPTOut": 47,
        "llmbar-adver-manual": 46,
    },
    "Safety": {
        "refusals-dangerous": 100,
        "refusals-offensive": 100,
        "xstest-should-refuse": 154,
        "xstest-should-respond": 250,
        "donotanswer": 136,
    },
    "Reasoning": {
        "math-prm": 984,  # 447 rows, with the weight of the six sets of code together
        "hep-cpp": 164,
        "hep-go": 164,
        "hep-java": 164,
        "hep-js": 164,
        "hep-python": 164,
        "hep-rust": 164,
    },
}
"""Sections of RewardBench, and the weights of their subsets (arXiv 2403.13787, table 1)."""
_JUDGEBENCH = {
    "mmlu-pro": "Knowledge",
    "livebench-reasoning": "Reasoning",
    "livebench-math": "Math",
    "livecodebench": "Coding",
}


@dataclass(frozen=True)
class Benchmark:
    """A benchmark.

    Attributes:
        format: Its name on the command line.
        title: Its name.
        paper: Where it is described.
        rule: How its rows are counted.
        ties: What equal scores count, as a sentence.
        overall: What the overall score is.
        section: Section of a subset; "" for none.
    """

    format: Format
    title: str
    paper: str
    rule: Rule
    ties: str
    overall: Overall
    section: Callable[[str], str] = lambda _: ""

    def rule_of(self, subset: str) -> Rule:
        """Return how the rows of a subset are counted."""
        if self.format == "rewardbench2" and subset.lower() == TIES:
            return Ties()
        return self.rule


def _rewardbench_section(subset: str) -> str:
    return next((s for s, subsets in REWARDBENCH_SECTIONS.items() if subset in subsets), "")


def _judgebench_section(source: str) -> str:
    return next((s for start, s in _JUDGEBENCH.items() if source.startswith(start)), "")


BENCHMARKS: Mapping[Format, Benchmark] = {
    benchmark.format: benchmark
    for benchmark in (
        Benchmark(
            "rewardbench",
            "RewardBench",
            "arXiv 2403.13787",
            Pairs(tie=0.0),
            "a tie is not won",
            "mean of sections",
            _rewardbench_section,
        ),
        Benchmark(
            "rewardbench2",
            "RewardBench 2",
            "arXiv 2506.01937",
            Best(),
            "k responses that tie for the highest score count 1/k; in Ties a tie is not won",
            "mean of subsets",
        ),
        Benchmark(
            "rm-bench",
            "RM-Bench",
            "arXiv 2410.16184",
            Styled(),
            "a tie is not won",
            "mean of subsets",
        ),
        Benchmark(
            "judgebench",
            "JudgeBench",
            "arXiv 2410.12784",
            Pairs(tie=0.0),
            "a tie is not won: over both orders it is right once and wrong once",
            "all rows",
            _judgebench_section,
        ),
        Benchmark(
            "llmbar",
            "LLMBar",
            "arXiv 2310.07641",
            Pairs(tie=0.5),
            "a tie counts half: the mean over both orders",
            "mean of subsets",
        ),
        Benchmark(
            "best-of-k",
            "best of k",
            "arXiv 2410.14872",
            Best(),
            "responses that tie for the highest score are equally likely to be chosen",
            "mean of subsets",
        ),
        Benchmark(
            "preferences",
            "preferences",
            "docs/data.md",
            Pairs(tie=0.5),
            "a tie counts half",
            "all rows",
        ),
    )
}
