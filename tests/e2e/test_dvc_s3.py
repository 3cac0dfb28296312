"""A remote on S3 that several clones share, by a server of moto's on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.conftest import Clone
from tests.e2e.test_code import STUBS, put_stubs, ran

server = pytest.importorskip("moto.server", reason="needs moto: pip install 'moto[server]' dvc-s3")
pytest.importorskip("dvc_s3", reason="needs dvc-s3: pip install dvc-s3")
pytestmark = pytest.mark.e2e
BUCKET = "outputs"
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server with an empty bucket; keys are in the environment."""
    import boto3

    for name, value in {**KEYS, "AWS_DEFAULT_REGION": "us-east-1", "no_proxy": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    started = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    started.start()
    host, port = started.get_host_and_port()
    url = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=url).create_bucket(Bucket=BUCKET)
    yield url
    started.stop()


def test_clones_share_outputs_on_s3(make_clone: Callable[..., Clone], endpoint: str) -> None:
    clone = make_clone()
    put_stubs(clone.root)
    clone.run("dvc", "remote", "add", "-d", "storage", f"s3://{BUCKET}/westofn")
    clone.run("dvc", "remote", "modify", "storage", "endpointurl", endpoint)
    assert ran(clone.run("dvc", "repro")) == {"code", *STUBS} - {"check"}
    clone.run("dvc", "push")
    clone.commit("reproduced")
    config = (clone.root / ".dvc/config").read_text("utf-8")
    assert not any(value in config.split() for value in KEYS.values())

    clone.run("git", "clone", "-q", ".", "../worker")
    worker = Clone(clone.root.parent / "worker")
    assert ran(worker.run("dvc", "repro", "--pull", "--allow-missing")) == set()
    worker.run("dvc", "pull", "sft")
    policy = "data/loop/k0/policy"
    assert (worker.root / policy).read_bytes() == (clone.root / policy).read_bytes()
