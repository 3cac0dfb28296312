"""`westofn`: commands to inspect data and results, score, export, tune and configure.

| command | does |
|---|---|
| repro | runs what is out of date as `dvc repro` does, with stages side by side |
| plan | estimates time, memory and disk of a run, stage by stage, from two small runs |
| summary | prints the result table and the path of the report |
| runs | compares the commit with its DVC experiments by the headline numbers |
| sweep | runs a grid of settings as DVC experiments, several at a time, and compares them |
| doctor | checks the set-up: versions, DVC, disk, threads, device |
| show FILE | validates an artifact and prints its table and first rows |
| inspect FILE | reports on your data: set, form, mapping, dropped rows, lengths, leakage |
| forecast | forecasts the gain of West-of-N from human pairs and samples, without training |
| score FILE | adds rewards or margins of a saved model to the rows of a file or stdin |
| bench DIR FILE… | evaluates a saved reward model on files of public benchmarks, with intervals |
| serve DIR | answers requests for rewards, in vLLM's, OpenRLHF's and its own form |
| export pairs FILE | writes an iteration's preferences in a TRL format, with a dataset card |
| export rm DIR | exports a reward model with a model card |
| export policy DIR | exports a policy for plain transformers, with a model card |
| export questions DIR | chooses the most informative pairs and writes a page to label them |
| study | runs the pipeline and the study over several seeds; writes study.json and its pages |
| pages | rewrites docs/results.md, README's block and HTML from study.json; known sets |
| tune filter | chooses the filter's quantiles by validation accuracy |
| preset NAME | writes params.yaml for the paper's data or your own data; lists presets |
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table
from rich.text import Text

from westofn.commands.run import console, print_json, run_app
from westofn.errors import DataError, ParameterError, WestofnError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from westofn.exporting.push import Target
    from westofn.sources.inspecting import Inspection
    from westofn.sources.token_lengths import TokenLengths
    from westofn.study.records import Study

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
tune = typer.Typer(help="Choose settings by validation data, in DVC experiments.")
app.add_typer(tune, name="tune")
export = typer.Typer(help="Export results, with a card, for other tools.")
app.add_typer(export, name="export")
Push = Annotated[
    str | None, typer.Option(help="OWNER/NAME on the hub, to which the export is pushed, private")
]
Public = Annotated[bool, typer.Option("--public", help="with --push: everybody sees it")]
License = Annotated[
    str | None, typer.Option(help="for the card, such as mit; default: stated where it is known")
]
PACKAGES = ("torch", "transformers", "accelerate", "dvc", "polars", "pydantic")


@app.command()
def summary(
    metrics: Annotated[Path, typer.Argument(help="file of stage report")] = Path("metrics.json"),
) -> None:
    """Print the result table and the path of the report."""
    from westofn.artifacts.json_file import read_as
    from westofn.report.console import print_summary
    from westofn.report.metrics import checked_metrics

    arms = read_as(checked_metrics, metrics, "report")
    terminal = console()
    print_summary(arms, Path("data/report/report.html").resolve(), terminal)
    _print_comparison(metrics, arms, terminal)


def _print_comparison(metrics: Path, arms: Mapping[str, Any], terminal: Console) -> None:
    """Print which numbers differ from the committed ones, if params.yaml does not."""
    from westofn.params.file import PARAMS_FILE
    from westofn.study.committed import committed_content, comparison_lines

    settings = metrics.parent / PARAMS_FILE
    if not settings.is_file() or settings.read_bytes() != committed_content(settings):
        return
    for line in comparison_lines(metrics, arms, _seeds_of_world(settings)):
        terminal.print(line, markup=False, highlight=False)


def _seeds_of_world(settings: Path) -> Sequence[dict[str, Any]]:
    """Return the seeds of study.json, beside params.yaml, if they are of the world that it sets."""
    from westofn.params.whole import load_params
    from westofn.study.records import read_study

    study, prepare = settings.parent / "study.json", load_params(settings).prepare
    if not study.is_file() or prepare.source != "world":
        return ()
    seeds = read_study(study)
    return seeds.runs if seeds.world == prepare.world.model_dump() else ()


@app.command()
def repro(
    jobs: Annotated[
        int,
        typer.Option(min=0, help="stages at a time; 0: two for models from scratch, else one"),
    ] = 0,
) -> None:
    """Run what is out of date, as `dvc repro` does, with stages side by side."""
    from westofn.execution.side_by_side import default_jobs, reproduce
    from westofn.params.whole import load_params

    count = reproduce(jobs or default_jobs(load_params()), _say)
    _say(f"repro: {count} stages are done" if count else "repro: all stages are up to date")


@app.command()
def plan(
    as_json: Annotated[bool, typer.Option("--json", help="print only JSON")] = False,
) -> None:
    """Estimate time, memory and disk of a run of params.yaml, stage by stage.

    Every stage runs twice on a few prompts and with a few steps. It needs what prepare writes.
    """
    from westofn.execution.experiments import dvc_json
    from westofn.execution.side_by_side import default_jobs, pipeline
    from westofn.params.whole import load_params
    from westofn.planning.estimate import estimate, makespan
    from westofn.planning.show import plan_record, print_plan
    from westofn.planning.work import Counts

    params = load_params()
    stages, jobs = pipeline(), default_jobs(params)
    counts = Counts.read(Path("data/prepared"))
    if dvc_json("status", "prepare"):
        typer.echo("plan: data/prepared is out of date; run `dvc repro prepare` first", err=True)

    def say(line: str) -> None:
        typer.echo(line, err=True)

    estimates = estimate(params, counts, stages, jobs, load_params, say)
    seconds = {name: stage.seconds for name, stage in estimates.items()}
    together = makespan(seconds, {name: stage.needs for name, stage in stages.items()}, jobs)
    record = plan_record(estimates, jobs, together)
    if as_json:
        print_json(record)
    else:
        print_plan(record, console())


@app.command()
def runs(
    all_commits: Annotated[
        bool, typer.Option("--all-commits", help="also experiments of earlier commits")
    ] = False,
    sort: Annotated[
        Literal["accuracy", "on_policy_accuracy", "best_of_n_win_rate", "name"],
        typer.Option(help="by what experiments of a commit are sorted, the largest first"),
    ] = "accuracy",
    as_json: Annotated[bool, typer.Option("--json", help="print only JSON")] = False,
) -> None:
    """Compare the commit with its DVC experiments: what each changed, and its headlines."""
    from westofn.execution.experiments import shown_experiments
    from westofn.report.runs import print_runs, runs_of

    noise = _noise_of_seeds()
    listed = runs_of(shown_experiments(all_commits=all_commits), sort)
    if as_json:
        print_json({"runs": [asdict(run) for run in listed], "noise": noise})
    else:
        print_runs(listed, noise, console())


def _noise_of_seeds() -> dict[str, float]:
    """Return by headline how far two seeds differ in 95 % of cases, where that is known."""
    from westofn.params.file import PARAMS_FILE
    from westofn.report.runs import COLUMNS
    from westofn.study.committed import seed_noise

    seeds = _seeds_of_world(PARAMS_FILE)
    measured = {key: seed_noise(seeds, "k1", key) for key in COLUMNS}
    return {key: value for key, value in measured.items() if value is not None}


@app.command()
def sweep(
    settings: Annotated[
        list[str],
        typer.Option("-S", "--set", help="KEY=VALUE,VALUE… as of `dvc exp run -S`; repeatable"),
    ],
    targets: Annotated[
        list[str] | None, typer.Argument(help="stages to run with what they need; default: all")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="members at a time, without --devices")] = 1,
    devices: Annotated[
        str, typer.Option(help="GPUs such as 0,1,2: as many members at a time, each on its own")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only list the members")] = False,
) -> None:
    """Run a grid of settings as DVC experiments, several at a time, and compare them.

    A member that fails leaves the others running; the same sweep again takes what is finished from
    DVC's cache. Where the workspace is not up to date, the first member runs alone, and the others
    take what they share with it from the cache.
    """
    from westofn.execution.experiments import dvc_json, shown_experiments
    from westofn.progress import duration
    from westofn.report.runs import WORKSPACE, print_runs, runs_of
    from westofn.tuning.sweep import Outcome, check_outcomes, members, parse_devices, run_members

    experiments, named = members(settings, targets or []), parse_devices(devices)
    if named and jobs > 1:
        raise ParameterError("--jobs and --devices: give one, a device runs one member at a time")
    if dry_run:
        typer.echo("\n".join(experiment.name for experiment in experiments))
        return

    def say(outcome: Outcome) -> None:
        state = f"failed: {outcome.error}" if outcome.error else "done"
        typer.echo(f"{outcome.name}: {state} after {duration(outcome.seconds)}")

    together = not dvc_json("status")
    count = len(named) or jobs
    outcomes = run_members(experiments, jobs=count, devices=named, together=together, ended=say)
    names = {outcome.name for outcome in outcomes}
    listed = [run for run in runs_of(shown_experiments(), "name") if run.name != WORKSPACE]
    print_runs(
        [run for run in listed if not run.commit or run.name in names], _noise_of_seeds(), console()
    )
    check_outcomes(outcomes)


@app.command()
def show(file: Path, rows: Annotated[int, typer.Option(min=0)] = 3) -> None:
    """Validate an artifact and print its first rows."""
    import polars as pl

    from westofn.artifacts.catalogue import table_for

    table = table_for(file)
    frame = table.read(file)
    terminal = console()
    about = f"{file}: table {table.name}, {frame.height:,} rows, valid"
    terminal.print(about, markup=False, highlight=False, soft_wrap=True)
    terminal.print(table.description)
    with pl.Config(tbl_rows=rows, tbl_cols=-1, fmt_str_lengths=70, tbl_hide_dataframe_shape=True):
        terminal.print(str(frame.head(rows)), markup=False, highlight=False)


@app.command()
def inspect(
    files: Annotated[list[Path], typer.Argument(help="files or folders, before prepare")],
    kind: Annotated[
        Literal["preferences", "demonstrations", "prompts", "pools"],
        typer.Option(help="what the files hold; others are reported, with exit code 2"),
    ] = "preferences",
    source: Annotated[str, typer.Option(help="value of prepare.source for these files")] = "files",
    settings: Annotated[
        list[str] | None,
        typer.Option("-S", "--set", help="prepare.columns.NAME=PATH or prepare.bad_rows=drop"),
    ] = None,
    rows: Annotated[int, typer.Option(min=0, help="rows to show of each file")] = 3,
    limit: Annotated[int, typer.Option(min=0, help="rows to read of each file; 0: all")] = 0,
    tokenizer: Annotated[
        str, typer.Option(help="folder or name; adds lengths in tokens and what limits drop")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print only JSON")] = False,
) -> None:
    """Report the recognised form or set, the mapping and the content of your data."""
    from westofn.sources.column_settings import parse_settings
    from westofn.sources.inspect_report import print_inspection, to_json
    from westofn.sources.inspecting import InspectOptions, check_kind, inspect_files
    from westofn.sources.registry import SOURCES

    if source not in SOURCES:
        raise ParameterError(f"--source: {source!r} is none of {', '.join(SOURCES)}")
    options = InspectOptions(kind, source, *parse_settings(settings or []), limit, rows)
    inspection = inspect_files(files, options)
    tokens = _token_lengths(inspection, tokenizer) if tokenizer else {}
    if as_json:
        print_json(to_json(inspection, tokens))
    else:
        print_inspection(inspection, tokens, console())
    check_kind(inspection, kind)


def _token_lengths(inspection: Inspection, name: str) -> dict[str, TokenLengths]:
    """Measure the files of an inspection with a tokenizer, a folder or a name on the hub."""
    from westofn.models.card import CARD
    from westofn.params.file import PARAMS_FILE
    from westofn.params.whole import load_params
    from westofn.sources.token_lengths import LIMITS, token_lengths
    from westofn.text.tokenizer import load_fast_tokenizer, load_tokenizer, plain_ids

    of_this_project = (Path(name) / CARD).is_file()
    tokenizer = (
        load_tokenizer(Path(name)) if of_this_project else load_fast_tokenizer(name, "--tokenizer")
    )
    limits = [(limit, limit) for limit in LIMITS]
    if PARAMS_FILE.is_file():
        sft = load_params().sft
        limits.append((sft.max_prompt_tokens, sft.max_response_tokens))
    return {
        file.name: token_lengths(
            file.texts, lambda texts: [len(ids) for ids in plain_ids(tokenizer, texts)], limits
        )
        for file in inspection.files
        if file.texts["prompt"]
    }


@app.command()
def doctor() -> None:
    """Check the set-up; exit with code 2 if something does not work."""
    from westofn.params.whole import load_params
    from westofn.preflight.foresee import foresee
    from westofn.runtime import load_runtime, set_up_torch

    findings: list[tuple[bool, str, str]] = []

    def report(passed: bool, subject: str, detail: str) -> None:
        findings.append((passed, subject, detail))

    report(sys.version_info >= (3, 11), "Python", sys.version.split()[0])
    for name in PACKAGES:
        try:
            report(True, name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            report(False, name, "not installed: run `make venv`")
    for subject, check in (("params.yaml", load_params), ("runtime.toml", load_runtime)):
        try:
            check()
            report(True, subject, "valid")
        except WestofnError as error:
            report(False, subject, str(error))
    try:
        warnings = foresee(load_params(), load_runtime())
        report(True, "run", "; ".join(warnings) or "nothing that would fail is foreseen")
    except WestofnError as error:
        report(False, "run", str(error))
    report(*_disk())
    try:
        device = set_up_torch()
    except WestofnError as error:
        report(False, "device", str(error))
    else:
        import torch

        threads = f"{torch.get_num_threads()} threads of {os.cpu_count()} cores"
        report(True, "device", f"{device}, {threads}")
    report(Path(".dvc/config").is_file(), "DVC", "run from the root of a clone")
    report(*_git())
    table = Table(box=None, show_header=False, pad_edge=False)
    for passed, subject, detail in findings:
        table.add_row("[green]ok[/green]" if passed else "[red]no[/red]", subject, Text(detail))
    console().print(table)
    if not all(passed for passed, _, _ in findings):
        raise typer.Exit(2)


def _disk() -> tuple[bool, str, str]:
    """Return the finding on disk space: what is free, and what a run of params.yaml needs."""
    from westofn.params.whole import load_params
    from westofn.preflight.disk import OTHER, DiskNeed, disk_need

    free = shutil.disk_usage(Path.cwd()).free
    try:
        need = disk_need(load_params())
    except ParameterError:  # which has a finding of its own
        need = DiskNeed(OTHER, 0, ())
    except DataError as error:
        return False, "disk", str(error)
    return free >= need.size, "disk", f"{free / 2**30:.0f} GiB free, needs {need}"


@app.command()
def forecast(
    preferences: Annotated[
        Path | None, typer.Option(help="human pairs, in any format of docs/data.md")
    ] = None,
    responses: Annotated[
        Path | None, typer.Option(help="rows of prompt and responses, two or more samples each")
    ] = None,
    model: Annotated[
        str, typer.Option(help="folder or name of the model that computes features")
    ] = "data/loop/k0/policy",
    data: Annotated[Path, typer.Option(help="a run's outputs, used without files")] = Path("data"),
    as_json: Annotated[bool, typer.Option("--json", help="print only JSON")] = False,
) -> None:
    """Forecast the gains from West-of-N, the covariance prior and twice the labels.

    It uses the files --preferences and --responses and the features of --model. Without files it
    uses the outputs of prepare and sample. It takes a minute or two and trains nothing.
    """
    from westofn.execution.scratch import require_inputs
    from westofn.params.whole import load_params
    from westofn.runtime import load_runtime, set_up_torch
    from westofn.sources.reading import require_source

    if (preferences is None) != (responses is None):
        raise ParameterError("--preferences and --responses go together; give both or neither")
    params, runtime = load_params(), load_runtime()
    if preferences is None or responses is None:
        require_inputs([data / "prepared", data / "loop" / "k1" / "candidates.parquet"])
    else:
        for file in (preferences, responses):
            require_source(file)

    from westofn.evaluation.forecast_files import reader_of_model, texts_of_files
    from westofn.evaluation.forecasting import (
        forecast_record,
        make_forecast,
        print_forecast,
        texts_of_run,
    )

    set_up_torch(runtime)
    if preferences is None or responses is None:
        texts = texts_of_run(data / "prepared", data / "loop" / "k1" / "candidates.parquet")
    else:
        texts = texts_of_files(preferences, responses, params.seed)
    limits = params.sft.max_prompt_tokens, params.sft.max_response_tokens
    readout = params.student_rm.readout
    reader = reader_of_model(model, params.reward_start, readout, limits, params.seed)
    record = forecast_record(*make_forecast(texts, reader, params.seed))
    if as_json:
        print_json(record)
    else:
        print_forecast(record, console())


@app.command()
def score(
    model: Annotated[Path, typer.Option(help="folder of a reward model, e.g. data/loop/k1/rm")],
    file: Annotated[
        Path, typer.Argument(help="rows in any form of docs/data.md; -: JSON lines from stdin")
    ] = Path("-"),
    out: Annotated[
        Path, typer.Option(help=".jsonl, .csv, .tsv or .parquet; -: JSON lines to stdout")
    ] = Path("-"),
    batch: Annotated[int, typer.Option(min=1, help="responses per forward pass")] = 512,
    settings: Annotated[
        list[str] | None,
        typer.Option("-S", "--set", help="prepare.columns.NAME=PATH; default: recognised"),
    ] = None,
    bad_rows: Annotated[
        Literal["refuse", "drop"], typer.Option(help="rows that cannot be read; drop: counted")
    ] = "refuse",
) -> None:
    """Add rewards to rows of prompt and response(s), or margins to prompt, chosen and rejected.

    Rewards are raw scalars. Texts are read as by `prepare`. Other columns and the order of rows are
    kept. Responses are not trimmed: rows with a response longer than the model was trained on get
    `beyond_limit`.
    """
    from westofn.artifacts.targets import require_file_name
    from westofn.preflight.inputs import require_saved
    from westofn.scoring.writing import require_ending
    from westofn.sources.column_settings import parse_settings
    from westofn.sources.columns import Columns
    from westofn.sources.reading import require_source

    require_saved("reward_model", model)
    if file != Path("-"):
        require_source(file)
    if out != Path("-"):
        require_file_name(out, [model, file])
        require_ending(out)
    given = parse_settings(settings or [], needs_labels=False)

    from westofn.scoring.rows import Faults
    from westofn.scoring.run import score_file

    dropped = Faults() if "drop" in (bad_rows, given.bad_rows) else None
    scored = score_file(file, model, out, batch, given.columns or Columns(), dropped)
    message = f"scored {scored.rows:,} {'row' if scored.rows == 1 else 'rows'}"
    if scored.beyond_limit:
        message += (
            f"; {scored.beyond_limit:,} with a response beyond the model's limit (beyond_limit)"
        )
    if scored.unscored.count:
        message += (
            f"; {scored.unscored.count:,} not scored (null), the first: {scored.unscored.first}"
        )
    if dropped and dropped.count:
        message += f"; {dropped.count:,} dropped, which cannot be read, the first: {dropped.first}"
    typer.echo(message, err=True)


@app.command()
def bench(
    model: Annotated[Path, typer.Argument(help="folder of a reward model, e.g. data/loop/k1/rm")],
    files: Annotated[list[Path], typer.Argument(help="files of benchmarks (docs/bench.md)")],
    form: Annotated[
        Literal[
            "auto",
            "rewardbench",
            "rewardbench2",
            "rm-bench",
            "judgebench",
            "llmbar",
            "best-of-k",
            "preferences",
        ],
        typer.Option("--format", help="what the files are; auto: recognised by their columns"),
    ] = "auto",
    out: Annotated[
        Path | None, typer.Option(help=".json: results in reward-bench's form, and intervals")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(help=".jsonl or .parquet: the scores of every row")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="responses per forward pass")] = 512,
    settings: Annotated[
        list[str] | None,
        typer.Option("-S", "--set", help="prepare.columns.NAME=PATH, for preferences"),
    ] = None,
    bad_rows: Annotated[
        Literal["refuse", "drop"], typer.Option(help="rows that cannot be read; drop: counted")
    ] = "refuse",
) -> None:
    """Evaluate a reward model on RewardBench, RM-Bench, JudgeBench, LLMBar, best of k or pairs.

    Scores come with 95 % intervals, beside the longest response, the shortest one and chance.
    Responses are not trimmed; rows that are too long or cannot be read are counted.
    """
    from westofn.artifacts.json_file import write_json
    from westofn.artifacts.targets import require_file_name
    from westofn.bench.files import require_endings, results_record, write_scores
    from westofn.preflight.inputs import require_saved
    from westofn.sources.column_settings import parse_settings
    from westofn.sources.reading import require_source

    require_saved("reward_model", model)
    for file in files:
        require_source(file)
    require_endings(out, scores)
    for path in filter(None, (out, scores)):
        require_file_name(path, [model, *files])
    given = parse_settings(settings or [])

    from westofn.bench.formats import ReadOptions
    from westofn.bench.run import evaluate, read_files
    from westofn.bench.show import print_outcome
    from westofn.models.ensemble import load_reward_models
    from westofn.runtime import load_runtime, set_up_torch

    treatment: Literal["refuse", "drop"] = (
        "drop" if "drop" in (bad_rows, given.bad_rows) else "refuse"
    )
    options = ReadOptions(None if form == "auto" else form, given.columns, treatment)
    read = read_files(files, options)
    if out and len(read) > 1:
        titles = ", ".join(benchmark.title for benchmark, _ in read)
        raise ParameterError(
            f"--out takes one benchmark, the files hold {titles}; give one of them"
        )
    ensemble = load_reward_models(model, set_up_torch(load_runtime()))
    outcomes = [evaluate(ensemble, benchmark, parts, batch) for benchmark, parts in read]
    for outcome in outcomes:
        print_outcome(outcome, console())
    if out:
        write_json(results_record(outcomes[0], model, ensemble), out)
    if scores:
        write_scores(outcomes, scores)


@app.command()
def serve(
    model: Annotated[Path, typer.Argument(help="folder of a reward model, e.g. data/loop/k1/rm")],
    name: Annotated[str, typer.Option(help="name in requests and answers; default: DIR")] = "",
    host: Annotated[str, typer.Option(help="address of this machine")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one")] = 8000,
    key_variable: Annotated[
        str, typer.Option(help="environment variable of a key that requests must bear")
    ] = "",
    tokens: Annotated[int, typer.Option(min=1, help="tokens to score together")] = 65536,
    wait_ms: Annotated[
        float, typer.Option(min=0, help="longest wait for further requests, milliseconds")
    ] = 3.0,
    max_open: Annotated[int, typer.Option(min=1, help="open requests; more get 503")] = 256,
    max_rows: Annotated[int, typer.Option(min=1, help="responses in a request")] = 1024,
    max_bytes: Annotated[int, typer.Option(min=1, help="largest body")] = 16 * 2**20,
    too_long: Annotated[
        Literal["refuse", "score"],
        typer.Option(help="rows beyond the limits of training; score: as `score` does, marked"),
    ] = "refuse",
) -> None:
    """Serve the rewards of a saved model until Ctrl-C or SIGTERM (docs/serving.md)."""
    from westofn.packages import require_extra
    from westofn.preflight.inputs import require_saved
    from westofn.serving.start import key_of, listening_socket

    require_extra("serve", "serve")
    key = key_of(key_variable)
    require_saved("reward_model", model)
    with listening_socket(host, port) as listener:
        from westofn.serving.batching import BatchLimits
        from westofn.serving.run import Settings, serve_model

        limits = BatchLimits(tokens, wait_ms / 1000, max_open)
        settings = Settings(model, name or str(model), limits, max_rows, max_bytes, too_long)
        serve_model(settings, listener, key, _say)


def _say(line: str) -> None:
    """Print a line at once, also where stdout is a pipe."""
    typer.echo(line)
    sys.stdout.flush()


@app.command()
def study(
    seeds: Annotated[int, typer.Option(min=1, help="number of seeds")] = 9,
    first_seed: Annotated[
        int, typer.Option(min=0, help="first seed; 0 to 8 were used to explore conditions")
    ] = 9,
    ablation_seeds: Annotated[
        int, typer.Option(min=0, help="number of first seeds that also run the ablations")
    ] = 3,
    jobs: Annotated[int, typer.Option(min=1, help="experiments at a time")] = os.cpu_count() or 1,
    out: Annotated[Path, typer.Option(help="file for the records")] = Path("study.json"),
    page: Annotated[Path, typer.Option(help="file for the tables")] = Path("docs/results.md"),
    html: Annotated[Path, typer.Option(help="file for the figures")] = Path(
        "runs/study/study.html"
    ),
    readme: Annotated[Path, typer.Option(help="file whose results block is written")] = Path(
        "README.md"
    ),
) -> None:
    """Run the paper's comparisons over several seeds, and its ablations over the first seeds."""
    from westofn.params.whole import load_params
    from westofn.study.pages.readme import with_block
    from westofn.study.run import Plan, run_study

    params = load_params()
    with_block(readme, "")  # checks the file before hours of work
    plan = Plan(range(first_seed, first_seed + seeds), ablation_seeds)
    prepare = params.prepare
    world = prepare.world.model_dump() if prepare.source == "world" else {}
    written = run_study(plan, params.loop, world, jobs, out, console())
    _write_pages(written, page, html, readme, [out])


