"""docs/results.md from study.json: every table, with what its intervals say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from westofn.report.markdown import line, rule
from westofn.report.study_catalogue import GROUPS, Group
from westofn.report.study_results import (
    MAIN_ARMS,
    METRICS,
    ONE_SEED,
    Cell,
    Row,
    Run,
    cell,
    having_parts,
    having_table,
    main_rows,
    of_seeds,
    power_line,
    rows,
    table,
    with_main,
)
from westofn.study.claims import Claim, check_claims

SHOWN = ("accuracy", "on_policy_accuracy", "best_of_n_gold", "best_of_n_win_rate")
PAGE = """# Results

Made by `{command}` on the embedded world: {seeds}. Each seed writes its own world,
trains its own models and is tested on its own test set. Means with 95 % t-intervals over
seeds{alone}. Every difference is paired by seed. Every number of every seed is in
[study.json](../study.json).

A difference reads as an effect only where its interval excludes zero; a table of many arms has
some that do so by chance. Under each table of differences stands the smallest difference that its
seeds could have seen: with a chance of 80 %, at the 5 % level of a two-sided paired t-test, by the
spread of the seeds' own differences ([intervals.py](../westofn/core/intervals.py)).

{body}
"""
DEFAULT_SEEDS, DEFAULT_FIRST = 9, 9
"""Of `make study`."""


def results_page(seeds: Sequence[int], runs: Sequence[Run]) -> str:
    """The page as markdown."""
    parts = [text for text in (_headline(runs), _claims(runs)) if text]
    parts += [text for group in GROUPS if (text := _group(runs, group))]
    parts += [text for part in PART_TABLES if (text := _part_table(runs, part))]
    count = len(seeds)
    return PAGE.format(
        command=made_by(seeds),
        seeds=f"seeds {seeds[0]} to {seeds[-1]}" if count > 1 else f"seed {seeds[0]}",
        alone="" if count > 1 else "; one seed has none",
        body="\n\n".join(parts),
    )


def made_by(seeds: Sequence[int]) -> str:
    """The command that runs these seeds.

    >>> made_by(range(9, 18)), made_by([9, 10])
    ('make study', 'make study SEEDS=2')
    >>> made_by([0, 1])
    'python -m westofn study --first-seed 0 --seeds 2'
    """
    count, first = len(seeds), seeds[0]
    if first != DEFAULT_FIRST:
        return f"python -m westofn study --first-seed {first} --seeds {count}"
    return "make study" if count == DEFAULT_SEEDS else f"make study SEEDS={count}"


def _headline(runs: Sequence[Run]) -> str:
    """The main pipeline's own arms, RL included."""
    found, measured = main_rows(runs, MAIN), with_main(runs)
    if not found:
        return ""
    head = (line(["", *(title for title, _, _ in MAIN.values())]), rule(1, len(MAIN)))
    lines = [
        line([row.title, *(shown(row.means.get(m), *MAIN[m][1:]) for m in MAIN)]) for row in found
    ]
    lines += [
        line(
            [
                f"{row.title} − HF50",
                *(shown(row.differences.get(m), *MAIN[m][1:], signed=True) for m in MAIN),
            ]
        )
        for row in found
        if row.differences
    ]
    lines += [
        "",
        *(f"- {text}" for text in [*readings(found, "HF50"), *_power(found, "HF50", measured)]),
    ]
    title = "## The main pipeline, three rounds of the loop"
    return "\n".join([title, "", f"{of_seeds(measured, runs)}.", "", *head, *lines, *_labels(runs)])


def _power(found: Sequence[Row], against: str, runs: Sequence[Run]) -> list[str]:
    text = power_line(found, against, len(runs), SHOWN)
    return [text] if text else []


