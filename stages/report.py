"""Last, `report`: every evaluation -> metrics.json, headlines.json, plots, and one page.

reads   data/prepared, data/world, data/eval/*, data/forecast, and of every iteration of `loop` its
        candidates, counts, pairs, synthetic preferences and RL curves; cards and curves of all
        models, in data/loop, data/reference and data/autorater
writes  metrics.json, headlines.json; data/plots/*.json, data/plots/png/*.png;
        data/report/report.html
"""

from __future__ import annotations

from stages.common import In, Out, run
from westofn.artifacts.atomic import whole_folder
from westofn.execution.account import print_warnings, warn
from westofn.execution.guards import alarms
from westofn.models.card import describe_model
from westofn.params.file import load_seed
from westofn.params.loop import load_loop
from westofn.report.build import ReportPaths, build_report
from westofn.report.checks import read_checks
from westofn.report.inputs import read_inputs
from westofn.report.rows import read_accounts


def main(data: In, metrics: Out, headlines: Out, plots: Out, out: Out) -> None:
    """Collect what the other stages measured."""
    rounds = load_loop()
    accounts, checks = read_accounts(data, list(rounds)), read_checks(data, list(rounds))
    inputs = read_inputs(
        data,
        list(rounds),
        base_model=describe_model(data / "loop" / "k0" / "rm"),
        accounts=accounts,
        checks=checks,
        students={name: describe_model(data / "loop" / name / "rm") for name in rounds},
        seed=load_seed(),
    )
    with whole_folder(plots) as figures, whole_folder(out) as page:  # metrics.json first
        build_report(inputs, ReportPaths(metrics, headlines, figures, page / "report.html"))
    warn(accounts)
    print_warnings(alarms(checks))


if __name__ == "__main__":
    run(main)
