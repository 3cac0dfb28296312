"""Last, `report`: every evaluation -> metrics.json, plots, and one self-contained page.

reads   data/prepared, data/eval/*, and of every iteration of `loop` its candidates, pairs,
        synthetic preferences and RL curves
writes  metrics.json; data/plots/*.json, data/plots/png/*.png; data/report/report.html
"""

from __future__ import annotations

from stages.common import In, Out, run
from westofn.models.card import read_card
from westofn.params import load_params
from westofn.report.build import ReportPaths, build_report
from westofn.report.inputs import read_inputs


def main(data: In, metrics: Out, plots: Out, out: Out) -> None:
    """Collect what the other stages measured."""
    params = load_params()
    card = read_card(data / "loop" / "k0" / "rm", "reward_model")
    facts = {"family": card.family, "comparator": card.comparator, **card.training}
    inputs = read_inputs(
        data,
        list(params.loop),
        base_model={key: str(value) for key, value in facts.items()},
        seed=params.seed,
    )
    build_report(inputs, ReportPaths(metrics, plots, out / "report.html"))


if __name__ == "__main__":
    run(main)
