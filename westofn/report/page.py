"""The page of a run: its findings, figures, tables and pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from westofn.execution.account import warnings_of
from westofn.execution.guards import alarms, checked
from westofn.report import findings, tables
from westofn.report.browser import embed_pairs
from westofn.report.figures import Figure
from westofn.report.forecast import forecast_section
from westofn.report.html import FOLDER, asset, markup, render_html
from westofn.report.inputs import BASE, ReportInputs
from westofn.report.numbers import decimal, measure, percent, percent_interval
from westofn.report.plots import Records
from westofn.report.templates import sentence


@dataclass(frozen=True)
class Section:
    """A figure of the page with its findings."""

    figure: Figure
    findings: Sequence[str]


def render_page(
    inputs: ReportInputs, records: dict[str, Records], figures: Sequence[Figure]
) -> str:
    """The page as text: every byte that it needs is in it, and it fetches nothing.

    Raises:
        DataError: Pairs, decisions, candidates and prompts do not fit each other.
    """
    pairs = embed_pairs(inputs)
    sentences = findings.findings(inputs, records)
    return render_html(
        "report.html.jinja",
        FOLDER,
        figures,
        scripts=[asset("pairs.js")],
        headline=findings.headline(inputs),
        scope=findings.scope(inputs),
        reward_models=tables.reward_models(inputs),
        gains=tables.gains(inputs),
        forecast=forecast_section(inputs.forecast),
        sure_pairs=findings.sure_pairs(inputs),
        policies=tables.policies(inputs),
        sections=[Section(figure, sentences[figure.key]) for figure in figures],
        accounting=tables.accounting(inputs),
        rows_by_stage=tables.rows_by_stage(inputs),
        warnings=[*alarms(inputs.checks), *warnings_of(inputs.accounts)],
        checked=checked(inputs.checks),
        logprob_notes=logprob_notes(inputs),
        counts={tables.words(name): tables.listed(count) for name, count in inputs.counts.items()},
        base_facts=base_facts(inputs),
        iterations=list(inputs.iterations),
        reasons=sorted(_reasons(inputs)),
        n_pairs=tables.whole(pairs.total),
        shown_pairs=sentence("shown_pairs", shown=pairs.shown, total=pairs.total),
        shown_pools=sentence(
            "shown_pools", shown=pairs.pools_shown, pairs=pairs.shown, known=pairs.pools_known
        ),
        some_pools=0 < pairs.pools_shown < pairs.shown,
        pairs=markup(pairs.json),
        pools=markup(pairs.pools),
    )


def base_facts(inputs: ReportInputs) -> dict[str, str]:
    """What the page says about the base model: given facts, then what was measured of it."""
    facts = {tables.words(name): value for name, value in inputs.base_model.items()}
    metrics = inputs.arms[BASE].metrics
    for key in ("accuracy", "high_confidence_accuracy", "on_policy_accuracy"):
        measured = measure(metrics, key)
        if measured is not None:
            facts[tables.words(key)] = percent_interval(measured)
    if "ece" in metrics:
        facts["expected calibration error"] = f"{percent(metrics['ece'])} points"
    for name in inputs.iterations:
        epsilon = inputs.arms[name].metrics.get("label_epsilon")
        if epsilon is not None:
            facts[f"ε, largest error of P over the pools of {name}"] = decimal(epsilon, 3)
    return facts


def logprob_notes(inputs: ReportInputs) -> list[str]:
    """How likely the policy finds the selected responses, against the human ones."""
    ours, human = "pair_logprob_per_token", "human_logprob_per_token"
    measured = {name: inputs.arms[name].metrics for name in inputs.iterations}
    return [
        sentence("log_probability", iteration=name, pairs=metrics[ours], human=metrics.get(human))
        for name, metrics in measured.items()
        if ours in metrics
    ]


def _reasons(inputs: ReportInputs) -> set[str]:
    return {
        reason
        for iteration in inputs.iterations.values()
        for reason in iteration.decisions["dropped_by"].drop_nulls()
    }
