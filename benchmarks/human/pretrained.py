"""The part of docs/human-data.md about models that were pretrained, on fewer and shorter texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.human.cells import (
    ARMS,
    BASELINES,
    baseline,
    direction,
    head,
    network,
    plain,
    reading,
    share,
)
from benchmarks.human.records import Get, Run, difference, mean
from benchmarks.human.settings import DEVELOPMENT_SEED, POLICY, PRETRAINED_TASKS, Task
from westofn.report.markdown import line, rule
from westofn.study.means import Cell

SHOWN = ("hf50", "hf100", "west")

SECTION = """## Pretrained models

Made by `python -m benchmarks.human --data DIR --task pretrained` after `make models`, which brings
all-MiniLM-L6-v2 (22M weights, an encoder) and SmolLM2-135M-Instruct.

**What was reduced, and why.** MiniLM reads two to four thousand tokens a second on one core, and
SmolLM2 two to three hundred, so a seed of a task above would take an hour or more. Here pairs have
at most {words} words in the prompt and in each response; there are fewer of them and fewer pools,
networks take {steps} steps of {batch} pairs, and there is no judge, so no win rates. These numbers
compare with no table above. Baselines read the same pairs.

**Reward models from MiniLM** read the first pools of the policy from scratch of the same task and
seed. *Frozen* are linear heads on its states (mean over the response); *fine-tuned* are networks of
which all weights learn, from a head that starts at the linear one (`reward.head_start`). The
teacher of West-of-N is the linear head or the network of HF50. Two settings of the rate and the
head's start were compared, on the validation pairs of seed {development} of HH helpful.

**SmolLM2** is the policy itself, after {sft} steps of LoRA on the chosen responses, and linear
heads read its frozen states. A sample that the limit of {tokens} tokens cut is read as it is.

{verdict}

