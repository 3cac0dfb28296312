"""Gold measures: nothing in the study that labels or trains is given it, but the simulated judge.

tests/stages/test_study.py says the same of a run: another annotator leaves the models as they are.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = [ROOT / "westofn" / "study" / "lab.py", *(ROOT / "westofn/study/parts").glob("[a-z]*.py")]
FROM_GOLD = {"judge", "test_pools_judged", "judge_pools", "gold_rewards", "GoldJudge"}
LABEL_OR_TRAIN = {
    "student", "train", "teacher", "train_reward_model", "train_linear_head",
    "train_rl", "train_sft", "Preferences",
    "Pairs", "from_selection", "judged", "contrasted", "flipped", "select", "select_pairs",
    "exact_best_worst", "nested_best_worst", "top_bottom_pairs", "random_pairs", "uncertain_pair",
    "filter_pairs", "filter_frames", "filtered", "selected", "chosen_by", "choose_pairs", "p_first",
    "of",
}  # fmt: skip
MEASURE = {"note", "evaluate"}  # numbers of an arm; the curve that RL draws and does not read


def name_of(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def touched(node: ast.AST, names: set[str]) -> bool:
    return any(name_of(inner) in names for inner in ast.walk(node))


def from_gold(function: ast.AST) -> set[str]:
    """Names of a function whose values come from gold, and where gold comes from."""
    names = set(FROM_GOLD)
    while True:
        found = {
            name_of(inner)
            for target, value in assigned(function)
            if touched(value, names)
            for inner in ast.walk(target)
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)
        }
        if found <= names:
            return names
        names |= found


def assigned(function: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Every target with its value; of `a, b = c, d` each with its own."""
    for node in ast.walk(function):
        if isinstance(node, ast.AnnAssign) and node.value:
            yield node.target, node.value
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    yield from zip(target.elts, node.value.elts, strict=True)
                else:
                    yield target, node.value


def labels_by_gold(tree: ast.AST) -> list[str]:
    """Calls that label or train with an argument that comes from gold."""
    found = []
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        names = from_gold(function)
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            given = [*call.args, *(k.value for k in call.keywords if k.arg not in MEASURE)]
            if name_of(call.func) in LABEL_OR_TRAIN and any(touched(one, names) for one in given):
                found.append(ast.unparse(call))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_part_labels_or_trains_by_gold(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    calls = [name_of(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert set(calls) & (LABEL_OR_TRAIN | {"model_rewards"})
    assert labels_by_gold(tree) == []


def test_a_label_by_gold_would_be_found() -> None:
    code = """
def run(lab):
    rewards = judge_pools(lab.inputs.judge, pool)
    best, worst = rewards.argmax(1), rewards.argmin(1)
    lab.student("good", hf50, note={"gold": rewards.mean()})
    lab.student("bad", hf50, from_selection(pools, BestWorst(best, worst, p)))
"""
    found = labels_by_gold(ast.parse(code))
    assert [call.split("(")[0] for call in found] == ["lab.student", "from_selection"]
    assert "bad" in found[0]


def test_gold_labels_through_the_simulated_judge_alone() -> None:
    files = [*(ROOT / "westofn").rglob("*.py"), *(ROOT / "stages").glob("*.py")]
    users = {
        name: {
            path.relative_to(ROOT).as_posix()
            for path in files
            if name in {name_of(node) for node in ast.walk(ast.parse(path.read_text("utf-8")))}
        }
        for name in ("gold_rewards", "build_judge", "judge_of_shards")
    }
    # verdicts.py offers it, the stage hands it on, and build.py to the simulated judge only.
    assert users["gold_rewards"] == {"stages/study_judge.py", "westofn/judging/build.py"}
    assert users["build_judge"] == {"westofn/judging/build.py"}
    assert users["judge_of_shards"] == {"stages/study_judge.py"}