@app.command()
def pages(
    study: Annotated[Path, typer.Argument(help="file of `study`")] = Path("study.json"),
    page: Annotated[Path, typer.Option(help="file for the tables")] = Path("docs/results.md"),
    html: Annotated[Path, typer.Option(help="file for the figures")] = Path(
        "runs/study/study.html"
    ),
    readme: Annotated[Path, typer.Option(help="file whose results block is written")] = Path(
        "README.md"
    ),
    data: Annotated[Path, typer.Option(help="file whose table of known sets is written")] = Path(
        "docs/data.md"
    ),
) -> None:
    """Rewrite the results page, the page of figures, README's results and the known sets."""
    from westofn.artifacts.atomic import write_bytes
    from westofn.sources.known_page import END, START, known_sets_table
    from westofn.study.pages.readme import with_block
    from westofn.study.records import read_study

    written = [data] if data.is_file() else []
    for path in written:
        write_bytes(with_block(path, known_sets_table(), START, END).encode(), path)
    _write_pages(read_study(study), page, html, readme, written)


def _write_pages(study: Study, page: Path, html: Path, readme: Path, written: list[Path]) -> None:
    from westofn.artifacts.atomic import write_bytes
    from westofn.params.whole import load_params
    from westofn.study.pages.html import write_study_page
    from westofn.study.pages.readme import MAP_FIGURE, results_block, with_block
    from westofn.study.pages.results import results_page

    write_bytes(results_page(study.seeds, study.runs).encode(), page)
    write_study_page(study, html)
    figure = MAP_FIGURE if (readme.parent / MAP_FIGURE).is_file() else ""
    default = load_params(Path(__file__).parent / "presets" / "world.yaml").prepare.world
    block = results_block(study, default.model_dump(), figure)
    write_bytes(with_block(readme, block).encode(), readme)
    files = ", ".join(map(str, [*written, page, html, readme]))
    console().print(f"written: {files}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def preset(
    name: Annotated[str, typer.Argument(help="preset; without it, presets are listed")] = "",
    listed: Annotated[bool, typer.Option("--list", help="list presets")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only print the changes")] = False,
    force: Annotated[bool, typer.Option("--force", help="overwrite an edited params.yaml")] = False,
) -> None:
    """Write params.yaml for the paper's data, or for your own data.

    A params.yaml that no preset wrote is only overwritten with --force. `preset world` restores
    the default.
    """
    from westofn.params.file import PARAMS_FILE
    from westofn.presets.apply import missing_data, print_changes, print_presets, write_preset
    from westofn.presets.catalogue import preset_named

    terminal = console()
    if listed and name:
        raise ParameterError(f"--list takes no NAME, found {name!r}; remove one of them")
    if not name and (dry_run or force):
        raise ParameterError("--dry-run and --force need a NAME; `preset` alone lists them")
    if not name:
        print_presets(terminal)
        return
    chosen = preset_named(name)
    if dry_run:
        print_changes(chosen, PARAMS_FILE, terminal)
        message = f"dry run, {PARAMS_FILE} is unchanged"
    elif write_preset(chosen, PARAMS_FILE, force=force):
        message = f"written to {PARAMS_FILE}; meant for {chosen.hardware}; see docs/presets.md"
    else:
        message = f"{PARAMS_FILE} has these values already"
    for text in (f"{chosen.name}: {message}", *missing_data(chosen)):
        terminal.print(text, markup=False, highlight=False)


@tune.command("filter")
def tune_filter(
    quantiles: Annotated[
        str, typer.Option(help="values of filter.quantile, comma-separated")
    ] = "0,0.25,0.5,0.75,0.9",
    likelihood_quantiles: Annotated[
        str, typer.Option(help="values of filter.likelihood_quantile, comma-separated")
    ] = "0,0.1,0.25",
    iteration: Annotated[str, typer.Option(help="iteration of the student")] = "k1",
    jobs: Annotated[int, typer.Option(min=1, help="experiments at a time, one thread each")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="do not write params.yaml")] = False,
) -> None:
    """Choose the filter's quantiles by the student's validation accuracy, as in the paper.

    Runs every combination, and no filter, as DVC experiments up to the student; no test metric is
    computed. Writes the best combination to params.yaml. Ties are decided by the calibrated
    validation loss, then by the number of kept pairs. Earlier results come from DVC's cache.
    """
    from westofn.params.file import PARAMS_FILE
    from westofn.params.whole import load_params
    from westofn.tuning.filter import print_tuned, try_settings
    from westofn.tuning.grid import grid, parse_quantiles
    from westofn.tuning.params_file import set_values

    settings = grid(
        parse_quantiles(quantiles, "--quantiles"),
        parse_quantiles(likelihood_quantiles, "--likelihood-quantiles"),
    )
    known = load_params().loop
    if iteration not in known:
        raise ParameterError(f"--iteration: {iteration!r} is none of {', '.join(known)} (loop)")
    terminal = console()
    tuned = try_settings(settings, iteration, jobs, terminal)
    print_tuned(tuned, terminal)
    winner = tuned.winner.setting
    if dry_run:
        message = "dry run, params.yaml is unchanged"
    elif set_values(PARAMS_FILE, winner.parameters):
        message = "written to params.yaml; `dvc repro` takes this student from the cache"
    else:
        message = "params.yaml has these values already"
    terminal.print(f"{winner}: {message}", markup=False, highlight=False)


