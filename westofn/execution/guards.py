"""Guards: statistics that say whether the results of a run mean what they seem to mean.

A reading is one such statistic of one subject, such as an arm or a policy. Readings are made from
the numbers that the stages write, so that stages, report and `summary` show the same ones. One that
keeps the limit of its guard is part of a quiet line, one that does not is a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import typer

from westofn.errors import DataError
from westofn.execution.account import WARNING_SHARE, print_warnings
from westofn.execution.processes import is_first
from westofn.plain_text import wrapped

Numbers = Mapping[str, Any]
TEACHER = "base"
"""The arm that labels the pairs of the first round."""
JUDGE = "autorater"
"""The part of the data that trains the judge of best-of-n and RL."""
TRAINING = ("train", "D_U", "validation")
"""The parts of the data that train, or choose, the reward models."""
WITH_D_U = "train and D_U"
"""The two parts of leakage.json of which none is held out."""
DIGITS = 6
LIMIT = "limit"
"""Key of a guard's limit in metrics.json, beside the subjects."""


@dataclass(frozen=True)
class Guard:
    """What is measured, its limit, and what it means if the limit is not kept.

    Attributes:
        what: The statistic.
        side: On which side of the limit a reading must lie.
        limit: The limit, in the unit of the reading.
        unit: How a reading is written: `points` are signed percent.
        meaning: What a reading beyond the limit means, and what to do.
    """

    what: str
    side: Literal["at most", "at least", "above"]
    limit: float
    unit: Literal["count", "percent", "points", "number"]
    meaning: str

    def keeps(self, value: float) -> bool:
        """Return whether a reading keeps the limit."""
        if self.side == "at most":
            return value <= self.limit
        return value > self.limit if self.side == "above" else value >= self.limit

    def shown(self, value: float) -> str:
        """Return a reading as text.

        >>> GUARDS["chance"].shown(0.6077), GUARDS["over_length"].shown(-0.012)
        ('60.8 %', '−1.2 points')
        """
        texts = {
            "count": f"{value:,.0f}",
            "percent": f"{100 * value:.1f} %",
            "points": f"{100 * value:+.1f} points",
            "number": f"{value:.2g}",
        }
        return texts[self.unit].replace("-", "−")

    @property
    def bound(self) -> str:
        """The limit as text, such as `above 50.0 %`."""
        return f"{self.side} {self.shown(self.limit).removeprefix('+')}"


GUARDS = {
    "leakage": Guard(
        "prompts that two parts of the data share, equal but for case and white space",
        "at most",
        0,  # prepare splits by prompt, so that a single one is a fault
        "count",
        "Held-out results are too good where training has seen the prompts; remove these prompts "
        "from one of the two parts of the source",
    ),
    "near_leakage": Guard(
        "held-out prompts with a near duplicate in another part of the data",
        "at most",
        0.01,  # changes an accuracy by less than a point, even if the answers to all change
        "percent",
        "Held-out results are too good where training has seen nearly the same prompts; set "
        "prepare.files.near_duplicates to 0.8 or lower, so that they share a split",
    ),
    "taught": Guard(
        "prompts of D_U that the labelled half of the pairs has too, near duplicates included",
        "at most",
        WARNING_SHARE,  # no held-out result depends on it, so as for rows that are lost
        "percent",
        "The teacher has seen human labels for these prompts, so its pairs for them add little; "
        "remove them from prepare.unlabeled_path",
    ),
    "chance": Guard(
        "accuracy of reward models on held-out pairs, lower end of the interval",
        "above",
        0.5,  # the accuracy of a coin
        "percent",
        "The interval is not above 50 %, so this reward model may be no better than a coin and its "
        "best-of-n and RL say nothing; give it more pairs or more reward.steps, or more test pairs",
    ),
    "teacher": Guard(
        "accuracy of the teacher on held-out pairs, lower end of the interval",
        "above",
        0.5,  # the accuracy of a coin
        "percent",
        "The interval is not above 50 %, so the synthetic labels may be those of a coin; give "
        "the teacher more human pairs, or a larger model, before West-of-N",
    ),
    "spread": Guard(
        "spread of the margins on held-out pairs, logits",
        "at least",
        0.01,  # a margin of 0.01 is a probability of 50.25 %
        "number",
        "All rewards are nearly equal, so what they rank first is arbitrary; raise "
        "reward.learning_rate or reward.steps",
    ),
    "over_length": Guard(
        "accuracy above that of choosing by length alone, lower end of the paired interval",
        "above",
        0.0,
        "points",
        "This reward model may judge by length alone; balance the lengths of chosen and rejected "
        "responses, or give more pairs",
    ),
    "length_rank": Guard(
        "rank correlation of margin and difference in length, without its sign",
        "at most",
        0.9,  # of the variance of the ranks, 0.81 is that of length
        "number",
        "The reward is little else than the length, so best-of-n and RL will choose by length; "
        "balance the lengths of chosen and rejected responses",
    ),
    "cut": Guard(
        "responses that the limit of tokens cut",
        "at most",
        0.5,  # from a tenth on, the account of won_select asks for a higher limit
        "percent",
        "The policy does not end its responses, and one without an end forms no pair; train it on "
        "demonstrations that end (sft.steps), or raise sft.max_response_tokens",
    ),
    "repeated": Guard(
        "4-grams of tokens that occurred before in the same response",
        "at most",
        0.2,  # human texts have below 0.01, models that loop 0.44 (arXiv 1908.04319, table 1)
        "percent",
        "The policy repeats itself; train it longer or sample it at a higher temperature, and "
        "after RL raise rlhf.kl_weight",
    ),
    "identical": Guard(
        "samples that repeat an earlier one of the same prompt",
        "at most",
        0.5,  # N samples are then fewer than N / 2 + 1
        "percent",
        "The best and the worst of N are those of far fewer responses; raise sample.temperature, "
        "and after RL raise rlhf.kl_weight",
    ),
    "one_response": Guard(
        "pools with fewer than two distinct responses",
        "at most",
        WARNING_SHARE,  # as for other rows that are lost
        "percent",
        "These prompts form no pair; raise sample.temperature or sample.n_candidates",
    ),
    "agreement": Guard(
        "held-out pairs that student and teacher order alike",
        "at least",
        0.6,  # unrelated models agree on 0.5; the limit of won_select.stop.agreement too
        "percent",
        "The student has not learned what the teacher prefers, so its results say nothing about "
        "the synthetic pairs; look at the filter, student_rm.synthetic_fraction and reward.steps",
    ),
    "judge": Guard(
        "prompts that the judge of best-of-n and RL shares with the reward models' training",
        "at most",
        0,  # a judge of the same labels repeats their errors
        "count",
        "The judge has learned from the same prompts as the models that it judges, so win rates "
        "are too good; split by prompt, so that the autorater has prompts of its own",
    ),
}
"""Guards by name, in the order in which they are shown."""


