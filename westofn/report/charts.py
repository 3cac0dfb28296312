"""The charts, as Altair layers over plot records.

Charts hold no colours of arms: the page and the PNGs each bring a theme, so that one chart is
legible on light and on dark ground. The domain of the colour scale (`arms`) is every arm of the
report, thus an arm has one colour in all figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from westofn.report.plots import Records

if TYPE_CHECKING:
    import altair as alt

NEUTRAL = "#8a8f98"
"""Reference lines: legible on white and on near black."""

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
WHOLE_NUMBERS = {"n", "step", "pairs"}


def label_accuracy(records: Records, arms: Sequence[str]) -> alt.LayerChart:
    """Share of right labels against N with its band, their mean P*, the bound, the control."""
    import altair as alt

    long = [
        {"arm": row["arm"], "n": row["n"], "line": name, "share": row[key]}
        for row in records
        for key, name in LABEL_LINES.items()
        if key in row
    ]
    x = _pool_size(records, "N, candidates a prompt (log scale)")
    y = alt.Y("share:Q", title="share of pairs, or probability", axis=_percent(), scale=_free())
    dash = alt.StrokeDash(
        "line:N",
        scale=alt.Scale(domain=list(LABEL_LINES.values()), range=LABEL_DASHES),
        legend=alt.Legend(title=None, orient="bottom", symbolType="stroke", symbolSize=400),
    )
    colour = _colour(records, arms)
    measured = [row for row in long if row["line"] == LABEL_LINES["accuracy"]]
    return _layer(
        _band(records, x, "accuracy", y, colour, low="low", high="high"),
        _chart(long).mark_line().encode(x, y, colour, dash),
        _chart(measured).mark_point(filled=True).encode(x, y, colour, tooltip=_tips(measured)),
    )


def best_of_n(records: Records, arms: Sequence[str], key: str, title: str) -> alt.LayerChart:
    """`key` (gold or win_rate) of the best of n against n, with bands; a record's n is unique."""
    import altair as alt

    axis = _percent() if key == "win_rate" else alt.Axis()
    x = _pool_size(records, "n, candidates a prompt (log scale)")
    y = alt.Y(f"{key}:Q", title=title, axis=axis, scale=_free())
    colour = _colour(records, arms)
    lines = _chart(records).mark_line(point=True)
    return _layer(
        _band(records, x, key, y, colour, low=f"{key}_low", high=f"{key}_high"),
        lines.encode(x, y, colour, tooltip=_tips(records)),
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
        axis=_percent(),
    )
    y = alt.Y(
        "accuracy:Q",
        title="share that is right",
        scale=alt.Scale(domain=[lowest, 1.0]),
        axis=_percent(),
    )
    colour = _colour(records, arms, legend=False)
    ends = [{"p_mean": value, "accuracy": value} for value in (start, 1.0)]
    return _layer(
        _chart(ends).mark_line(color=NEUTRAL, strokeDash=[4, 4]).encode(x, y),
        _bars(records, x, y, colour),
        _chart(records).mark_line(point=True).encode(x, y, colour, tooltip=_tips(records)),
    )


def length(records: Records, arms: Sequence[str]) -> alt.LayerChart:
    """Accuracy against the difference in length, with the longest and shortest baselines."""
    import altair as alt

    x = alt.X(
        "shown_at:Q",
        title="length of chosen − rejected, tokens",
        scale=_free(),
        axis=alt.Axis(tickCount=8),
    )
    y = alt.Y("accuracy:Q", title="accuracy", axis=_percent(), scale=_free())
    colour = _colour(records, arms)
    baselines = [
        {"accuracy": records[0][key], "baseline": name}
        for key, name in BASELINES.items()
        if key in records[0]
    ]
    points = _side_by_side(records)
    rules = _chart(baselines).encode(y)
    return _layer(
        rules.mark_rule(color=NEUTRAL, strokeDash=[4, 4]),
        rules.mark_text(color=NEUTRAL, align="left", dx=4, dy=-6).encode(
            x=alt.value(0), text="baseline:N"
        ),
        _bars(points, x, y, colour),
        _chart(points).mark_line(point=True).encode(x, y, colour, tooltip=_tips(records)),
    )