@export.command("pairs")
def export_pairs(
    out: Annotated[Path, typer.Argument(help=".jsonl or .parquet; README.md goes next to it")],
    iteration: Annotated[str, typer.Option(help="iteration of the synthetic pairs")] = "k1",
    form: Annotated[
        Literal["explicit", "implicit", "conversational"], typer.Option(help="TRL format")
    ] = "explicit",
    include: Annotated[
        Literal["synthetic", "mixed"], typer.Option(help="mixed: also the human pairs (D_L)")
    ] = "synthetic",
    data: Annotated[Path, typer.Option(help="the pipeline's outputs")] = Path("data"),
    license: License = None,  # noqa: A002 (the name of the option)
    push: Push = None,
    public: Public = False,
) -> None:
    """Write an iteration's preference pairs for TRL, with a dataset card.

    explicit has columns prompt, chosen and rejected; implicit has chosen and rejected, both with
    the prompt; conversational has lists of messages.
    """
    target = _target(push, "dataset", public)
    from westofn.exporting.pairs import export_pairs

    exported = export_pairs(
        out, data=data, iteration=iteration, form=form, include=include, license=license
    )
    counts = ", ".join(f"{count:,} {source}" for source, count in exported.counts.items())
    typer.echo(f"written: {out} ({counts}), {exported.card}", err=True)
    if exported.split_elsewhere is not None:
        typer.echo(
            f"DPOTrainer of TRL finds another prompt in {exported.split_elsewhere:,} of "
            f"{sum(exported.counts.values()):,} implicit pairs, see {exported.card}; --form "
            "explicit and conversational are exact",
            err=True,
        )
    _push(target, {path.name: path for path in (out, exported.card)}, out)


