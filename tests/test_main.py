"""`python -m westofn`: summary, show, doctor, study, tune."""

from __future__ import annotations

import errno
import importlib.metadata
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from westofn import __main__ as command
from westofn.artifacts.prompts import PROMPTS
from westofn.execution.experiments import Experiment, ExperimentError
from westofn.params.whole import load_params
from westofn.preflight import disk
from westofn.report import build as report_build
from westofn.report import html as report_html
from westofn.study import run as study_run
from westofn.study.parts import Part
from westofn.study.records import PARTS
from westofn.tuning.choice import Trial, ranked
from westofn.tuning.filter import Tuned
from westofn.tuning.grid import KEEP_ALL, Setting

ARM = {"accuracy": 0.75, "accuracy_low": 0.7, "accuracy_high": 0.8, "on_policy_accuracy": 0.6}
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["westofn", *arguments])
    with pytest.raises(SystemExit) as end:
        command.main()
    return int(end.value.code or 0)


def prompts(count: int = 5) -> pl.DataFrame:
    names = [f"p{index}" for index in range(count)]
    texts = [f"[text] of {name}" for name in names]
    return PROMPTS.frame({"prompt_id": names, "prompt": texts, "split": ["test"] * count})


class TestSummary:
    def test_the_table_and_where_the_report_lies(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("metrics.json").write_text(json.dumps({"hf50": ARM}))
        assert run(monkeypatch, "summary") == 0
        printed = capsys.readouterr().out
        assert "HF50" in printed
        assert "70.0 to 80.0" in printed
        assert str(Path("data/report/report.html").resolve()) in printed

    @pytest.mark.parametrize(
        ("content", "needed"),
        [
            (None, "metrics.json: no such file; rerun report"),
            ("", "metrics.json: the file is empty, needs a JSON object; rerun report"),
            ('{"hf50": ', "metrics.json:1: not JSON"),
            ("[]", "metrics.json: holds a list, needs a JSON object; rerun report"),
            (
                '{"hf50": 0.7}',
                "metrics.json: a value is of another form (hf50 is 0.7, needs an arm's numbers)",
            ),
        ],
        ids=["missing", "empty", "cut short", "a list", "flat"],
    )
    def test_a_bad_file_is_one_line(
        self,
        content: str | None,
        needed: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        if content is not None:
            Path("metrics.json").write_text(content)
        assert run(monkeypatch, "summary") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"westofn: {needed}")


class TestShow:
    def test_the_first_rows_of_a_valid_artifact(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        PROMPTS.write(prompts(), "prompts.parquet")
        assert run(monkeypatch, "show", "prompts.parquet", "--rows", "2") == 0
        printed = capsys.readouterr().out
        assert "prompts.parquet: table prompts, 5 rows, valid" in printed
        assert PROMPTS.description in printed
        assert "[text] of p1" in printed
        assert "[text] of p2" not in printed

    def test_a_broken_artifact_is_one_line(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        prompts().rename({"split": "spilt"}).write_parquet("prompts.parquet")
        assert run(monkeypatch, "show", "prompts.parquet") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("westofn: prompts.parquet: ")
        assert "column split is missing (did you mean spilt?)" in line

    def test_a_file_of_no_table_is_one_line(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(monkeypatch, "show", "promts.parquet") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "no table is called promts (did you mean prompts?)" in line

    def test_a_negative_number_of_rows_is_a_usage_error(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(monkeypatch, "show", "prompts.parquet", "--rows", "-1") == 2
        assert "--rows" in capsys.readouterr().err


class TestDoctor:
    @pytest.fixture(autouse=True)
    def _clone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A root that is well."""
        shutil.copy(ROOT / "params.yaml", "params.yaml")
        Path(".dvc").mkdir()
        Path(".dvc/config").touch()
        subprocess.run(["git", "init", "-q"], check=True)
        monkeypatch.setenv("WESTOFN_DEVICE", "cpu")
        monkeypatch.setattr(disk, "OTHER", 0)

    def test_a_root_that_is_well(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(monkeypatch, "doctor") == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines
        assert all(line.startswith("ok") for line in lines)
        for what in ("Python", "torch", "params.yaml", "runtime.toml", "disk", "device", "git"):
            assert any(what in line for line in lines), what

    def test_the_disk_space_grows_with_the_pretrained_model_and_its_copies(self) -> None:
        """Of 2^28 weights, of which the file has the header alone."""
        header = json.dumps({"w": {"dtype": "F32", "shape": [2**14, 2**14]}}).encode()
        Path("big").mkdir()
        Path("big/model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
        sizes = []
        for rank, learner in ((0, "network"), (0, "linear_head"), (8, "network")):
            defaults = load_params()
            loras = {"lora": defaults.lora.model_copy(update={"rank": rank})}
            update = {
                "sft": {"model": "big", **loras},
                "base_rm": {"learner": learner, **loras},
                "student_rm": {"learner": learner, **loras},
                "rlhf": loras,
            }
            params = defaults.model_copy(
                update={
                    key: getattr(defaults, key).model_copy(update=values)
                    for key, values in update.items()
                }
            )
            sizes.append(disk.disk_need(params).size / 2**30)
        # Policy, RL policy, base model, student and three references, in 4 bytes and twice: 14 GiB.
        # Checkpoints of rl have two networks, 24 bytes a weight: 3 × 6 GiB.
        assert sizes == [14 + 18, 14 + 18, 14]

    def test_weights_that_are_no_safetensors_are_named(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("big").mkdir()
        Path("big/model.safetensors").write_bytes(b"version https://git-lfs")
        text = Path("params.yaml").read_text().replace("  model: scratch ", "  model: big ", 1)
        Path("params.yaml").write_text(text)
        assert run(monkeypatch, "doctor") == 2
        assert "big/model.safetensors is damaged" in " ".join(capsys.readouterr().out.split())

    def test_every_ailment_is_named_at_once(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("params.yaml").unlink()
        Path("runtime.toml").write_text("devise = 1\n")
        monkeypatch.setattr(disk, "OTHER", 2**70)
        shutil.rmtree(".dvc")
        shutil.rmtree(".git")
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", "/")
        version = importlib.metadata.version

        def without_dvc(name: str) -> str:
            if name == "dvc":
                raise importlib.metadata.PackageNotFoundError(errno.ENOENT)
            return version(name)

        monkeypatch.setattr(importlib.metadata, "version", without_dvc)
        assert run(monkeypatch, "doctor") == 2
        captured = capsys.readouterr()
        ailing = [line for line in captured.out.splitlines() if line.startswith("no ")]
        for what in ("dvc ", "params.yaml", "runtime.toml", "disk", "device", "DVC", "git"):
            assert any(line[3:].strip().startswith(what) for line in ailing), what
        assert any("not a git repository" in line for line in ailing)
        assert captured.err == ""

    def test_a_machine_without_git_is_told_to_install_it(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("PATH", "")
        assert run(monkeypatch, "doctor") == 2
        assert "install git" in capsys.readouterr().out


class TestStudy:
    OUT = ("--page", "results.md", "--html", "study.html", "--first-seed", "0")

    @pytest.fixture(autouse=True)
    def _experiments(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A root, and experiments that end in the reverse of their order; seed 7 fails."""
        shutil.copy(ROOT / "params.yaml", "params.yaml")
        monkeypatch.setattr(report_html, "drawing_library", lambda: "")
        monkeypatch.setattr(report_build, "figure_png", lambda figure: b"png")
        Path("README.md").write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
        self.asked: list[Experiment] = []
        self.read: list[tuple[str, str]] = []
        self.jobs = 0

        def run_all(
            experiments: list[Experiment], jobs: int, finished: Callable[[Experiment, str], None]
        ) -> None:
            self.asked, self.jobs = list(experiments), jobs
            for experiment in reversed(self.asked):
                if experiment.settings["seed"] == 7:
                    raise ExperimentError("experiment data-7: dvc ended with exit code 255")
                finished(experiment, f"revision of {experiment.name}")

        def read_output(revision: str, path: str) -> bytes:
            self.read.append((revision.removeprefix("revision of "), path))
            accuracy = 0.7 + int(revision.split("-")[-1]) / 100
            if path == "metrics.json":
                return json.dumps({"hf50": {"accuracy": accuracy}}).encode()
            arms = {"hf50": {"accuracy": accuracy}} if path == "data/study/baselines.json" else {}
            return json.dumps({"arms": arms, "tables": {}}).encode()

        monkeypatch.setattr(study_run, "run_all", run_all)
        monkeypatch.setattr(study_run, "read_output", read_output)

    def study(self, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
        return run(monkeypatch, "study", *self.OUT, *arguments)

    def test_all_seeds_are_written_in_order(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.study(monkeypatch, "--seeds", "3", "--jobs", "2") == 0
        assert self.jobs == 2
        found = json.loads(Path("study.json").read_text())
        assert found["seeds"] == [0, 1, 2]
        accuracies = [seed["arms"]["baselines"]["hf50"]["accuracy"] for seed in found["runs"]]
        assert accuracies == [0.7, 0.71, 0.72]
        assert [seed["main"]["hf50"]["accuracy"] for seed in found["runs"]] == accuracies
        printed = capsys.readouterr().out
        assert "seed 2 done, 1 of 3" in printed
        assert "first-2 done" in printed
        assert "written: study.json, results.md, study.html, README.md" in printed
        world = load_params().prepare.world
        assert found["world"] == world.model_dump()

    def test_the_page_stands_beside_the_records(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.study(monkeypatch, "--seeds", "3") == 0
        page = Path("results.md").read_text()
        assert "`python -m westofn study --first-seed 0 --seeds 3`" in page
        assert "| HF50 | 71.0 ± 2.5 |" in page  # 4.303 × 1 / sqrt(3)
        readme = Path("README.md").read_text()
        assert readme.startswith("before\n<!-- results -->\nThree seeds (0 to 2)")
        assert "| HF50 | 71.0 ± 2.5 |" in readme
        assert readme.endswith("\n<!-- /results -->\nafter\n")
        assert "The default world is one for which the method is meant" in readme

    def test_pages_are_written_again_from_the_records(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.study(monkeypatch, "--seeds", "2") == 0
        names = ("results.md", "study.html", "README.md")
        made = [Path(name).read_text() for name in names]
        Path("results.md").unlink()
        Path("study.html").unlink()
        Path("README.md").write_text(made[2].replace("| HF50 |", "| edited |"))
        Path("docs").mkdir()
        Path("docs/data.md").write_text(
            "a\n<!-- known sets -->\nthe table before\n<!-- /known sets -->\nb\n"
        )
        assert run(monkeypatch, "pages", *self.OUT[:4]) == 0
        assert [Path(name).read_text() for name in names] == made
        data = Path("docs/data.md").read_text()
        assert "| PKU-SafeRLHF | PKU-Alignment/PKU-SafeRLHF<br>" in data
        assert "the table before" not in data

    def test_a_readme_without_the_block_is_refused_before_anything_runs(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("README.md").write_text("no block")
        assert self.study(monkeypatch) == 2
        assert "README.md: needs one <!-- results -->" in capsys.readouterr().err
        Path("README.md").unlink()
        assert self.study(monkeypatch) == 2
        assert "README.md: no such file" in capsys.readouterr().err
        assert self.asked == []

    def test_reported_seeds_are_not_those_of_the_exploration(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert run(monkeypatch, "study", *self.OUT[:4]) == 0
        assert json.loads(Path("study.json").read_text())["seeds"] == list(range(9, 18))
        assert "`make study`" in Path("results.md").read_text()

    def test_the_first_seeds_alone_run_the_ablations(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.study(monkeypatch, "--seeds", "4", "--ablation-seeds", "1") == 0
        names = [one.name for one in self.asked]
        assert {f"{group}-0" for group in ("first", *study_run.GROUPS)} <= {*names}
        assert [name for name in names if not name.endswith("-0")] == [
            f"{group}-{seed}" for seed in (1, 2, 3) for group in ("first", "baselines")
        ]
        runs = json.loads(Path("study.json").read_text())["runs"]
        assert [set(one["arms"]) for one in runs] == [set(PARTS)] + [{"baselines"}] * 3
        assert [bool(one["main"]) for one in runs] == [True, False, False, False]
        page = Path("results.md").read_text()
        assert page.count("1 of 4 seeds.") == 1  # the main pipeline's; other stubs have no rows
        assert self.study(monkeypatch, "--seeds", "1", "--ablation-seeds", "0") == 0
        assert [one.name for one in self.asked] == ["first-0", "baselines-0"]

    def test_a_seed_is_what_its_parts_read_and_then_the_parts(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.study(monkeypatch, "--seeds", "1") == 0
        first, *parts = self.asked
        assert "study/dvc.yaml:study_judge" in first.targets
        after = {part.name: part.after for part in parts}
        assert after.pop("bases-0") == (first.name, "main-0")  # it reads the students
        assert {*after.values()} == {(first.name,)}
        rounds = {"loop.k1": "{prev: k0}", "+loop.k2": "{prev: k1}", "+loop.k3": "{prev: k2}"}
        for experiment in self.asked:
            stops = {key: experiment.settings[key] for key in experiment.settings if "stop" in key}
            assert stops == {
                f"won_select.stop.{name}": 0.0
                for name in ("agreement", "spread", "distinct", "length")
            }  # a round that the loop would end is measured
            assert experiment.settings == {
                "seed": 0,
                **rounds,  # params.yaml has k1
                **stops,
                "study/run.yaml:run": "[once]",
                "study/run.yaml:rounds": "[k1, k2, k3]",
            }
            assert experiment.afresh

    def test_every_stage_of_the_study_is_in_one_part_and_the_main_pipeline_too(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.study(monkeypatch, "--seeds", "1") == 0
        targets = [target for part in self.asked[1:] for target in part.targets]
        assert sorted(targets) == sorted(["dvc.yaml", *map(study_run.target, Part)])

    def test_a_file_is_read_from_the_experiment_that_wrote_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.study(monkeypatch, "--seeds", "2") == 0
        where = {path: experiment for experiment, path in self.read if experiment.endswith("-1")}
        targets = {one.name: one.targets for one in self.asked}
        assert "dvc.yaml" in targets[where.pop("metrics.json")]
        for path, experiment in where.items():
            stage = "study_iterations" if "/iterations/" in path else f"study_{Path(path).stem}"
            assert f"study/dvc.yaml:{stage}" in targets[experiment]
        assert {f"data/study/iterations/{name}.json" for name in ("k1", "k2", "k3")} < {*where}

    def test_a_seed_that_fails_is_one_line_and_leaves_the_files(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("study.json").write_text("earlier")
        assert self.study(monkeypatch, "--seeds", "8") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line == "westofn: experiment data-7: dvc ended with exit code 255"
        assert Path("study.json").read_text() == "earlier"
        assert not Path("results.md").exists()

    def test_what_ended_before_a_failure_is_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.study(monkeypatch, "--seeds", "10") == 2
        assert json.loads(Path("study.json").read_text())["seeds"] == [8, 9]

    def test_bad_parameters_are_told_before_anything_runs(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("params.yaml").unlink()
        assert self.study(monkeypatch) == 2
        assert "params.yaml is missing" in capsys.readouterr().err
        assert self.asked == []


class TestTuneFilter:
    SETTINGS = (KEEP_ALL, Setting(0.5, 0.0))

    @pytest.fixture(autouse=True)
    def _trials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A root, and trials in which quantile 0.5 is best."""
        shutil.copy(ROOT / "params.yaml", "params.yaml")
        self.asked: list[tuple[list[Setting], str, int]] = []

        def try_settings(
            settings: list[Setting], iteration: str, jobs: int, console: object
        ) -> Tuned:
            self.asked.append((settings, iteration, jobs))
            trials = [Trial(setting, 9, 0.7 + setting.quantile / 9, 0.6) for setting in settings]
            return Tuned(ranked(trials), 600, False)

        monkeypatch.setattr("westofn.tuning.filter.try_settings", try_settings)

    def tune(self, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
        return run(monkeypatch, "tune", "filter", *arguments)

    def test_the_winner_goes_into_params_yaml(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        options = ("--quantiles", "0,0.5", "--likelihood-quantiles", "0", "--jobs", "3")
        assert self.tune(monkeypatch, *options) == 0
        assert self.asked == [(list(self.SETTINGS), "k1", 3)]
        assert load_params().filter.quantile == 0.5
        printed = capsys.readouterr().out
        assert "600 validation pairs" in printed
        assert "within noise" not in printed  # 5.6 points, ±5.1
        assert "quantile 0.5, likelihood quantile 0: written to params.yaml" in printed

    def test_a_second_time_there_is_nothing_to_write(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for _ in range(2):
            assert self.tune(monkeypatch, "--quantiles", "0.5") == 0
        assert "params.yaml has these values already" in capsys.readouterr().out

    def test_a_dry_run_writes_nothing(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.tune(monkeypatch, "--dry-run") == 0
        assert Path("params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()
        assert "dry run" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("arguments", "needed"),
        [
            (("--quantiles", "0,1.5"), "--quantiles: 1.5 is out of range"),
            (("--likelihood-quantiles", "a"), "--likelihood-quantiles: 'a' in 'a' is not"),
            (("--iteration", "k7"), "--iteration: 'k7' is none of k1"),
        ],
    )
    def test_a_bad_option_is_one_line_and_runs_nothing(
        self,
        arguments: tuple[str, ...],
        needed: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert self.tune(monkeypatch, *arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"westofn: {needed}")
        assert self.asked == []

    def test_bad_parameters_are_told_before_anything_runs(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = Path("params.yaml").read_text()
        Path("params.yaml").write_text(text.replace("seed: 0", "seed: -1"))
        assert self.tune(monkeypatch) == 2
        assert "seed is -1" in capsys.readouterr().err
        assert self.asked == []

    def test_no_jobs_is_a_usage_error(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.tune(monkeypatch, "--jobs", "0") == 2
        assert "--jobs" in capsys.readouterr().err


def test_help_imports_neither_dvc_nor_torch() -> None:
    code = (
        "import sys; sys.argv = ['westofn', '--help']\n"
        "from westofn.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*sorted({'dvc', 'torch', 'polars', 'pydantic'} & set(sys.modules)), 'loaded')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "tune" in done.stdout
    assert done.stdout.splitlines()[-1].split() == ["loaded"]


def test_no_command_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch) == 2
    assert "Missing command" in capsys.readouterr().err
