"""Real vLLM with tiny models: its own process, and its server of policies and of classifiers.

WESTOFN_VLLM_PYTHON may name the Python that has it. On a CPU this takes some minutes.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import polars as pl
import pytest
import torch
from scipy.stats import chisquare
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tests.generation.test_file import FRAME
from tests.small_families import tiny_model
from tests.small_models import PROMPTS, RESPONSES
from tests.stages.conftest import SMALL
from tests.stages.pipeline import Tiny
from tests.tiny import merged
from westofn.artifacts.candidates import CANDIDATES
from westofn.errors import SamplingError
from westofn.execution.vllm_engine import ENVIRONMENT, Engine, require_vllm
from westofn.exporting.policy import export_policy
from westofn.exporting.reward_model import export_reward_model
from westofn.generation import server, vllm
from westofn.generation.hf import never_drawn
from westofn.generation.sample_pools import Draw
from westofn.generation.server import ServerSampler, sampling_server
from westofn.generation.vllm import VllmSampler
from westofn.models.policy import Policy, SavedPolicy, load_policy, log_likelihood, save_policy
from westofn.models.reward import RewardModel, Scorer
from westofn.models.saved_reward import save_reward_model
from westofn.models.scoring import score_rows
from westofn.runtime import Runtime
from westofn.text.encoding import Encoder

PYTHON = os.environ.get("WESTOFN_VLLM_PYTHON", "")
pytestmark = pytest.mark.skipif(
    not PYTHON and importlib.util.find_spec("vllm") is None,
    reason="needs vLLM here, or WESTOFN_VLLM_PYTHON; see docs/data.md",
)
RUNTIME = Runtime(vllm_python=PYTHON)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "serving.md"
# What vLLM's build for CPUs needs on a small machine.
LITTLE = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
LIMIT = 12
CANARIES = list(zip(PROMPTS[:2], RESPONSES[:2], strict=True))
WAIT = 300


@pytest.fixture(autouse=True)
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**LITTLE, "no_proxy": "127.0.0.1"}.items():
        monkeypatch.setenv(name, os.environ.get(name, value))


@pytest.fixture(scope="module")
def encoder(spelling: PreTrainedTokenizerFast) -> Encoder:
    return Encoder(spelling, max_prompt_tokens=32, max_response_tokens=LIMIT, family="causal")


@pytest.fixture(scope="module")
def saved(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> SavedPolicy:
    """A Llama; heads of less than 32 have no attention in vLLM on a CPU."""
    folder = tmp_path_factory.mktemp("vllm") / "policy"
    save_policy(Policy(tiny_model("llama", encoder, head_dim=32), encoder), folder, CANARIES, {})
    return SavedPolicy.of(folder)


def drawn(policy: SavedPolicy, folder: Path, n: int = 24) -> pl.DataFrame:
    folder.mkdir(exist_ok=True)
    files = VllmSampler(policy, Draw(n, 0.9, seed=3), RUNTIME).shards(FRAME, folder, "sample")
    return pl.concat(map(CANDIDATES.read, files))


def test_this_machine_can_run_it() -> None:
    require_vllm(RUNTIME)


def test_tokens_are_drawn_from_the_policy_until_its_end_token(
    saved: SavedPolicy, encoder: Encoder, tmp_path: Path
) -> None:
    """First tokens have the exact probabilities, by a chi-square test that rejects others."""
    policy, n, temperature = load_policy(saved.folder), 4000, 0.8
    never = never_drawn(policy)
    ids = encoder.prompts(PROMPTS[:1])
    with Engine(saved.folder, "float32", 64, RUNTIME, tmp_path / "log") as engine:
        (pool,) = engine.ask(
            {
                "prompts": ids,
                "seeds": [5],
                "n": n,
                "temperature": temperature,
                "max_tokens": LIMIT + 1,
                "end": encoder.eos_id,
                "never": never,
            }
        )
    assert len(pool) == n
    with torch.no_grad():
        logits = policy.model(input_ids=torch.tensor(ids)).logits[0, -1].double()
    logits[never] = -torch.inf
    counts = torch.bincount(torch.tensor([row[0] for row, _ in pool]), minlength=len(logits))
    assert never
    assert not counts[never].any()

    def p_value(temperature: float) -> float:
        expected = n * (logits / temperature).softmax(-1)
        common = expected >= 5
        assert common.sum() > 10
        bins = [
            [*part[common].tolist(), float(part[~common].sum())]
            for part in (counts.double(), expected)
        ]
        return float(chisquare(*bins).pvalue)

    assert p_value(temperature) > 0.01
    assert p_value(1.0) < 1e-6
    reasons = {reason for _, reason in pool}
    assert reasons == {"stop", "length"}
    for row, reason in pool:
        assert (row[-1] == encoder.eos_id) == (reason == "stop")
        assert encoder.eos_id not in row[:-1]
        assert len(row) == LIMIT + 1 or reason == "stop"


def test_the_table_is_the_same_twice_and_goes_on_by_shard(
    saved: SavedPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm, "prompts_a_shard", lambda *_: 1)
    frame = drawn(saved, tmp_path / "first")
    CANDIDATES.validate(frame, "candidates")
    assert frame.height == 24 * FRAME.height
    assert frame["response"].n_unique() > frame.height / 2
    policy = load_policy(saved.folder)
    prompt_of = dict(FRAME.select("prompt_id", "prompt").iter_rows())
    cut = [row for row, reason in enumerate(frame["finish_reason"]) if reason == "length"]
    assert 0 < len(cut) < frame.height
    expected = log_likelihood(
        policy,
        [prompt_of[name] for name in frame["prompt_id"]],
        frame["response"].to_list(),
        cut=cut,
    )
    torch.testing.assert_close(torch.tensor(frame["logprob"].to_list()), expected.logprob)

    shards = sorted((tmp_path / "first").glob("*.parquet"))
    assert len(shards) == FRAME.height
    again = tmp_path / "again"
    again.mkdir()
    kept = shutil.copy(shards[1], again)
    written = Path(kept).stat().st_mtime_ns
    drawn(saved, again)
    assert Path(kept).stat().st_mtime_ns == written
    assert [path.read_bytes() for path in sorted(again.glob("*.parquet"))] == [
        path.read_bytes() for path in shards
    ]


def test_a_model_that_vllm_cannot_load_ends_in_one_line(encoder: Encoder, tmp_path: Path) -> None:
    model = tiny_model("llama", encoder, head_dim=6)
    save_policy(Policy(model, encoder), tmp_path / "policy", CANARIES, {})
    with pytest.raises(SamplingError, match=r"^vLLM ended before it answered \(.*head") as caught:
        drawn(SavedPolicy.of(tmp_path / "policy"), tmp_path / "shards")
    assert "\n" not in str(caught.value)


def test_the_stage_samples_the_embedded_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WESTOFN_VLLM_PYTHON", PYTHON)
    llama = {"family": "causal", "width": 64, "heads": 2}
    changes = {"sft": {"scratch": llama}, "sample": {"engine": "vllm"}}
    tiny = Tiny.make(tmp_path / "root", merged(SMALL, changes))
    tiny.succeed("check", "prepare", "sft", "sample@k1")
    frame = CANDIDATES.read(tiny / "data/loop/k1/candidates.parquet")
    assert frame.height == 8 * frame["prompt_id"].n_unique() == 8 * 30
    assert not list((tiny / ".scratch").rglob("vllm.log"))


@contextmanager
def served(folder: Path, *options: str) -> Iterator[str]:
    """The address of a server; `vllm serve` starts the same module."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [PYTHON or sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    options = (*options, "--dtype", "float32", "--enforce-eager", "--port", str(port))
    log = folder.parent / "server.log"
    with (
        log.open("w") as file,
        subprocess.Popen(
            [*command, "--model", str(folder), "--host", "127.0.0.1", *options],
            env=ENVIRONMENT | os.environ | LITTLE,
            stdout=file,
            stderr=file,
            process_group=0,
        ) as process,
    ):
        url, until = f"http://127.0.0.1:{port}", time.monotonic() + WAIT
        try:
            while not healthy(url):
                assert process.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < until, log.read_text()[-2000:]
                time.sleep(0.5)
            yield url
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def healthy(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health", trust_env=False).status_code == 200
    except httpx2.HTTPError:
        return False


def test_a_server_honours_what_is_sent(
    saved: SavedPolicy, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The served folder asks for the likeliest token alone, which every request turns off."""
    monkeypatch.setattr(server, "prompts_a_shard", lambda *_: 2)
    export_policy(tmp_path / "export", model=saved.folder)
    settings = tmp_path / "export" / "generation_config.json"
    text = settings.read_text("utf-8")
    assert '"top_k": 0' in text
    settings.write_text(text.replace('"top_k": 0', '"top_k": 1, "repetition_penalty": 1.5'))
    options = ("--served-model-name", "policy-k0", "--max-model-len", "48")
    with served(tmp_path / "export", *options) as url:
        address = sampling_server(Runtime(sample_url=f"{url}/v1"))

        def sampler(policy: SavedPolicy = saved) -> ServerSampler:
            return ServerSampler(address, "policy-k0", "completions", policy, Draw(8, 0.9, 3))

        def frame(name: str) -> pl.DataFrame:
            return pl.concat(map(CANDIDATES.read, sampler().shards(FRAME, tmp_path / name, "s")))

        first, second = frame("first"), frame("second")
        long = replace(saved, encoder=Encoder(encoder.tokenizer, 32, 40, "causal"))
        with pytest.raises(SamplingError, match=r"reads at most 48 tokens, and prompt .* 72 \("):
            sampler(long).shards(FRAME, tmp_path / "long", "s")
    assert first.equals(second)
    assert first.height == 8 * FRAME.height
    pools = first.group_by("prompt_id").agg(pl.col("response").n_unique())
    assert pools["response"].min() > 4  # of 8; one if the folder's top_k held


def test_a_classifier_gives_our_rewards_and_the_page_says_how(
    encoder: Encoder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_model("llama", encoder, seed=1, head_dim=32)
    scorer = Scorer(RewardModel(model, "pointwise", 2, "last").eval(), encoder)
    torch.manual_seed(1)
    torch.nn.init.normal_(scorer.model.head.weight, std=0.7)
    save_reward_model(scorer, tmp_path / "rm", CANARIES, {})
    rows = [(prompt, response) for prompt in PROMPTS for response in RESPONSES]
    prompts, responses = map(list, zip(*rows, strict=True))
    rewards = score_rows(scorer, prompts, responses)[:, 0].tolist()
    (shown,) = score_rows(scorer, ["the cat sat"], ["a good dog"])[:, 0].tolist()
    folder = tmp_path / "export"
    export_reward_model(folder, model=tmp_path / "rm")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    continued = [f" {response}" for response in responses]
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    with served(folder, "--runner", "pooling", "--served-model-name", "exports/student") as url:

        def post(path: str, body: dict[str, Any]) -> list[Any]:
            body = {"model": "exports/student", **body}
            reply = httpx2.post(f"{url}/{path}", json=body, trust_env=False, timeout=WAIT)
            assert reply.status_code == 200, reply.text
            return list(reply.json()["data"])

        ids = tokenizer(prompts, continued).input_ids
        texts = {"queries": prompts, "documents": continued}
        answers = {
            "classify": [row["probs"] for row in post("classify", {"input": ids})],
            "pooling": [row["data"] for row in post("pooling", {"input": ids})],
            "score": [[row["score"]] for row in post("score", texts)],
        }
        code = block.replace('from_pretrained("exports/student")', f'from_pretrained("{folder}")')
        code = code.replace("http://127.0.0.1:8000", url)
        assert code.count(url) == code.count(str(folder)) == 1
        exec(compile(code, PAGE.name, "exec"), {})
    for path, answer in answers.items():
        assert [row[0] for row in answer] == pytest.approx(rewards, abs=1e-4), path
    assert float(capsys.readouterr().out.strip(" []\n")) == pytest.approx(shown, abs=1e-4)