@export.command("rm")
def export_rm(
    out: Annotated[Path, typer.Argument(help="folder; an earlier export in it is replaced")],
    model: Annotated[Path, typer.Option(help="folder of a reward model")] = Path("data/loop/k1/rm"),
    metrics: Annotated[
        Path | None, typer.Option(help="metrics.json of eval; default: looked up in dvc.lock")
    ] = None,
    license: License = None,  # noqa: A002 (the name of the option)
    push: Push = None,
    public: Public = False,
) -> None:
    """Export a reward model with a model card."""
    from westofn.exporting.cards import check_folder
    from westofn.preflight.inputs import require_saved

    require_saved("reward_model", model)
    check_folder(out, [model])
    target = _target(push, "model", public)
    from westofn.exporting.reward_model import export_reward_model

    export_reward_model(out, model=model, metrics=metrics, license=license)
    typer.echo(f"written: {out}", err=True)
    _push_folder(target, out)


@export.command("policy")
def export_policy(
    out: Annotated[Path, typer.Argument(help="folder; an earlier export in it is replaced")],
    model: Annotated[Path, typer.Option(help="folder of a policy")] = Path("data/loop/k1/policy"),
    license: License = None,  # noqa: A002 (the name of the option)
    push: Push = None,
    public: Public = False,
) -> None:
    """Export a policy as a folder that plain transformers loads, with a model card."""
    from westofn.exporting.cards import check_folder
    from westofn.preflight.inputs import require_saved

    require_saved("policy", model)
    check_folder(out, [model])
    target = _target(push, "model", public)
    from westofn.exporting.policy import export_policy

    export_policy(out, model=model, license=license)
    typer.echo(f"written: {out}", err=True)
    _push_folder(target, out)


