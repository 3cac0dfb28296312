"""Shards over Ray: the bytes of a local run, whatever happens to workers and machines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from transformers import PreTrainedTokenizerFast

from tests.judging.stub_server import Reply, serve
from tests.judging.test_build import params
from tests.judging.test_llm import tiny
from tests.optional.ray_jobs import NAMES, run
from tests.pairing.files import pool_file
from tests.small_models import PROMPTS, RESPONSES
from westofn.artifacts.pools import Pools
from westofn.errors import DataError, ParameterError, WestofnError
from westofn.execution.ray_shards import QUIET, RETRIES
from westofn.generation import file, sample_pools, server
from westofn.generation.file import score_shards
from westofn.generation.sample_pools import Draw, sample_pool
from westofn.generation.server import ServerSampler, sampling_server
from westofn.judging.build import judge_of_shards
from westofn.judging.shards import judge_in_shards
from westofn.models.policy import Policy, SavedPolicy, save_policy
from westofn.pairing import select
from westofn.pairing.teacher import SavedTeacher
from westofn.runtime import Runtime
from westofn.text.tokenizer import save_tokenizer

os.environ |= QUIET  # before Ray is imported
ray = pytest.importorskip("ray", reason="needs Ray: pip install -e '.[ray]'")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")

ROOT = Path(__file__).resolve().parents[2]
FRAME = pl.DataFrame(
    {
        "prompt_id": [f"p{row}" for row in range(4)],
        "prompt": PROMPTS,
        "split": ["unlabeled"] * 4,
    }
)
LINE = "work: interrupted; no output is half written, run it again"
# A command that works on shards until it is interrupted.
COMMAND = """
import sys
from pathlib import Path
from tests.optional.ray_jobs import run
from westofn.execution.ending import run_to_its_end

sys.exit(run_to_its_end("work", lambda: run(Path("shards"), Path("notes")) and None))
"""


def unasked(errors: str) -> list[str]:
    """Lines of stderr without those of progress, which a slow machine prints."""
    return [line for line in errors.splitlines() if not line.startswith("names: ")]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def begun(notes: Path) -> list[str]:
    return sorted(path.name.split("-")[1] for path in notes.glob("work-*"))


def alive(notes: Path) -> list[Path]:
    """The folders in /proc of workers that have loaded and not ended."""
    folders = [Path("/proc") / path.name.split("-")[1] for path in notes.glob("loaded-*")]
    return [folder for folder in folders if folder.exists() and (folder / "cmdline").read_bytes()]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WESTOFN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


@pytest.fixture
def expected(notes: Path, tmp_path: Path) -> dict[str, bytes]:
    """The shards of a local run, which leaves no notes."""
    run(tmp_path / "local", notes)
    for path in notes.iterdir():
        path.unlink()
    return files(tmp_path / "local")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """Two Ray nodes with one CPU each, on this machine."""
    from ray.cluster_utils import Cluster

    size = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 2**27}
    cluster = Cluster(initialize_head=True, head_node_args=size)
    cluster.add_node(**size)
    yield cluster
    cluster.shutdown()


@pytest.fixture
def two_nodes(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("WESTOFN_EXECUTOR", "ray")
    monkeypatch.setenv("WESTOFN_RAY_ADDRESS", nodes.address)
    return nodes


@pytest.fixture
def two_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers of a Ray that ends with the work."""
    monkeypatch.setenv("WESTOFN_EXECUTOR", "ray")
    monkeypatch.setenv("WESTOFN_RAY_WORKERS", "2")


