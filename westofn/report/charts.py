"""The charts of one run, as Altair layers over plot records; their colours are the theme's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from westofn.report import marks
from westofn.report.plots import Records

if TYPE_CHECKING:
    import altair as alt

LABEL_LINES = {
    "accuracy": "right",
    "p_true": "P* of the label",
    "bound": "bound",
    "label_accuracy_random": "random pair",
}
LABEL_DASHES = [[1, 0], [9, 3, 2, 3], [5, 4], [2, 3]]
BASELINES = {"longest_accuracy": "always the longer", "shortest_accuracy": "always the shorter"}
SPREAD = 0.4
"""The share of a length bin over which the arms' points are spread."""


def label_accuracy(records: Records, arms: Sequence[str]) -> alt.LayerChart:
    """Share of right labels against N with its band, their mean P*, the bound, the control."""
    import altair as alt

    long = [
        {"arm": row["arm"], "n": row["n"], "line": name, "share": row[key]}
        for row in records
        for key, name in LABEL_LINES.items()
        if key in row
    ]
    x = marks.pool_size(records, "N, candidates a prompt (log scale)")
    y = alt.Y(
        "share:Q", title="share of pairs, or probability", axis=marks.percent(), scale=marks.free()
    )
    dash = alt.StrokeDash(
        "line:N",
        scale=alt.Scale(domain=list(LABEL_LINES.values()), range=LABEL_DASHES),
        legend=alt.Legend(title=None, orient="bottom", symbolType="stroke", symbolSize=400),
    )
    colour = marks.colour(records, arms)
    measured = [row for row in long if row["line"] == LABEL_LINES["accuracy"]]
    return marks.layer(
        _band(records, x, "accuracy", y, colour, low="low", high="high"),
        marks.chart(long).mark_line().encode(x, y, colour, dash),
        marks.chart(measured)
        .mark_point(filled=True)
        .encode(x, y, colour, tooltip=marks.tips(measured)),
    )


def best_of_n(records: Records, arms: Sequence[str], key: str, title: str) -> alt.LayerChart:
    """`key` (gold or win_rate) of the best of n against n, with bands; a record's n is unique."""
    import altair as alt

    axis = marks.percent() if key == "win_rate" else alt.Axis()
    x = marks.pool_size(records, "n, candidates a prompt (log scale)")
    y = alt.Y(f"{key}:Q", title=title, axis=axis, scale=marks.free())
    colour = marks.colour(records, arms)
    lines = marks.chart(records).mark_line(point=True)
    return marks.layer(
        _band(records, x, key, y, colour, low=f"{key}_low", high=f"{key}_high"),
        lines.encode(x, y, colour, tooltip=marks.tips(records)),
    )


def reliability(
    records: Records, arms: Sequence[str], *, start: float, lowest: float
) -> alt.LayerChart:
    """Share that is right (from `lowest` up) against the stated probability (from `start` up)."""
    import altair as alt

    x = alt.X(
        "p_mean:Q",
        title="stated probability",
        scale=alt.Scale(domain=[start, 1.0], nice=False),
        axis=marks.percent(),
    )
    y = alt.Y(
        "accuracy:Q",
        title="share that is right",
        scale=alt.Scale(domain=[lowest, 1.0]),
        axis=marks.percent(),
    )
    colour = marks.colour(records, arms, legend=False)
    ends = [{"p_mean": value, "accuracy": value} for value in (start, 1.0)]
    return marks.layer(
        marks.chart(ends).mark_line(color=marks.NEUTRAL, strokeDash=[4, 4]).encode(x, y),
        marks.bars(records, x, y, colour),
        marks.chart(records)
        .mark_line(point=True)
        .encode(x, y, colour, tooltip=marks.tips(records)),
    )


def length(records: Records, arms: Sequence[str]) -> alt.LayerChart:
    """Accuracy against the difference in length, with the longest and shortest baselines."""
    import altair as alt

    x = alt.X(
        "shown_at:Q",
        title="length of chosen − rejected, tokens",
        scale=marks.free(),
        axis=alt.Axis(tickCount=8),
    )
    y = alt.Y("accuracy:Q", title="accuracy", axis=marks.percent(), scale=marks.free())
    colour = marks.colour(records, arms)
    baselines = [
        {"accuracy": records[0][key], "baseline": name}
        for key, name in BASELINES.items()
        if key in records[0]
    ]
    points = _side_by_side(records)
    rules = marks.chart(baselines).encode(y)
    return marks.layer(
        rules.mark_rule(color=marks.NEUTRAL, strokeDash=[4, 4]),
        rules.mark_text(color=marks.NEUTRAL, align="left", dx=4, dy=-6).encode(
            x=alt.value(0), text="baseline:N"
        ),
        marks.bars(points, x, y, colour),
        marks.chart(points).mark_line(point=True).encode(x, y, colour, tooltip=marks.tips(records)),
    )


def rl(records: Records, arms: Sequence[str], key: str, title: str) -> alt.LayerChart:
    """`key` over the optimiser steps of RL; dotted, the SFT policy's level where known."""
    import altair as alt

    x = alt.X("step:Q", title="optimiser steps")
    y = alt.Y(f"{key}:Q", title=title, scale=marks.free())
    colour = marks.colour(records, arms)
    levels = {row["arm"]: row[f"sft_{key}"] for row in records if f"sft_{key}" in row}
    sft = [{"arm": arm, key: level} for arm, level in levels.items()]
    return marks.layer(
        marks.chart(sft).mark_rule(strokeDash=[2, 3]).encode(y, colour),
        marks.chart(records).mark_line().encode(x, y, colour, tooltip=marks.tips(records)),
    )


def training(records: Records, key: str, x_title: str, y_title: str) -> alt.LayerChart:
    """`key` over the steps of one model's training; a member's runs are lines of their own."""
    import altair as alt

    x = alt.X("step:Q", title=x_title)
    y = alt.Y(f"{key}:Q", title=y_title, scale=marks.free())
    splits = ["train", "validation"]
    legend = alt.Legend(title=None, orient="top", symbolType="stroke", symbolStrokeWidth=2.5)
    colour = alt.Color("split:N", scale=alt.Scale(domain=splits), legend=legend)
    courses = [name for name in ("member", "run", "power") if name in records[0]]
    line = marks.chart(records).mark_line(point=alt.OverlayMarkDef(size=14), strokeWidth=1.5)
    return marks.layer(
        line.encode(
            x, y, colour, detail=[f"{name}:N" for name in courses], tooltip=marks.tips(records)
        )
    )


def _side_by_side(records: Records) -> Records:
    """Length bins with `shown_at`: the arms' bars of one bin stand beside each other."""
    centres = sorted({row["length_difference"] for row in records})
    gaps = [right - left for left, right in pairwise(centres)]
    arms = marks.arms_of(records)
    step = SPREAD * min(gaps, default=1.0) / len(arms)
    middle = (len(arms) - 1) / 2
    return [
        row | {"shown_at": row["length_difference"] + step * (arms.index(row["arm"]) - middle)}
        for row in records
    ]


def _band(
    records: Records, x: alt.X, key: str, y: alt.Y, colour: alt.Color, *, low: str, high: str
) -> alt.Chart:
    """The 95 % interval as an area, over the records that have one."""
    import altair as alt

    rows = [
        {"arm": row["arm"], "n": row["n"], marks.field_of(y): row[low], "high": row[high]}
        for row in records
        if key in row and low in row and high in row
    ]
    area: alt.Chart = (
        marks.chart(rows).mark_area(opacity=0.16).encode(x, y, alt.Y2("high:Q"), colour)
    )
    return area