@dataclass(frozen=True)
class Reading:
    """A statistic of one subject.

    Attributes:
        guard: A name in GUARDS.
        subject: What it is measured on, such as an arm.
        value: The statistic, in the unit of the guard.
    """

    guard: str
    subject: str
    value: float

    @property
    def holds(self) -> bool:
        """Whether the limit is kept."""
        return GUARDS[self.guard].keeps(self.value)

    def __str__(self) -> str:
        """Return the subject and its statistic."""
        return f"{self.subject} {GUARDS[self.guard].shown(self.value)}"


def leakage_readings(counts: Mapping[str, Mapping[str, int]]) -> list[Reading]:
    """Read `prepared/leakage.json`.

    Args:
        counts: `prompts` of each part, and the shared prompts of every two parts by kind.
    """
    sizes = counts["prompts"]
    kinds = [counts[kind] for kind in ("same_text", "respelt", "near_duplicates")]
    held_out = [parts for parts in kinds[0] if parts != WITH_D_U]
    equal = {parts: kinds[0][parts] + kinds[1][parts] for parts in held_out}
    near = {parts: kinds[2][parts] / max(1, sizes[parts.split(" and ")[1]]) for parts in held_out}
    taught = sum(shared[WITH_D_U] for shared in kinds) / max(1, sizes["D_U"])
    readings = [
        *_beyond_or_largest("leakage", equal),
        *_beyond_or_largest("near_leakage", near),
        Reading("taught", "D_U", taught),
    ]
    if sizes[JUDGE]:
        common = sum(shared[f"{part} and {JUDGE}"] for shared in kinds for part in TRAINING)
        readings.append(Reading("judge", JUDGE, common))
    return readings


def _beyond_or_largest(guard: str, values: Mapping[str, float]) -> list[Reading]:
    """The readings of parts beyond the limit, or else the largest."""
    readings = [Reading(guard, *item) for item in values.items()]
    beyond = [reading for reading in readings if not reading.holds]
    return beyond or [Reading(guard, "any two", max(values.values()))]


def reward_model_readings(name: str, metrics: Numbers) -> list[Reading]:
    """Read `metrics.json` of eval.

    Args:
        name: The arm.
        metrics: Its metrics.
    """
    accuracy = "teacher" if name == TEACHER else "chance"
    readings = [
        Reading(accuracy, name, metrics["accuracy_low"]),
        Reading("spread", name, metrics["margin_spread"]),
        Reading("over_length", name, metrics["accuracy_over_length_low"]),
    ]
    if "length_rank_correlation" in metrics:
        readings.append(Reading("length_rank", name, abs(metrics["length_rank_correlation"])))
    return readings