def test_two_local_workers_write_the_bytes_of_a_local_run(
    expected: dict[str, bytes],
    two_workers: None,
    notes: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    run(tmp_path / "ray", notes)
    assert files(tmp_path / "ray") == expected
    assert begun(notes) == NAMES[::2]
    assert 1 <= len(list(notes.glob("loaded-*"))) <= 2
    assert not (notes / f"loaded-{os.getpid()}").exists()
    assert signal.getsignal(signal.SIGTERM) == handler
    assert not ray.is_initialized()
    out, err = capfd.readouterr()
    assert out == ""
    assert unasked(err) == []


def test_each_of_two_nodes_holds_a_worker(
    expected: dict[str, bytes], two_nodes: Any, notes: Path, tmp_path: Path
) -> None:
    for name in NAMES[:4:2]:  # neither node can do both
        (notes / f"waits-{name}").touch()
    frames: list[pl.DataFrame] = []

    def release() -> None:
        while len(begun(notes)) < 2:
            time.sleep(0.05)
        for name in NAMES[:4:2]:
            (notes / f"waits-{name}").unlink()

    thread = threading.Thread(target=release)
    thread.start()
    frames.append(run(tmp_path / "ray", notes))
    thread.join()
    assert files(tmp_path / "ray") == expected
    assert len(list(notes.glob("loaded-*"))) == 2
    assert frames[0]["prompt_id"].to_list() == NAMES


def test_a_killed_worker_costs_one_line_and_no_byte(
    expected: dict[str, bytes],
    two_nodes: Any,
    notes: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (notes / "dies-once-p04").touch()
    run(tmp_path / "ray", notes)
    assert files(tmp_path / "ray") == expected
    assert begun(notes) == sorted([*NAMES[::2], "p04"])
    out, err = capfd.readouterr()
    assert out == ""
    assert unasked(err) == ["WARNING: names: a worker was lost; another one takes its shard"]


def test_a_lost_machine_costs_no_byte(
    expected: dict[str, bytes], two_nodes: Any, notes: Path, tmp_path: Path
) -> None:
    third = two_nodes.add_node(num_cpus=1, include_dashboard=False, object_store_memory=2**27)
    for name in NAMES[:6:2]:
        (notes / f"waits-{name}").touch()

    def lose() -> None:
        while len(begun(notes)) < 3:
            time.sleep(0.05)
        two_nodes.remove_node(third, allow_graceful=False)
        while len(alive(notes)) == 3:
            time.sleep(0.05)
        for name in NAMES[:6:2]:
            (notes / f"waits-{name}").unlink()

    thread = threading.Thread(target=lose)
    thread.start()
    run(tmp_path / "ray", notes)
    thread.join()
    assert files(tmp_path / "ray") == expected
    assert len(begun(notes)) == 6  # one of the shards twice
    assert len(list(notes.glob("loaded-*"))) == 4


def test_a_shard_that_always_loses_its_worker_ends_in_one_line(
    two_nodes: Any, notes: Path, tmp_path: Path
) -> None:
    (notes / "dies-p04").touch()
    with pytest.raises(WestofnError, match=r"^names: the worker was lost 4 times at one shard"):
        run(tmp_path / "ray", notes)
    assert begun(notes).count("p04") == 1 + RETRIES


def test_finished_shards_stay_whoever_computes_the_others(
    expected: dict[str, bytes],
    two_nodes: Any,
    notes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "ray"
    (notes / "error-p08").touch()
    with pytest.raises(DataError, match=r"^prompt p08 is bad; mend it$"):
        run(folder, notes)
    (notes / "error-p08").unlink()
    finished = files(folder)
    assert 0 < len(finished) < 5
    for path in notes.iterdir():
        path.unlink()
    run(folder, notes)
    assert files(folder) == expected
    assert len(begun(notes)) == 5 - len(finished)
    (folder / "00000002.parquet").unlink()
    monkeypatch.setenv("WESTOFN_EXECUTOR", "local")
    run(folder, notes)
    assert files(folder) == expected


def test_a_bug_in_a_worker_shows_its_traceback(two_nodes: Any, notes: Path, tmp_path: Path) -> None:
    (notes / "bug-p02").touch()
    with pytest.raises(ZeroDivisionError, match="a bug"):
        run(tmp_path / "ray", notes)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("RAY_GPUS_PER_WORKER", "1", r"no machine of the Ray cluster has the 1 CPUs and 1 GPUs"),
        ("DEVICE", "cuda", r"has the 1 CPUs and 1 GPUs that a worker needs; lower threads or"),
        ("RAY_ADDRESS", "127.0.0.1:9", r"'127.0.0.1:9', where no Ray cluster answers \(.*refused"),
        ("RAY_ADDRESS", "node1", r"ray_address is 'node1', where .* needs HOST:PORT of one that"),
    ],
)
def test_what_the_cluster_lacks_is_refused(
    variable: str,
    value: str,
    message: str,
    two_nodes: Any,
    notes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(f"WESTOFN_{variable}", value)
    with pytest.raises(ParameterError, match=message) as caught:
        run(tmp_path / "ray", notes)
    assert "\n" not in str(caught.value)
    assert not ray.is_initialized()


@pytest.fixture
def saved(small_policy: Policy, tmp_path: Path) -> SavedPolicy:
    canaries = list(zip(PROMPTS[:2], RESPONSES[:2], strict=True))
    save_policy(small_policy, tmp_path / "policy", canaries, {})
    return SavedPolicy.of(tmp_path / "policy")


def shards_of_both(
    work: Callable[[Path], object], home: Path, monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, bytes]]:
    """The shards that work writes into a folder, computed here and over Ray."""
    shards = []
    for executor in ("local", "ray"):
        monkeypatch.setenv("WESTOFN_EXECUTOR", executor)
        work(home / executor)
        shards.append(files(home / executor))
    return shards


DRAW = Draw(n_candidates=6, temperature=0.8, seed=11)


def test_samples_of_workers_have_the_bytes_of_local_ones(
    saved: SavedPolicy, two_nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_pools, "PROMPTS_A_SHARD", 1)
    local, over_ray = shards_of_both(
        lambda folder: sample_pool(saved, FRAME, DRAW, folder, "sampling"), tmp_path, monkeypatch
    )
    assert over_ray == local
    assert len(local) == 4


def test_likelihoods_of_workers_have_the_bytes_of_local_ones(
    saved: SavedPolicy, two_nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "PROMPTS_A_SHARD", 2)
    pools = Pools.of_rows(
        (name, text, RESPONSES) for name, text in FRAME.select("prompt_id", "prompt").rows()
    )
    local, over_ray = shards_of_both(
        lambda folder: score_shards(saved, pools, folder, "scoring"), tmp_path, monkeypatch
    )
    assert over_ray == local
    assert len(local) == 2


def test_pairs_that_workers_judged_are_those_of_local_judges(
    saved_models: Path, two_nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(select, "TOKENS_A_SHARD", 1)
    rows = [(name, text, RESPONSES) for name, text in FRAME.select("prompt_id", "prompt").rows()]
    pools = pool_file(Pools.of_rows(rows), tmp_path)
    teacher = SavedTeacher.of(saved_models / "ensemble", saved_models / "joint", 0.5)
    local, over_ray = shards_of_both(
        lambda folder: select.select_in_shards(teacher, pools, folder, selector="west", seed=0),
        tmp_path,
        monkeypatch,
    )
    assert over_ray == local
    assert len(local) == 4


def test_workers_ask_the_server_that_samples(
    saved: SavedPolicy, two_nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(server, "prompts_a_shard", lambda *_: 2)
    asked = []

    def script(_: int, body: dict[str, Any]) -> Reply:
        return Reply(body={"choices": [{"text": "bad dog", "finish_reason": "stop"}] * body["n"]})

    def draw(folder: Path) -> None:
        with serve(script) as stub:
            address = sampling_server(Runtime(sample_url=stub.url))
            sampler = ServerSampler(address, "policy", "completions", saved, DRAW)
            sampler.shards(FRAME, folder, "sample")
        asked.append(len(stub.bodies))

    local, over_ray = shards_of_both(draw, tmp_path, monkeypatch)
    assert over_ray == local
    assert asked == [4, 4]


def test_verdicts_of_workers_have_the_bytes_of_local_ones(
    spelling: PreTrainedTokenizerFast,
    two_nodes: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tmp_path / "model"
    tiny("qwen2", len(spelling)).save_pretrained(model)
    save_tokenizer(spelling, model)
    judge = judge_of_shards(params("llm", model=str(model), template="{prompt}{first}{second}"))
    pairs = FRAME.select("prompt_id", "prompt").with_columns(
        first=pl.Series(RESPONSES), second=pl.Series(RESPONSES[::-1])
    )
    local, over_ray = shards_of_both(
        lambda folder: judge_in_shards(judge, pairs, folder, size=2), tmp_path, monkeypatch
    )
    assert over_ray == local
    assert len(local) == 2


@pytest.mark.parametrize(
    ("number", "code", "told"),
    [(signal.SIGINT, 130, [LINE]), (signal.SIGTERM, 143, [LINE]), (signal.SIGKILL, -9, [])],
)
def test_ray_and_its_workers_end_with_the_command(
    number: signal.Signals,
    code: int,
    told: list[str],
    two_workers: None,
    notes: Path,
    tmp_path: Path,
) -> None:
    for name in NAMES:
        (notes / f"waits-{name}").touch()
    variable, value = "WESTOFN_RUN_NAME", str(tmp_path)
    command = subprocess.Popen(
        [sys.executable, "-c", COMMAND],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), variable: value},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not begun(notes):
        assert command.poll() is None, command.communicate()
        time.sleep(0.1)
    assert len(processes(variable, value)) > 2
    command.send_signal(number)
    out, err = command.communicate(timeout=120)
    assert (command.returncode, out, unasked(err)) == (code, "", told)
    until = time.monotonic() + 180  # Ray's agent outlives a killed raylet for a while
    while (left := processes(variable, value)) and time.monotonic() < until:
        time.sleep(0.1)
    assert left == []


def processes(variable: str, value: str) -> list[str]:
    """The commands of processes with this variable in their environment."""
    commands = []
    for process in Path("/proc").iterdir():
        try:
            if f"{variable}={value}".encode() in (process / "environ").read_bytes().split(b"\0"):
                commands.append((process / "cmdline").read_bytes().decode())
        except OSError:
            continue
    return [command for command in commands if command]
