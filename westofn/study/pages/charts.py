"""The charts of the study, as Altair layers over the records of `points`.

A record has its mean and, where more than one seed gives an interval, its ends `low` and `high`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from westofn.report import marks
from westofn.report.plots import Records
from westofn.study.pages.points import ROUNDS, THEOREM_LINES

if TYPE_CHECKING:
    import altair as alt

ARMS = ("HF50", "HF100", "base", "West-of-N")
"""The domain of the colours, so that these arms have those of the figures of one run."""
WEST = "West-of-N"
LABEL_WIDTH = 135
# A label of two lines begins half a line higher, so that its middle is at its dot.
_HALF_A_LINE = {"condition": {"test": r"indexof(datum.value, '\n') > 0", "value": -6}, "value": 0}
DASHES = [[2, 3], [9, 3, 2, 3], [5, 4], [1, 0], [12, 4]]


def forest(records: Records, title: str) -> alt.LayerChart:
    """A dot and its interval an arm, on a line at zero; filled where the interval excludes zero."""
    import altair as alt

    x = alt.X("difference:Q", title=title, axis=alt.Axis(tickCount=4))
    y = alt.Y(
        "arm:N",
        title=None,
        scale=alt.Scale(domain=[row["arm"] for row in records]),
        axis=alt.Axis(
            labelExpr=r"split(datum.value, '\n')",
            labelOffset=_HALF_A_LINE,
            labelLimit=LABEL_WIDTH,
            ticks=False,
            grid=True,
        ),
    )
    colour = _one_colour()
    dots = [
        marks.chart(_west(rows))
        .mark_point(filled=filled, size=55, opacity=1.0)
        .encode(x, y, colour, tooltip=marks.tips(_named(rows)))
        for filled in (True, False)
        if (rows := [row for row in records if row["excludes_zero"] is filled])
    ]
    known = [row | {"difference": row["low"]} for row in _west(_known(records))]
    return marks.layer(
        _zero(x),
        marks.chart(known).mark_rule(strokeWidth=2).encode(x, y, colour, x2="high:Q"),
        *dots,
    )


def by_size(records: Records, title: str, *, zero: bool) -> alt.LayerChart:
    """A mean against N with its intervals; `zero` draws the line of no difference."""
    import altair as alt

    x = marks.pool_size(records, "N, candidates a prompt (log scale)")
    axis = alt.Axis() if zero else marks.percent()
    y = alt.Y("value:Q", title=title, axis=axis, scale=marks.free())
    colour = _one_colour()
    line = marks.chart(_west(records)).mark_line(point=True)
    return marks.layer(
        *([_zero(y)] if zero else []),
        marks.bars(_west(_known(records)), x, y, colour),
        line.encode(x, y, colour, tooltip=marks.tips(records)),
    )


def theorem(records: Records) -> alt.LayerChart:
    """The probabilities of a label and its bounds against N, with bands."""
    import altair as alt

    x = marks.pool_size(records, "N, candidates a prompt (log scale)")
    y = alt.Y("share:Q", title="probability", axis=marks.percent(), scale=marks.free())
    colour, dash = _by_line(records)
    known = [row | {"share": row["low"]} for row in _known(records)]
    return marks.layer(
        marks.chart(known).mark_area(opacity=0.16).encode(x, y, alt.Y2("high:Q"), colour),
        marks.chart(records).mark_line().encode(x, y, colour, dash),
        marks.chart(records)
        .mark_point(filled=True)
        .encode(x, y, colour, tooltip=marks.tips(records)),
    )


def confidence(records: Records) -> alt.LayerChart:
    """Right labels and P* against the base model's probability, with the diagonal."""
    import altair as alt

    scale = alt.Scale(domain=[0.5, 1.0], nice=False)
    x = alt.X("p:Q", title="P_θ, mean of a tenth of the pairs", scale=scale, axis=marks.percent())
    y = alt.Y("share:Q", title="share of pairs", axis=marks.percent(), scale=marks.free())
    colour, dash = _by_line(records)
    ends = [{"p": value, "share": value} for value in (0.5, 1.0)]
    return marks.layer(
        marks.chart(ends).mark_line(color=marks.NEUTRAL, strokeDash=[4, 4]).encode(x, y),
        marks.bars(_known(records), x, y, colour),
        marks.chart(records).mark_line().encode(x, y, colour, dash),
        marks.chart(records)
        .mark_point(filled=True)
        .encode(x, y, colour, tooltip=marks.tips(records)),
    )