def _labels(runs: Sequence[Run]) -> list[str]:
    """Right labels of round 1 by N, beside two random candidates in the base model's order."""
    key = "label_accuracy_n"
    first = [run["main"].get("k1", {}) for run in with_main(runs)]
    sizes = sorted({int(name.removeprefix(key)) for arm in first for name in arm if key in name})
    columns = {f"N = {n}": f"{key}{n}" for n in sizes} | {"random pairs": "label_accuracy_random"}
    if not sizes or not all(name in arm for arm in first for name in columns.values()):
        return []
    cells = [shown(cell([arm[name] for arm in first]), 100.0, 1) for name in columns.values()]
    return [
        "",
        "Right labels of round 1, %: West-of-N pairs whose order is gold's, by pool size, and two "
        "random candidates in the base model's order (N = 2 without a choice):",
        "",
        line(columns),
        rule(0, len(columns)),
        line(cells),
    ]


def _claims(runs: Sequence[Run]) -> str:
    """The paper's findings, and whether they show."""
    checked = check_claims(runs)
    if not checked:
        return ""
    lines = []
    for found in checked:
        name, scale, digits = METRICS[found.claim.metric]
        what = " − ".join(_arms(found.claim))
        difference = shown(found.difference, scale, digits, signed=True)
        some = f"{found.seeds} of {len(runs)}"
        seen = found.difference.detectable
        least = "—" if seen is None else f"±{seen * scale:.{digits}f}"
        cells = [found.claim.text, what, name, difference, some, least, found.verdict]
        lines.append(line(cells))
    return "\n".join(
        [
            "## The paper's findings, here",
            "",
            "Numbers in brackets are the paper's on TL;DR. A verdict says what the interval of the "
            "difference excludes: zero, and the paper's difference where the paper has a number. A "
            "finding reproduces where the interval excludes zero on the paper's side; that "
            "something does not help is contradicted only where it clearly does. Seen from: the "
            "smallest difference that the row's seeds could have seen. Why that may be: "
            "[log.md](log.md#what-reproduces-and-why-the-gain-may-not).",
            "",
            "| the paper finds | difference | of | here | seeds | seen from | verdict |",
            "|---|---|---|---:|---:|---:|---|",
            *lines,
        ]
    )


def _arms(claim: Claim) -> tuple[str, str]:
    """Titles of both arms, from the most special table that has them together."""
    (part, first), (other, second) = claim.first, claim.second
    assert part == other
    tables = [MAIN_ARMS] if part == "main" else [g.arms for g in GROUPS if g.part == part]
    titles = [arms for arms in tables if {first, second} <= arms.keys()][-1]
    return titles[first], titles[second]


MAIN: dict[str, tuple[str, float, int]] = {
    **{key: METRICS[key] for key in ("accuracy", "high_confidence_accuracy", "on_policy_accuracy")},
    "best_of_n_gold": METRICS["best_of_n_gold"],
    "best_of_n_win_rate": METRICS["best_of_n_win_rate"],
    "label_accuracy": METRICS["label_accuracy"],
    "rl_gold": ("RL gold", 1.0, 2),
    "rl_win_rate": ("RL win rate, %", 100.0, 1),
    "rl_kl": ("RL KL, nats", 1.0, 1),
}


def _group(runs: Sequence[Run], group: Group) -> str:
    """One table: means, then differences to the group's reference."""
    found = rows(runs, group)
    if not found:
        return ""
    known = having_parts(runs, group)
    labels = any("label_accuracy" in row.means for row in found)
    metrics = [m for m in SHOWN if any(m in row.means for row in found)]
    against = _title(group)
    heads = [
        *(["right labels, %"] if labels else []),
        *(METRICS[m][0] for m in metrics),
        *(f"Δ {METRICS[m][0]}" for m in metrics),
    ]
    lines = []
    for row in found:
        cells = [shown(row.means.get("label_accuracy"), 100.0, 1)] if labels else []
        cells += [shown(row.means.get(m), *METRICS[m][1:]) for m in metrics]
        cells += [shown(row.differences.get(m), *METRICS[m][1:], signed=True) for m in metrics]
        lines.append(line([row.title, *cells]))
    return "\n".join(
        [
            f"## {group.title}",
            "",
            f"{group.says} Δ is to {against}. {of_seeds(known, runs)}.",
            "",
            line(["", *heads]),
            rule(1, len(heads)),
            *lines,
            "",
            *(f"- {text}" for text in readings(found, against)),
            *(f"- {text}" for text in _power(found, against, known)),
            *(f"- {text}" for text in _teaches_most(runs, group)),
        ]
    )