def _target(name: str | None, kind: Literal["model", "dataset"], public: bool) -> Target | None:
    """Return the repository of --push, before anything is exported; None: there is no --push."""
    if name is None:
        if public:
            raise ParameterError("--public needs --push, a name on the hub; leave out --public")
        return None
    from westofn.exporting.push import target_of

    return target_of(name, kind, public=public)


def _push_folder(target: Target | None, out: Path) -> None:
    files = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    _push(target, files, out)


def _push(target: Target | None, files: Mapping[str, Path], place: Path) -> None:
    """Push an export to the repository of --push, if there is one."""
    if target is None:
        return
    from westofn.exporting.push import push

    pushed = push(target, files, place)
    for remark in pushed.remarks:
        typer.echo(f"the hub remarks: {remark}", err=True)
    typer.echo(f"pushed: {pushed.address} ({target.visibility})", err=True)


@export.command("questions")
def export_questions(
    out: Annotated[Path, typer.Argument(help="folder; an earlier export in it is replaced")],
    count: Annotated[int, typer.Option(min=1, help="largest number of questions")] = 100,
    iteration: Annotated[str, typer.Option(help="iteration of the candidates")] = "k1",
    a_prompt: Annotated[int, typer.Option(min=1, help="most questions per prompt")] = 1,
    prompts: Annotated[int, typer.Option(min=1, help="most prompts of D_U to consider")] = 400,
    data: Annotated[Path, typer.Option(help="the pipeline's outputs")] = Path("data"),
) -> None:
    """Choose the most informative pairs of the policy's responses for human labelling.

    Writes questions.jsonl and label.html, an offline page. Give the file that the page downloads
    to `prepare` as prepare.answers_path.
    """
    from westofn.exporting.cards import check_folder
    from westofn.params.whole import load_params
    from westofn.preflight.inputs import require_saved

    params = load_params()
    require_saved("policy", data / "loop" / "k0" / "policy")
    check_folder(out, [data])
    from westofn.exporting.questions import PAGE, export_questions

    questions = export_questions(
        out,
        params=params,
        data=data,
        iteration=iteration,
        count=count,
        a_prompt=a_prompt,
        prompts=prompts,
    )
    typer.echo(
        f"written: {out} ({len(questions):,} questions); label them in {out / PAGE}", err=True
    )


def _git() -> tuple[bool, str, str]:
    """Check whether DVC experiments work in this folder."""
    if shutil.which("git") is None:
        return False, "git", "not installed, but DVC experiments need it: install git"
    shallow = subprocess.run(
        ["git", "rev-parse", "--is-shallow-repository"],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    ).stdout.strip()
    mend = {
        "false": "full clone",
        "true": "a shallow clone loses queued and --temp experiments: run `git fetch --unshallow`",
    }
    return shallow == "false", "git", mend.get(shallow, "not a git repository: clone it with git")


def main() -> None:
    """Run a command; print an expected error as one line and exit with code 2."""
    run_app(app, "westofn")


if __name__ == "__main__":
    main()