def sample_readings(name: str, counts: Numbers) -> list[Reading]:
    """Read the counts of `sample`.

    Args:
        name: The stage with its round, such as `sample k1`.
        counts: `counts.json`.
    """
    return [
        *_policy_readings(name, counts["candidates_cut"] / counts["candidates"], counts),
        Reading("one_response", name, counts["pools_of_one_response"] / counts["prompts"]),
    ]


def rl_readings(name: str, metrics: Numbers) -> list[Reading]:
    """Read `rl/metrics.json`.

    Args:
        name: The stage with its round, such as `rlhf k1`.
        metrics: Its metrics.
    """
    measured = {key.removeprefix("rl_"): value for key, value in metrics.items()}
    return _policy_readings(name, measured["cut"], measured)


def _policy_readings(name: str, cut: float, numbers: Numbers) -> list[Reading]:
    return [
        Reading("cut", name, cut),
        Reading("repeated", name, numbers["repeated_ngrams"]),
        Reading("identical", name, numbers["identical_samples"]),
    ]


def checked(readings: Iterable[Reading]) -> list[str]:
    """Return a line for every guard, with the readings that keep its limit.

    >>> checked([Reading("cut", "sample k1", 0.1), Reading("cut", "rlhf k1", 0.6)])
    ['responses that the limit of tokens cut: sample k1 10.0 % (at most 50.0 %)']
    """
    return [
        f"{GUARDS[guard].what}: {_listed(kept)} ({GUARDS[guard].bound})"
        for guard, kept in _by_guard(reading for reading in readings if reading.holds)
    ]


def alarms(readings: Iterable[Reading]) -> list[str]:
    """Return a warning for every guard with readings beyond its limit: figure, limit, meaning.

    >>> alarms([Reading("spread", "k1", 0.001), Reading("spread", "hf50", 0.6)])[0][:71]
    'spread of the margins on held-out pairs, logits: k1 0.001, needs at lea'
    """
    return [
        f"{GUARDS[guard].what}: {_listed(beyond)}, needs {GUARDS[guard].bound}. "
        f"{GUARDS[guard].meaning}"
        for guard, beyond in _by_guard(reading for reading in readings if not reading.holds)
    ]


def tell_readings(readings: Sequence[Reading]) -> None:
    """Print what holds in one line to stdout, and warnings to stderr, once for all processes.

    The line has the names of the guards; `checked` says what they measure.
    """
    if not is_first():
        return
    if kept := [reading for reading in readings if reading.holds]:
        names = [f"{reading.guard} {reading} ({GUARDS[reading.guard].bound})" for reading in kept]
        typer.echo(wrapped(f"checked: {'; '.join(names)}"))
    print_warnings(alarms(readings))


def readings_record(readings: Iterable[Reading]) -> dict[str, dict[str, float]]:
    """Readings as the object `checks` of metrics.json: by guard and subject, with the limit.

    >>> readings_record([Reading("chance", "k1", 0.61234)])
    {'chance': {'limit': 0.5, 'k1': 0.61234}}
    """
    return {
        guard: {LIMIT: GUARDS[guard].limit}
        | {reading.subject: round(reading.value, DIGITS) for reading in of_guard}
        for guard, of_guard in _by_guard(readings)
    }


def readings_of_record(record: Mapping[str, Any]) -> list[Reading]:
    """Return the readings that `readings_record` wrote.

    Raises:
        DataError: A guard is not known, or what it has is no object of numbers.
    """
    for guard, subjects in record.items():
        is_object = guard in GUARDS and isinstance(subjects, dict)
        if not is_object or any(type(value) not in (int, float) for value in subjects.values()):
            raise DataError(
                f"metrics.json: checks holds {guard!r}: {subjects!r}, needs guards such as "
                f"{next(iter(GUARDS))} with numbers by subject; rerun report"
            )
    return [
        Reading(guard, subject, value)
        for guard, subjects in record.items()
        for subject, value in subjects.items()
        if subject != LIMIT
    ]


def _by_guard(readings: Iterable[Reading]) -> list[tuple[str, list[Reading]]]:
    """Guards with their readings, in the order of GUARDS; those without any are left out."""
    by_guard: dict[str, list[Reading]] = {guard: [] for guard in GUARDS}
    for reading in readings:
        by_guard[reading.guard].append(reading)
    return [(guard, of_guard) for guard, of_guard in by_guard.items() if of_guard]


def _listed(readings: Iterable[Reading]) -> str:
    return ", ".join(map(str, readings))