{tasks}"""


def pretrained_section(groups: Mapping[str, Sequence[Run]]) -> str:
    """The section as markdown; empty without runs.

    Args:
        groups: Name in PRETRAINED_TASKS -> its runs.
    """
    if not groups:
        return ""
    tasks = list(PRETRAINED_TASKS.values())
    minilm = next(task for task in tasks if task.start != POLICY)
    policy = next(task for task in tasks if task.start == POLICY)
    return SECTION.format(
        words=max(task.sizes.words for task in tasks if task.sizes),
        steps=minilm.reward["steps"],
        batch=minilm.reward["batch_size"],
        development=DEVELOPMENT_SEED,
        sft=policy.sft["steps"],
        tokens=policy.sft["max_response_tokens"],
        verdict=_verdict(groups),
        tasks="\n\n".join(_task(PRETRAINED_TASKS[name], runs) for name, runs in groups.items()),
    )


@dataclass(frozen=True)
class _Comparison:
    """Two means of the same runs at the largest number of labels."""

    arm: str
    reference: str
    cell: Cell


def _verdict(groups: Mapping[str, Sequence[Run]]) -> str:
    """What the comparisons over several seeds say together."""
    several = [runs for runs in groups.values() if len(runs) > 1]
    if not several:
        return "**What this says.** One seed tells no reward model from another."
    compared = [comparison for runs in several for comparison in _comparisons(runs)]
    parts = [
        _tally(compared, "frozen HF100", "length"),
        _tally(compared, "fine-tuned HF100", "length"),
        _tally(compared, "fine-tuned HF100", "frozen HF100"),
        _tally(compared, "frozen West-of-N", "frozen HF50"),
        _tally(compared, "fine-tuned West-of-N", "fine-tuned HF50"),
    ]
    told = "; ".join(filter(None, parts))
    return (
        f"**What this says.** Of the tasks with several seeds ({len(several)}), at the largest "
        f"number of labels: {told}. Length is the better of “the longer” and “the shorter "
        "response” on the test pairs."
    )


def _tally(compared: Sequence[_Comparison], arm: str, reference: str) -> str:
    verdicts = [
        comparison.cell.verdict
        for comparison in compared
        if (comparison.arm, comparison.reference) == (arm, reference)
    ]
    if not verdicts:
        return ""
    if len(verdicts) == 1:
        between = " from" if verdicts[0] == "not told apart" else ""
        return f"{arm} is {verdicts[0]}{between} {reference}"
    return (
        f"{arm} is above {reference} in {verdicts.count('above')} of {len(verdicts)} and below it "
        f"in {verdicts.count('below')}"
    )


def _comparisons(runs: Sequence[Run]) -> Iterator[_Comparison]:
    last = len(runs[0].cells) - 1

    def frozen(arm: str) -> Get:
        return head(last, arm, "accuracy")

    def tuned(arm: str) -> Get:
        return network(last, arm, "accuracy")

    length = _length(runs)
    pairs = [("frozen HF100", frozen("hf100"), "length", length)]
    pairs += [("frozen HF100", frozen("hf100"), "frozen HF50", frozen("hf50"))]
    pairs += [("frozen West-of-N", frozen("west"), "frozen HF50", frozen("hf50"))]
    pairs += [("fine-tuned HF100", tuned("hf100"), "length", length)]
    pairs += [("fine-tuned HF100", tuned("hf100"), "frozen HF100", frozen("hf100"))]
    pairs += [("fine-tuned HF100", tuned("hf100"), "fine-tuned HF50", tuned("hf50"))]
    pairs += [("fine-tuned West-of-N", tuned("west"), "fine-tuned HF50", tuned("hf50"))]
    for arm, own, reference, other in pairs:
        if cell := difference(runs, own, other):
            yield _Comparison(arm, reference, cell)


def _length(runs: Sequence[Run]) -> Get:
    """The length rule that is right more often on these test pairs."""
    rules = [baseline(arm, "accuracy") for arm in ("longest", "shortest")]
    return max(rules, key=lambda get: cell.mean if (cell := mean(runs, get)) else 0.0)


def _task(task: Task, runs: Sequence[Run]) -> str:
    seeds = ", ".join(str(run.seed) for run in runs)
    pair_counts = ", ".join(
        f"{sum(run.counts[f'pairs_{split}'] for run in runs) / len(runs):,.0f} {split}"
        for split in ("train", "validation", "test")
    )
    seeds_line = f"Seeds {seeds}" if len(runs) > 1 else f"Seed {seeds} alone, so no intervals"
    pools = "" if task.sizes is None else "; {} pools of {}".format(*task.sizes.pools)
    sentences = [
        f"- {reading(comparison.arm, comparison.cell, 'accuracy', comparison.reference)}"
        for comparison in _comparisons(runs)
    ]
    return "\n".join(
        [
            f"### {task.title}",
            "",
            f"{seeds_line}; pairs: {pair_counts}{pools}{_cut(runs)}.",
            "",
            *_rows(runs),
            "",
            *sentences,
        ]
    )


def _cut(runs: Sequence[Run]) -> str:
    """How many samples the limit of tokens cut, where every run counted them."""
    if any("samples" not in run.counts for run in runs):
        return ""
    cut, samples = (sum(run.counts[name] for run in runs) for name in ("cut_samples", "samples"))
    return f", {cut:,} of whose {samples:,} samples were cut"


def _rows(runs: Sequence[Run]) -> Iterator[str]:
    cells = runs[0].cells
    yield line(["held-out accuracy, %", *(f"{cell.pairs[0]:,} pairs" for cell in cells)])
    yield rule(1, len(cells))
    for arm, title in BASELINES.items():
        yield line([title, *[share(mean(runs, baseline(arm, "accuracy")))] * len(cells)])
    for kind, get in (("frozen", head), ("fine-tuned", network)):
        for arm in SHOWN:
            row = [share(mean(runs, get(place, arm, "accuracy"))) for place in range(len(cells))]
            if set(row) != {"—"}:
                yield line([f"{kind} {ARMS[arm]}", *row])
    for key, title in (("kappa", "κ"), ("kappa_human", "κ_H")):
        yield line([title, *(plain(mean(runs, direction(i, key))) for i in range(len(cells)))])
