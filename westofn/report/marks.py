"""What charts share: layers, scales, axes, intervals, tooltips.

Charts hold no colours of arms: the page and the PNGs each bring a theme, so that one chart is
legible on light and on dark ground. The domain of the colour scale (`arms`) is every arm of the
report, thus an arm has one colour in all figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from westofn.report.plots import Records

if TYPE_CHECKING:
    import altair as alt

NEUTRAL = "#8a8f98"
"""Reference lines: legible on white and on near black."""

WHOLE_NUMBERS = {"n", "step", "pairs"}


def arms_of(records: Records) -> list[str]:
    """The arms of the records in the order in which they appear."""
    return list(dict.fromkeys(row["arm"] for row in records))


def layer(*layers: alt.Chart) -> alt.LayerChart:
    """Layers over each other, on shared scales."""
    import altair as alt

    return alt.LayerChart(layer=list(layers))


def chart(records: Records) -> alt.Chart:
    """A chart that brings its records with it."""
    import altair as alt

    return alt.Chart(alt.InlineData(values=records))


def bars(records: Records, x: alt.X, y: alt.Y, colour: alt.Color) -> alt.Chart:
    """The 95 % interval of every point, as a vertical bar."""
    import altair as alt

    field = field_of(y)
    rows = [row | {field: row["low"]} for row in records]
    rule = chart(rows).mark_rule(strokeWidth=1.5, opacity=0.55)
    drawn: alt.Chart = rule.encode(x, y, alt.Y2("high:Q"), colour)
    return drawn


def field_of(y: alt.X | alt.Y) -> str:
    """The field of a channel made with the shorthand `field:Q`."""
    return str(y.shorthand).partition(":")[0]


def pool_size(records: Records, title: str) -> alt.X:
    """A log axis of N with a tick at every size that was measured."""
    import altair as alt

    sizes = sorted({row["n"] for row in records})
    scale = alt.Scale(type="log", base=2, nice=False)
    return alt.X("n:Q", title=title, scale=scale, axis=alt.Axis(values=sizes, format="d"))


def colour(records: Records, arms: Sequence[str], *, legend: bool = True) -> alt.Color:
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


def percent() -> alt.Axis:
    """An axis of shares, in percent."""
    import altair as alt

    return alt.Axis(format=".0%", tickCount=5)


def free() -> alt.Scale:
    """A scale that need not begin at zero."""
    import altair as alt

    return alt.Scale(zero=False)


def tips(records: Records) -> list[Any]:
    """A tooltip with all that a record holds."""
    import altair as alt

    keys = list(dict.fromkeys(key for row in records for key in row))
    return [
        alt.Tooltip(f"{key}:N", title=key)
        if key in WHOLE_NUMBERS or isinstance(records[0].get(key), str)
        else alt.Tooltip(f"{key}:Q", title=key, format=".4~g")
        for key in keys
    ]