def _teaches_most(runs: Sequence[Run], group: Group) -> list[str]:
    """The selector with the highest mean of each metric, against the table's first."""
    if group.key != "selectors":
        return []
    first, *_ = group.arms
    found = rows(runs, replace(group, against=first, against_part=group.part))
    sentences = []
    for metric in SHOWN:
        measured = [row for row in found if metric in row.means]
        if not measured:
            continue
        top = max(measured, key=lambda row: row.means[metric].mean)
        name = METRICS[metric][0].split(",")[0]
        text = f"teaches most by {name}: {top.title}"
        if metric in top.differences:
            size = shown(top.differences[metric], *METRICS[metric][1:], signed=True)
            text += f", {size} over {group.arms[first]}"
            text += _excludes(top.differences[metric])
        sentences.append(f"{text}.")
    return [*sentences, "The best of many looks better than it is."] if sentences else []


def _excludes(difference: Cell) -> str:
    if difference.half is None:
        return f" ({ONE_SEED})"
    return f" ({'includes' if difference.verdict == 'not told apart' else 'excludes'} zero)"


def readings(found: Sequence[Row], against: str) -> list[str]:
    """Which differences of a table exclude zero, a sentence a metric."""
    sentences = []
    for metric in SHOWN:
        above = [
            r.title
            for r in found
            if metric in r.differences and r.differences[metric].verdict == "above"
        ]
        below = [
            r.title
            for r in found
            if metric in r.differences and r.differences[metric].verdict == "below"
        ]
        measured = [
            r for r in found if metric in r.differences and r.differences[metric].half is not None
        ]
        if not measured:
            continue
        name = METRICS[metric][0].split(",")[0]
        said = [f"above {against}: {', '.join(above)}"] if above else []
        said += [f"below: {', '.join(below)}"] if below else []
        sentences.append(f"{name}: {'; '.join(said) if said else 'every interval includes zero'}.")
    return sentences


def _title(group: Group) -> str:
    for other in GROUPS:
        if other.part == group.against_part and group.against in other.arms:
            return other.arms[group.against]
    return group.against


@dataclass(frozen=True)
class PartTable:
    """A table of a part as the page shows it.

    Attributes:
        name: Of the part's table.
        keys: What names a row.
        title: Above the table.
        says: One sentence on it.
        heads: Column -> its title, the factor of its unit, and the digits that are shown.
    """

    name: str
    keys: tuple[str, ...]
    title: str
    says: str
    heads: Mapping[str, tuple[str, float, int]]


