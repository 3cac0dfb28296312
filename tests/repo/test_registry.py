"""The models that dvc.yaml offers to a model registry."""

from __future__ import annotations

from dvc.repo import Repo

from tests.repo.deps import ROOT, body_of, load
from westofn.params.whole import load_params


def test_dvc_reads_student_and_policy_of_an_iteration_of_the_loop() -> None:
    with Repo(str(ROOT)) as repo:
        found = repo.artifacts.read()["dvc.yaml"]
    assert set(found) == {"west-of-n-student", "west-of-n-policy"}
    _, document = load(ROOT / "dvc.yaml")
    outs = {
        str(out).replace("${key}", name)
        for stage in ("student_rm", "rlhf")
        for out in body_of(document["stages"][stage])["outs"]
        for name in load_params(ROOT / "params.yaml").loop
    }
    for artifact in found.values():
        assert artifact.type == "model"
        assert artifact.desc
        assert artifact.labels
        assert artifact.path in outs
