"""Hardware settings: the environment wins over the file, and what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from westofn.errors import ParameterError
from westofn.runtime import Runtime, load_runtime, set_up_torch

NAMES = ("WESTOFN_DEVICE", "WESTOFN_MICRO_BATCH", "OMP_NUM_THREADS")
REPORTS = ("WESTOFN_REPORT_TO", "WESTOFN_RUN_NAME")
RAY = ("WESTOFN_EXECUTOR", "WESTOFN_RAY_ADDRESS", "WESTOFN_RAY_WORKERS")
SWITCH = "WESTOFN_GRADIENT_CHECKPOINTING"
JUDGE = (
    "WESTOFN_JUDGE_URL",
    "WESTOFN_JUDGE_KEY_VARIABLE",
    "WESTOFN_JUDGE_WORKERS",
    "WESTOFN_JUDGE_TIMEOUT",
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, *JUDGE, *REPORTS, *RAY, SWITCH):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "runtime.toml"
    path.write_text('device = "cpu"\nmicro_batch = 4\nthreads = 2\n')
    return path


def test_without_a_file_or_environment_all_is_default(tmp_path: Path) -> None:
    assert load_runtime(tmp_path / "none.toml") == Runtime("", 0, 0)


def test_the_file_is_read(file: Path) -> None:
    assert load_runtime(file) == Runtime("cpu", 4, 2)


def test_the_environment_wins_over_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(NAMES, ("cuda:1", "0", "7"), strict=True):
        monkeypatch.setenv(name, value)
    assert load_runtime(file) == Runtime("cuda:1", 0, 7)


def test_the_judge_s_server_is_a_setting_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runtime.toml"
    path.write_text(
        'judge_url = "http://a/v1"\njudge_key_variable = "KEY_A"\n'
        "judge_workers = 2\njudge_timeout = 5\n"
    )
    assert load_runtime(path) == Runtime("", 0, 0, "http://a/v1", "KEY_A", 2, 5)
    for name, value in zip(JUDGE, ("http://b/v1", "KEY_B", "3", "7"), strict=True):
        monkeypatch.setenv(name, value)
    assert load_runtime(path) == Runtime("", 0, 0, "http://b/v1", "KEY_B", 3, 7)


def test_ray_is_a_setting_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runtime.toml"
    path.write_text(
        'executor = "ray"\nray_address = "a:6379"\nray_workers = 4\nray_gpus_per_worker = 2\n'
    )
    assert load_runtime(tmp_path / "none.toml").executor == "local"
    assert load_runtime(path) == Runtime(
        executor="ray", ray_address="a:6379", ray_workers=4, ray_gpus_per_worker=2
    )
    values = {"EXECUTOR": "local", "RAY_ADDRESS": "b:1", "RAY_WORKERS": "8"}
    for name, value in values.items():
        monkeypatch.setenv(f"WESTOFN_{name}", value)
    assert load_runtime(path) == Runtime(ray_address="b:1", ray_workers=8, ray_gpus_per_worker=2)


def test_vllm_is_a_setting_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runtime.toml"
    path.write_text('vllm_python = "a/python"\nvllm_memory = 60\nvllm_gpus = 2\n')
    assert load_runtime(path) == Runtime(vllm_python="a/python", vllm_memory=60, vllm_gpus=2)
    for name, value in {"PYTHON": "b/python", "MEMORY": "50", "GPUS": "4"}.items():
        monkeypatch.setenv(f"WESTOFN_VLLM_{name}", value)
    assert load_runtime(path) == Runtime(vllm_python="b/python", vllm_memory=50, vllm_gpus=4)


def test_reports_are_a_setting_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runtime.toml"
    path.write_text('report_to = ["tensorboard", "wandb"]\nrun_name = "seed 3"\n')
    assert load_runtime(path) == Runtime(report_to=("tensorboard", "wandb"), run_name="seed 3")
    monkeypatch.setenv("WESTOFN_REPORT_TO", "mlflow, trackio")
    monkeypatch.setenv("WESTOFN_RUN_NAME", "b")
    assert load_runtime(path) == Runtime(report_to=("mlflow", "trackio"), run_name="b")


@pytest.mark.parametrize(
    ("content", "variable", "on"),
    [
        ("", "", False),
        ("gradient_checkpointing = true", "", True),
        ("gradient_checkpointing = true", "false", False),
        ("gradient_checkpointing = false", "1", True),
    ],
)
def test_gradient_checkpointing_is_a_switch(
    content: str, variable: str, on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runtime.toml"
    path.write_text(content)
    monkeypatch.setenv(SWITCH, variable)
    assert load_runtime(path).gradient_checkpointing is on


@pytest.mark.parametrize("value", ["2", '"yes"'])
def test_a_switch_is_true_or_false(value: str, tmp_path: Path) -> None:
    path = tmp_path / "runtime.toml"
    path.write_text(f"gradient_checkpointing = {value}")
    with pytest.raises(ParameterError, match=r"gradient_checkpointing is .*, needs true or false"):
        load_runtime(path)


@pytest.mark.parametrize(
    ("content", "variable", "strategy"),
    [("", "", "ddp"), ('strategy = "fsdp"', "", "fsdp"), ('strategy = "fsdp"', "ddp", "ddp")],
)
def test_a_strategy_is_one_of_two(
    content: str, variable: str, strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runtime.toml"
    path.write_text(content)
    monkeypatch.setenv("WESTOFN_STRATEGY", variable)
    assert load_runtime(path).strategy == strategy
    monkeypatch.setenv("WESTOFN_STRATEGY", "zero")
    with pytest.raises(ParameterError, match="strategy is 'zero', needs ddp or fsdp"):
        load_runtime(path)


def test_an_empty_variable_is_as_good_as_none(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "")
    assert load_runtime(file) == Runtime("cpu", 4, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("micro_bach = 3", r"micro_bach is no setting; known: device, micro_batch, threads"),
        ("judge_key = 'sk-1'", r"judge_key is no setting; known: .*judge_key_variable"),
        ("judge_workers = 'many'", r"judge_workers is 'many', needs a whole number"),
        ("micro_batch = -1", r"micro_batch is -1, needs a whole number ≥ 0"),
        ("micro_batch = 2.5", r"micro_batch is 2\.5, needs a whole number"),
        ("threads = true", r"threads is True, needs a whole number"),
        ("threads = [2]", r"threads is \[2\], needs a whole number"),
        ("threads = ", r"is not valid TOML"),
        ("executor = 'dask'", r"executor is 'dask', needs local or ray$"),
        ("report_to = 'wandb'", r"report_to is 'wandb', needs a list of names such as"),
        ("report_to = [1]", r"report_to is \[1\], needs a list of names such as"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "runtime.toml"
    path.write_text(content)
    with pytest.raises(ParameterError, match=message) as caught:
        load_runtime(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["four", "-1", "2.0", "²"])
def test_a_bad_variable_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WESTOFN_MICRO_BATCH", value)
    with pytest.raises(ParameterError, match=rf"environment: micro_batch is '{value}'"):
        load_runtime()


def test_torch_takes_the_threads_and_the_device_asked_for() -> None:
    before = torch.get_num_threads()
    try:
        for threads in (3, 2):
            assert set_up_torch(Runtime(device="cpu", threads=threads)) == "cpu"
            assert torch.get_num_threads() == threads
        assert set_up_torch(Runtime()) == ("cuda" if torch.cuda.is_available() else "cpu")
    finally:
        torch.set_num_threads(before)


def test_a_cpu_computes_with_one_thread_unless_told_otherwise() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert set_up_torch(Runtime(device="cpu")) == "cpu"
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("value", "threads"), [("4,2", 4), (" 3 , 1", 3), ("2", 2), ("", 0)])
def test_the_first_number_of_nested_threads_counts(
    value: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert load_runtime().threads == threads


@pytest.mark.parametrize("value", ["x", "4;2", ",2"])
def test_threads_that_are_no_number_are_refused(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    with pytest.raises(ParameterError, match=r"environment: threads is '.*', needs a whole number"):
        load_runtime()


@pytest.mark.parametrize("device", ["gpu", "tpu:0", "cuda:x", "meta"])
def test_a_device_that_torch_does_not_know_is_refused_in_one_line(device: str) -> None:
    with pytest.raises(ParameterError, match=rf"device is '{device}', needs cpu") as caught:
        set_up_torch(Runtime(device=device))
    assert "\n" not in str(caught.value)


def test_a_cuda_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ParameterError, match="device is 'cuda', needs cpu, as torch finds no CUDA"):
        set_up_torch(Runtime(device="cuda"))