PART_TABLES: tuple[PartTable, ...] = (
    PartTable(
        "theorem",
        ("n",),
        "The theorem, measured",
        "ε = |P_θ − P*| over all pairs of the pools. The bound is the mean of P_θ − ε over the "
        "selected pairs; with the 95 % quantile of ε it is tighter and no theorem.",
        {
            "correct": ("right labels, %", 100.0, 1),
            "p_true": ("P* of the label, %", 100.0, 1),
            "p_model": ("P_θ of the label, %", 100.0, 1),
            "bound": ("bound, sup ε, %", 100.0, 1),
            "bound_q95": ("bound, 95 % quantile, %", 100.0, 1),
        },
    ),
    PartTable(
        "epsilon",
        ("quantile",),
        "ε of the base model",
        "Quantiles of |P_θ − P*| over pool pairs; quantile 1 is the sup.",
        {"epsilon": ("ε", 1.0, 3)},
    ),
    PartTable(
        "confidence",
        ("bin",),
        "Right labels by the base model's confidence",
        "Pool pairs in ten equal bins of the base model's confidence, least sure first.",
        {
            "p_model": ("P_θ, %", 100.0, 1),
            "correct": ("right, %", 100.0, 1),
            "p_true": ("P*, %", 100.0, 1),
        },
    ),
    PartTable(
        "ensembles",
        ("method", "n"),
        "Ensembles and deep pools",
        "Pairs of fewer prompts, from pools of up to 512: does doubt help where N is large?",
        {
            "correct": ("right labels, %", 100.0, 1),
            "gold_chosen": ("gold of the chosen", 1.0, 2),
            "gold_rejected": ("gold of the rejected", 1.0, 2),
        },
    ),
    PartTable(
        "judge",
        ("set", "judge"),
        "The AI judge",
        "Asked in both orders. A flip is a pair whose winner depends on the order.",
        {
            "position_flip_rate": ("flips, %", 100.0, 1),
            "first_shown_wins": ("first shown wins, %", 100.0, 1),
            "gold_agreement": ("agrees with gold, %", 100.0, 1),
        },
    ),
    PartTable(
        "tournament",
        ("comparator", "n"),
        "Tournament against the exact argmax",
        "Agreement on the pair, what the tournament loses, and cycles of three in the pools.",
        {
            "best": ("same best, %", 100.0, 1),
            "worst": ("same worst, %", 100.0, 1),
            "optimal": ("largest margin found, %", 100.0, 1),
            "regret_margin": ("regret, logits", 1.0, 4),
            "cyclic_triads": ("cyclic triads, %", 100.0, 3),
        },
    ),
    PartTable(
        "policy_pools",
        ("policy", "model"),
        "Rounds: reward models on the pools of each round's policy",
        "The policy after RL of a round answers the test prompts; gold orders its responses.",
        {
            "accuracy": ("on-policy accuracy, %", 100.0, 1),
            "pool_gold": ("gold of the policy", 1.0, 2),
        },
    ),
    PartTable(
        "fits",
        ("method", "student"),
        "Over-optimisation",
        "Gold against d = √KL, fitted as in Gao et al. 2022: best-of-n d(α − βd), "
        "RL d(α − β log d).",
        {
            "alpha": ("α", 1.0, 2),
            "beta": ("β", 1.0, 3),
            "largest_distance": ("largest d", 1.0, 2),
            "measured_peak": ("gold peaks at d", 1.0, 2),
            "gold_at_start": ("gold at d = 0", 1.0, 2),
            "gold_at_peak": ("gold at its peak", 1.0, 2),
            "gold_at_end": ("gold at the end", 1.0, 2),
        },
    ),
)
"""Every table of a part, in the order in which they are shown."""


def _part_table(runs: Sequence[Run], part: PartTable) -> str:
    """Name columns, then cells; empty where no seed measured it."""
    found = table(runs, part.name, part.keys)
    if not found:
        return ""
    lines = [
        line(
            [
                " / ".join(str(row[key]) for key in part.keys),
                *(
                    shown(row.get(key), scale, digits)
                    for key, (_, scale, digits) in part.heads.items()
                ),
            ]
        )
        for row in found
    ]
    head = line([" / ".join(part.keys), *(text for text, _, _ in part.heads.values())])
    known = having_table(runs, part.name)
    says = f"{part.says} {of_seeds(known, runs)}."
    return "\n".join([f"## {part.title}", "", says, "", head, rule(1, len(part.heads)), *lines])


def shown(cell: Cell | None, scale: float, digits: int, *, signed: bool = False) -> str:
    """A mean with its interval, in the unit of `scale`; a dash where there is none."""
    if cell is None:
        return "—"
    sign = "+" if signed else ""
    text = f"{cell.mean * scale:{sign}.{digits}f}"
    return text if cell.half is None else f"{text} ± {cell.half * scale:.{digits}f}"