def proxy_by_distance(records: Records) -> alt.LayerChart:
    """Proxy reward against sqrt(KL), a line a student with its band."""
    return marks.layer(*_by_distance(records, "proxy", "proxy reward, standard deviations"))


def gold_by_distance(records: Records, fitted: Records, peaks: Records) -> alt.LayerChart:
    """Gold against sqrt(KL) with its band; dashed the fitted curves, diamonds the peaks."""
    title = "gold reward"
    x, y, colour = _distance_axes(records, "gold", title)
    diamonds = marks.chart(peaks).mark_point(shape="diamond", size=130, filled=True, opacity=1.0)
    return marks.layer(
        *_by_distance(records, "gold", title),
        marks.chart(fitted).mark_line(strokeDash=[5, 4]).encode(x, y, colour),
        diamonds.encode(x, y, colour),
    )


def _by_distance(records: Records, key: str, title: str) -> list[alt.Chart]:
    import altair as alt

    x, y, colour = _distance_axes(records, key, title)
    known = [
        {"arm": row["arm"], "distance": row["distance"], key: row[f"{key}_low"]}
        | {"high": row[f"{key}_high"]}
        for row in records
        if f"{key}_low" in row
    ]
    # RL may move back towards its start: the line follows the steps, not the distance.
    ordered = [row | {"order": place} for place, row in enumerate(records)]
    line = marks.chart(ordered).mark_line(point={"size": 22})
    return [
        marks.chart(known).mark_area(opacity=0.16).encode(x, y, alt.Y2("high:Q"), colour),
        line.encode(x, y, colour, order="order:Q", tooltip=marks.tips(records)),
    ]


def _distance_axes(records: Records, key: str, title: str) -> tuple[alt.X, alt.Y, alt.Color]:
    import altair as alt

    return (
        alt.X(
            "distance:Q",
            title="d = √KL from the starting policy, √nats",
            axis=alt.Axis(tickCount=6),
        ),
        alt.Y(f"{key}:Q", title=title, scale=marks.free()),
        marks.colour(records, ARMS),
    )


def rounds(records: Records, title: str) -> alt.LayerChart:
    """A mean and its interval by round of the loop, between HF50 and HF100."""
    import altair as alt

    names = [row["arm"] for row in records]
    x = alt.X(
        "arm:N",
        title="HF50, rounds of the loop, HF100",
        scale=alt.Scale(domain=[name for name in ROUNDS.values() if name in names]),
        axis=alt.Axis(labelAngle=0),
    )
    y = alt.Y("value:Q", title=title, scale=marks.free())
    colour = _one_colour()
    loop = [row for row in records if row["is_round"]]
    return marks.layer(
        marks.chart(_west(loop)).mark_line().encode(x, y, colour),
        marks.bars(_west(_known(records)), x, y, colour),
        marks.chart(_west(records))
        .mark_point(filled=True, size=55, opacity=1.0)
        .encode(x, y, colour, tooltip=marks.tips(records)),
    )


def _known(records: Records) -> Records:
    return [row for row in records if "low" in row]


def _named(records: Records) -> Records:
    """The records for a tooltip, without what the drawing shows already."""
    return [{key: value for key, value in row.items() if key != "excludes_zero"} for row in records]


def _zero(channel: alt.X | alt.Y) -> alt.Chart:
    """A line at no difference."""
    rule = marks.chart([{marks.field_of(channel): 0.0}])
    drawn: alt.Chart = rule.mark_rule(color=marks.NEUTRAL, strokeDash=[4, 4]).encode(channel)
    return drawn


def _west(records: Records) -> Records:
    """The records with the arm whose colour they have, for charts of one kind of mark."""
    return [row | {"of": WEST} for row in records]


def _one_colour() -> alt.Color:
    import altair as alt

    return alt.Color("of:N", scale=alt.Scale(domain=list(ARMS)), legend=None)


def _by_line(records: Records) -> Sequence[Any]:
    """Colour and dash of the theorem's lines, with one legend for both."""
    import altair as alt

    names = list(THEOREM_LINES.values())
    shown = list(dict.fromkeys(row["line"] for row in records))
    legend = alt.Legend(
        title=None,
        orient="bottom",
        columns=1,
        values=shown,
        symbolType="stroke",
        symbolSize=400,
        symbolOpacity=1.0,
        labelLimit=260,
    )
    return (
        alt.Color("line:N", scale=alt.Scale(domain=names), legend=legend),
        alt.StrokeDash("line:N", scale=alt.Scale(domain=names, range=DASHES), legend=legend),
    )
