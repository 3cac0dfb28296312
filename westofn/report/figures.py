"""The figures of the report: titles, how to read them, and their panels; as specs and as PNGs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from westofn.report import charts, marks
from westofn.report.plots import Records

if TYPE_CHECKING:
    import altair as alt

NO_GOLD = "These data have no gold annotator, so which labels are right is not known."
NOT_MEASURED = "This run measured nothing for it."

PALETTES = {
    "light": [
        "#5f6773",
        "#b4600e",
        "#7a5cc4",
        "#1f6fb8",
        "#12805c",
        "#a4478f",
        "#2b8a97",
        "#b03a48",
    ],
    "dark": [
        "#a7b0bb",
        "#eda14f",
        "#b49cf5",
        "#63b0f5",
        "#4cc79c",
        "#e08acb",
        "#5cc4d1",
        "#f08590",
    ],
}
"""Colours of the arms in their order, at equal places legible on white and on near black."""

PNG_THEME: dict[str, Any] = {
    "background": "white",
    "font": "sans-serif",
    "range": {"category": PALETTES["light"]},
    "view": {"stroke": None},
    "axis": {"gridColor": "#e6e8eb", "labelColor": "#333", "titleFontWeight": "normal"},
    "title": {"fontWeight": "normal", "anchor": "start"},
}
PNG_WIDTH, PNG_HEIGHT, PNG_SCALE = 360, 260, 2.0
PAGE_HEIGHT = 280


@dataclass(frozen=True)
class Panel:
    """One chart of a figure.

    Attributes:
        title: Also its description for a screen reader.
        chart: What is drawn.
        height: In pixels, on the page with axes and legends, in a PNG without; None is the usual.
    """

    title: str
    chart: alt.LayerChart
    height: int | None = None

    @property
    def page_height(self) -> int:
        """Its height on the page, in pixels."""
        return self.height or PAGE_HEIGHT


@dataclass(frozen=True)
class Figure:
    """A figure of the report.

    Attributes:
        key: Name of its records and of its PNG.
        title: What is shown against what.
        reading: How to read it: lines, bands, units.
        panels: Its charts; empty when there are no data.
        why_absent: Why it has no panels; empty when it has some.
    """

    key: str
    title: str
    reading: str
    panels: tuple[Panel, ...]
    why_absent: str


def build_figures(records: dict[str, Records], arms: Sequence[str]) -> list[Figure]:
    """The figures of the report in reading order.

    Args:
        records: What `plot_records` returned.
        arms: Short names of all arms, in the order of the palette.
    """
    builders: dict[str, Callable[[Records, Sequence[str]], Figure]] = {
        "label_accuracy": _label_accuracy,
        "best_of_n": _best_of_n,
        "reliability": _reliability,
        "length": _length,
        "rl": _rl,
        "training": _training,
    }
    return [build(records[key], arms) for key, build in builders.items()]


def figure_specs(figure: Figure) -> list[dict[str, Any]]:
    """The Vega-Lite specifications of a figure's panels, as wide as their container."""
    return [_spec(panel) for panel in figure.panels]


def figure_png(figure: Figure) -> bytes:
    """The figure as a PNG on white; equal figures give equal bytes. Needs no network."""
    import altair as alt
    import vl_convert

    panels = [
        panel.chart.properties(
            width=PNG_WIDTH, height=panel.height or PNG_HEIGHT, title=panel.title
        )
        for panel in figure.panels
    ]
    columns = 3 if len(panels) in (3, 5, 6) else 2
    drawing = alt.concat(*panels, columns=columns).resolve_legend(
        color="independent", strokeDash="independent"
    )
    if len(panels) > 1:
        drawing = drawing.properties(title=alt.TitleParams(figure.title, fontSize=16, offset=12))
    return vl_convert.vegalite_to_png(drawing.to_dict(), scale=PNG_SCALE, config=PNG_THEME)


def _spec(panel: Panel) -> dict[str, Any]:
    spec = panel.chart.properties(description=panel.title, height=panel.page_height).to_dict()
    del spec["config"]  # Altair's default theme; the page brings its own
    return spec | {"width": "container", "autosize": {"type": "fit", "contains": "padding"}}


def _label_accuracy(records: Records, arms: Sequence[str]) -> Figure:
    title = "Correct labels against the pool size N"
    return Figure(
        key="label_accuracy",
        title=title,
        reading=(
            "Right: the share of selected pairs whose chosen response the gold annotator also "
            "prefers, with its 95 % interval. P* of the label: the gold annotator's mean "
            "probability of it, which is what the bound speaks of. Bound: mean of p_chosen − ε "
            "with the largest measured error ε. Random pair: of the same pool, labelled by the "
            "same base model."
        ),
        panels=(Panel(title, charts.label_accuracy(records, arms)),) if records else (),
        why_absent="" if records else NO_GOLD,
    )


