"""The figures of the map, as SVG files beside its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from benchmarks.map.settings import METRICS, SIZES_AT
from benchmarks.map.summary import CellSummary, Record, cells
from westofn.artifacts.atomic import write_bytes
from westofn.report.figures import PALETTES, PNG_THEME
from westofn.report.marks import NEUTRAL

SHOWN = ("on_policy_accuracy", "best_of_n_win_rate")
WIDTH, HEIGHT = 330, 260
Rows = list[dict[str, Any]]
WEST_COLOUR, TWICE_COLOUR = PALETTES["light"][3], PALETTES["light"][1]


def write_figures(records: Sequence[Record], folder: Path) -> None:
    """Write map.svg, map-n.svg, map-prior.svg and map-forecast.svg."""
    linear = cells(records, "linear")
    drawings: Mapping[str, alt.HConcatChart] = {
        "map": _by_ratio(linear),
        "map-n": _by_size(next(cell for cell in linear if cell.place == SIZES_AT)),
        "map-prior": _against(linear, _prior_rows, "covariance prior, p = 1: gain"),
        "map-forecast": _against(linear, _forecast_rows, "forecast of the gain"),
    }
    for name, drawing in drawings.items():
        svg = vl_convert.vegalite_to_svg(drawing.to_dict(), config=PNG_THEME)
        write_bytes(svg.encode(), folder / f"{name}.svg")


def _by_ratio(linear: Sequence[CellSummary]) -> alt.HConcatChart:
    """Gain of West-of-N and of HF100 against κ/κ_H, a dot a place."""
    charts = []
    for metric in SHOWN:
        rows: Rows = []
        for cell in linear:
            x = cell.kappa("ratio")
            if x is None:
                continue
            for arm, name in (("west", "West-of-N"), ("hf100", "twice the labels")):
                gain = cell.gain(arm, metric)
                rows.append(
                    {
                        "x": x,
                        "gain": gain.mean,
                        "low": gain.low,
                        "high": gain.high,
                        "arm": name,
                        "labels": f"{cell.place.labels} labels",
                    }
                )
        x_axis = alt.X("x:Q", title="κ / κ_H (log scale)", scale=alt.Scale(type="log", nice=False))
        colour = alt.Color(
            "arm:N",
            scale=alt.Scale(
                domain=["West-of-N", "twice the labels"], range=[WEST_COLOUR, TWICE_COLOUR]
            ),
            legend=alt.Legend(title=None, orient="top"),
        )
        shape = alt.Shape("labels:N", legend=alt.Legend(title=None, orient="top"))
        y = alt.Y("gain:Q", title=f"gain over HF50: {METRICS[metric]}")
        data = _data(rows)
        bars = data.mark_rule(opacity=0.35).encode(x_axis, alt.Y("low:Q"), alt.Y2("high:Q"), colour)
        dots = data.mark_point(filled=True, size=55, opacity=0.9).encode(x_axis, y, colour, shape)
        charts.append(_sized(_zero(), bars, dots))
    return alt.hconcat(*charts)


def _by_size(cell: CellSummary) -> alt.HConcatChart:
    """Gain against N in the aligned place."""
    charts = []
    arms = {**{f"n{n}": n for n in (2, 4, 8, 16, 32)}, "west": 64}
    for metric in SHOWN:
        rows: Rows = []
        for arm, n in arms.items():
            gain = cell.gain(arm, metric)
            rows.append({"n": n, "gain": gain.mean, "low": gain.low, "high": gain.high})
        x = alt.X(
            "n:Q",
            title="N, candidates a prompt (log scale)",
            scale=alt.Scale(type="log", base=2, nice=False),
            axis=alt.Axis(values=list(arms.values()), format="d"),
        )
        y = alt.Y("gain:Q", title=f"gain over HF50: {METRICS[metric]}")
        data = _data(rows)
        bars = data.mark_rule(color=WEST_COLOUR, opacity=0.5).encode(
            x, alt.Y("low:Q"), alt.Y2("high:Q")
        )
        lines = data.mark_line(color=WEST_COLOUR, point=alt.OverlayMarkDef(color=WEST_COLOUR))
        charts.append(_sized(_zero(), bars, lines.encode(x, y)))
    return alt.hconcat(*charts)


def _prior_rows(cell: CellSummary, metric: str) -> dict[str, float]:
    return {"x": cell.gain("prior1", metric).mean, "y": cell.gain("west", metric).mean}


def _forecast_rows(cell: CellSummary, metric: str) -> dict[str, float]:
    return {
        "x": cell.foreseen("west N=64 k=1", metric),
        "y": cell.gain("west", metric).mean,
    }


def _against(linear: Sequence[CellSummary], rows_of: Any, title: str) -> alt.HConcatChart:
    """The gain of West-of-N against another number, a dot a place, with the diagonal."""
    charts = []
    for metric in ("accuracy", "on_policy_accuracy"):
        rows = [
            rows_of(cell, metric)
            | {
                "alignment": f"{cell.place.alignment:g}",
                "low": cell.gain("west", metric).low,
                "high": cell.gain("west", metric).high,
            }
            for cell in linear
        ]
        ends = [min(min(r["x"], r["y"]) for r in rows), max(max(r["x"], r["y"]) for r in rows)]
        diagonal = _data([{"x": end, "y": end} for end in ends])
        x = alt.X("x:Q", title=title)
        y = alt.Y("y:Q", title=f"West-of-N: {METRICS[metric]}")
        colour = alt.Color("alignment:O", legend=alt.Legend(title="alignment", orient="top"))
        data = _data(rows)
        charts.append(
            _sized(
                diagonal.mark_line(color=NEUTRAL, strokeDash=[4, 4]).encode(x, y),
                data.mark_rule(opacity=0.35).encode(x, alt.Y("low:Q"), alt.Y2("high:Q"), colour),
                data.mark_point(filled=True, size=55).encode(x, y, colour),
            )
        )
    return alt.hconcat(*charts)


def _data(rows: Rows) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=rows))


def _zero() -> alt.Chart:
    rule = _data([{"zero": 0.0}]).mark_rule(color=NEUTRAL, strokeDash=[4, 4])
    drawn: alt.Chart = rule.encode(y="zero:Q")
    return drawn


def _sized(*layers: alt.Chart) -> alt.LayerChart:
    return alt.LayerChart(layer=list(layers), width=WIDTH, height=HEIGHT)