def rl(records: Records, arms: Sequence[str], key: str, title: str) -> alt.LayerChart:
    """`key` over the optimiser steps of RL; dotted, the SFT policy's level where known."""
    import altair as alt

    x = alt.X("step:Q", title="optimiser steps")
    y = alt.Y(f"{key}:Q", title=title, scale=_free())
    colour = _colour(records, arms)
    levels = {row["arm"]: row[f"sft_{key}"] for row in records if f"sft_{key}" in row}
    sft = [{"arm": arm, key: level} for arm, level in levels.items()]
    return _layer(
        _chart(sft).mark_rule(strokeDash=[2, 3]).encode(y, colour),
        _chart(records).mark_line().encode(x, y, colour, tooltip=_tips(records)),
    )


def arms_of(records: Records) -> list[str]:
    """The arms of the records in the order in which they appear."""
    return list(dict.fromkeys(row["arm"] for row in records))


def _side_by_side(records: Records) -> Records:
    """Length bins with `shown_at`: the arms' bars of one bin stand beside each other."""
    centres = sorted({row["length_difference"] for row in records})
    gaps = [right - left for left, right in pairwise(centres)]
    arms = arms_of(records)
    step = SPREAD * min(gaps, default=1.0) / len(arms)
    middle = (len(arms) - 1) / 2
    return [
        row | {"shown_at": row["length_difference"] + step * (arms.index(row["arm"]) - middle)}
        for row in records
    ]


def _layer(*layers: alt.Chart) -> alt.LayerChart:
    import altair as alt

    return alt.LayerChart(layer=list(layers))


def _chart(records: Records) -> alt.Chart:
    import altair as alt

    return alt.Chart(alt.InlineData(values=records))


def _band(
    records: Records, x: alt.X, key: str, y: alt.Y, colour: alt.Color, *, low: str, high: str
) -> alt.Chart:
    """The 95 % interval as an area, over the records that have one."""
    import altair as alt

    rows = [
        {"arm": row["arm"], "n": row["n"], _field(y): row[low], "high": row[high]}
        for row in records
        if key in row and low in row and high in row
    ]
    area: alt.Chart = _chart(rows).mark_area(opacity=0.16).encode(x, y, alt.Y2("high:Q"), colour)
    return area


def _field(y: alt.Y) -> str:
    """The field of a channel made with the shorthand `field:Q`."""
    return str(y.shorthand).partition(":")[0]


def _bars(records: Records, x: alt.X, y: alt.Y, colour: alt.Color) -> alt.Chart:
    """The 95 % interval of every point, as a vertical bar."""
    import altair as alt

    field = _field(y)
    rows = [row | {field: row["low"]} for row in records]
    rule = _chart(rows).mark_rule(strokeWidth=1.5, opacity=0.55)
    bars: alt.Chart = rule.encode(x, y, alt.Y2("high:Q"), colour)
    return bars


def _pool_size(records: Records, title: str) -> alt.X:
    import altair as alt

    sizes = sorted({row["n"] for row in records})
    scale = alt.Scale(type="log", base=2, nice=False)
    return alt.X("n:Q", title=title, scale=scale, axis=alt.Axis(values=sizes, format="d"))


def _colour(records: Records, arms: Sequence[str], *, legend: bool = True) -> alt.Color:
    """One colour an arm over all figures; the legend names the arms that are shown."""
    import altair as alt

    shown = arms_of(records)
    keys = alt.Legend(
        title=None,
        orient="top",
        values=shown,
        symbolType="stroke",
        symbolStrokeWidth=2.5,
        symbolOpacity=1.0,
    )
    return alt.Color(
        "arm:N",
        scale=alt.Scale(domain=list(arms)),
        legend=keys if legend and len(shown) > 1 else None,
    )


def _percent() -> alt.Axis:
    import altair as alt

    return alt.Axis(format=".0%", tickCount=5)


def _free() -> alt.Scale:
    import altair as alt

    return alt.Scale(zero=False)


def _tips(records: Records) -> list[Any]:
    """A tooltip with all that a record holds."""
    import altair as alt

    keys = list(dict.fromkeys(key for row in records for key in row))
    return [
        alt.Tooltip(f"{key}:N", title=key)
        if key in WHOLE_NUMBERS or isinstance(records[0].get(key), str)
        else alt.Tooltip(f"{key}:Q", title=key, format=".4~g")
        for key in keys
    ]