def _best_of_n(records: Records, arms: Sequence[str]) -> Figure:
    gold = [row for row in records if "gold" in row]
    judge = "gold annotator" if gold else "autorater"
    wins = _by_win_rate_n(records)
    panels = []
    if gold:
        chart = charts.best_of_n(gold, arms, "gold", "gold reward")
        panels.append(Panel("Gold reward of the best of n", chart))
    if wins:
        chart = charts.best_of_n(wins, arms, "win_rate", "win rate")
        panels.append(Panel("Win rate of the best of n", chart))
    return Figure(
        key="best_of_n",
        title="Best of n by each reward model",
        reading=(
            "The response with the highest reward among n candidates of the SFT policy. The win "
            f"rate is against another candidate of the pool, by the {judge}. Bands: 95 % intervals."
        ),
        panels=tuple(panels),
        why_absent="" if panels else NOT_MEASURED,
    )


def _by_win_rate_n(records: Records) -> Records:
    """The records with a win rate, their n being that of the win rate, each n once an arm."""
    rows = [row | {"n": row.get("win_rate_n", row["n"])} for row in records if "win_rate" in row]
    return list({(row["arm"], row["n"]): row for row in rows}.values())


def _reliability(records: Records, arms: Sequence[str]) -> Figure:
    start = 0.5 if all(row.get("p_low", 0.0) >= 0.5 for row in records) else 0.0
    lowest = min([start, *(row["low"] for row in records)])
    panels = tuple(
        Panel(f"Reliability of {arm}", charts.reliability(rows, arms, start=start, lowest=lowest))
        for arm in marks.arms_of(records)
        if (rows := [row for row in records if row["arm"] == arm])
    )
    return Figure(
        key="reliability",
        title="Reliability of the stated probabilities",
        reading=(
            "Held-out human pairs in bins of the probability that the model gives to its own "
            "label; a calibrated model lies on the diagonal. Bars: Wilson 95 % interval of a bin."
        ),
        panels=panels,
        why_absent="" if panels else NOT_MEASURED,
    )


def _length(records: Records, arms: Sequence[str]) -> Figure:
    title = "Accuracy by difference in length"
    return Figure(
        key="length",
        title=title,
        reading=(
            "Held-out human pairs in bins of the difference in length; the arms of a bin stand "
            "beside each other. Dashed: the accuracy over all pairs of always picking the longer "
            "or the shorter response. Bars: Wilson 95 % interval of a bin."
        ),
        panels=(Panel(title, charts.length(records, arms)),) if records else (),
        why_absent="" if records else NOT_MEASURED,
    )


RL_PANELS = {
    "reward": ("Reward by the student", "reward, standard deviations"),
    "gold": ("Gold reward", "gold reward"),
    "kl": ("KL from the starting policy", "KL, nats"),
    "length": ("Length of responses", "tokens"),
}


def _rl(records: Records, arms: Sequence[str]) -> Figure:
    panels = tuple(
        Panel(title, charts.rl(rows, arms, key, axis))
        for key, (title, axis) in RL_PANELS.items()
        if (rows := [row for row in records if key in row])
    )
    return Figure(
        key="rl",
        title="Reinforcement learning against each student",
        reading=(
            "Means over the test prompts; no interval is measured along a run. Dotted: the SFT "
            "policy. Rewards are in standard deviations of the student's own, so those of two "
            "iterations are not on one scale; gold rewards are."
        ),
        panels=panels,
        why_absent="" if panels else NOT_MEASURED,
    )


def _training(records: Records, arms: Sequence[str]) -> Figure:
    panels = tuple(
        _training_panel(arm, [row for row in records if row["arm"] == arm])
        for arm in marks.arms_of(records)
    )
    return Figure(
        key="training",
        title="Training of every model",
        reading=(
            "Losses in nats, of a policy's reward in standard deviations; means since the point "
            "before. Validation is the same measure on data that training does not see, of the "
            "weights that would be kept. A line is a run from the common start; their weights are "
            "averaged. A linear head takes no steps: its lines are powers of the prior, from the "
            "largest penalty to the smallest."
        ),
        panels=panels,
        why_absent="" if panels else NOT_MEASURED,
    )


def _training_panel(arm: str, rows: Records) -> Panel:
    key = "reward" if any("reward" in row for row in rows) else "loss"
    x = "penalties, from the largest" if "power" in rows[0] else "optimiser steps"
    drawn = [row for row in rows if key in row]
    return Panel(arm, charts.training(drawn, key, x, key), height=170)
