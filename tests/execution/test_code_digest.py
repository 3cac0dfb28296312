"""Digests of code: which edits change them, and for which stages."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from westofn.errors import DataError
from westofn.execution.code_digest import (
    Code,
    changed_files,
    digests_of_plugin,
    digests_of_stages,
)

DRAW = '''"""Draw."""


def draw(n: int) -> int:
    """One."""
    return n + 1
'''
# `early` imports draw at the top, `late` inside a function; `study` loads a part by name.
FILES = {
    "stages/__init__.py": '"""Stages."""\n',
    "stages/common.py": "import sys\n",
    "stages/code.py": "import westofn.draw\n",
    "stages/early.py": "from stages.common import run\nfrom westofn import draw\n",
    "stages/late.py": "def main():\n    from westofn.page.build import write\n    write()\n",
    "stages/study.py": "from stages.common import run\n",
    "westofn/__init__.py": "",
    "westofn/draw.py": DRAW,
    "westofn/other.py": "VALUE = 1\n",
    "westofn/page/__init__.py": "from westofn import other\n",
    "westofn/page/build.py": "from ..draw import draw\n\n\ndef write(): return draw(2)\n",
    "westofn/page/look.css": "a {}\n",
    "westofn/page/notes.txt": "to do\n",
    "westofn/study/__init__.py": "",
    "westofn/study/parts/__init__.py": "",
    "westofn/study/parts/size.py": "from westofn.other import VALUE\n",
    "westofn/study/parts/noise.py": "from westofn.draw import draw\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def changed(root: Path, name: str, text: str) -> set[str]:
    """The stages whose digest changes when a file holds another text."""
    before = digests_of_stages(root)
    (root / name).write_text(text, encoding="utf-8")
    after = digests_of_stages(root)
    assert before.keys() == after.keys()
    return {stage for stage in after if changed_files(before[stage], after[stage])}


def test_a_stage_has_the_code_that_it_imports(root: Path) -> None:
    digests = digests_of_stages(root)
    assert {stage: [*files] for stage, files in digests.items()} == {
        "early": ["stages/common.py", "stages/early.py", "westofn/draw.py"],
        "late": [
            "stages/late.py",
            "westofn/draw.py",
            "westofn/other.py",
            "westofn/page/__init__.py",
            "westofn/page/build.py",
            "westofn/page/look.css",
        ],
        "study_noise": [
            "stages/common.py",
            "stages/study.py",
            "westofn/draw.py",
            "westofn/study/parts/noise.py",
        ],
        "study_size": [
            "stages/common.py",
            "stages/study.py",
            "westofn/other.py",
            "westofn/study/parts/size.py",
        ],
    }


@pytest.mark.parametrize(
    "text",
    [
        "# by hand\n" + DRAW,
        DRAW.replace("One.", "One more.").replace("Draw.", "Draws."),
        "def draw(n: int) -> int:\n    return n + 1\n",
        "def draw(\n    n: int,\n) -> int:\n    return (\n        n + 1  # one more\n    )\n",
        DRAW.replace("\n", "\r\n"),
        DRAW + '\n"""A text that stands alone."""\n',
    ],
    ids=["comment", "docstring", "no docstring", "layout", "line ends", "text"],
)
def test_what_is_no_code_changes_no_digest(text: str, root: Path) -> None:
    assert changed(root, "westofn/draw.py", text) == set()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("n + 1", "n + 2"),
        ("n + 1", "n - 1"),
        ("n + 1", "n + 1.0"),
        ("(n: int)", "(n: float)"),
        ("(n: int)", "(n: int = 1)"),
        ("return n", "n += 1\n    return n"),
        ('"""One."""', "f'One.'"),
    ],
)
def test_a_change_of_code_changes_the_stages_that_import_it(old: str, new: str, root: Path) -> None:
    text = DRAW.replace(old, new)
    assert text != DRAW
    assert changed(root, "westofn/draw.py", text) == {"early", "late", "study_noise"}


def test_a_part_belongs_to_its_own_stage(root: Path) -> None:
    assert changed(root, "westofn/study/parts/size.py", "VALUE = 2\n") == {"study_size"}
    assert changed(root, "stages/study.py", "VALUE = 2\n") == {"study_size", "study_noise"}


def test_a_package_is_code_of_its_modules(root: Path) -> None:
    assert changed(root, "westofn/page/__init__.py", "VALUE = 2\n") == {"late"}
    assert changed(root, "westofn/__init__.py", "VALUE = 2\n") == {*digests_of_stages(root)}


def test_a_template_counts_by_its_bytes_and_other_files_do_not(root: Path) -> None:
    assert changed(root, "westofn/page/look.css", "a {} \n") == {"late"}
    assert changed(root, "westofn/page/notes.txt", "done\n") == set()


def test_the_stage_that_digests_code_has_no_digest(root: Path) -> None:
    assert changed(root, "stages/code.py", "VALUE = 2\n") == set()


def test_a_plugin_has_its_own_code_and_what_it_imports(root: Path) -> None:
    (root / "plugins").mkdir()
    (root / "plugins/mine.py").write_text("from westofn.draw import draw\n", encoding="utf-8")
    assert [*digests_of_plugin(root, "mine")] == ["plugins/mine.py", "westofn/draw.py"]
    assert changed(root, "plugins/mine.py", "VALUE = 1\n") == set()
    assert [*digests_of_plugin(root, "mine")] == ["plugins/mine.py"]


def test_a_plugin_that_no_parameter_names_or_that_is_missing_is_empty(root: Path) -> None:
    assert digests_of_plugin(root, None) == digests_of_plugin(root, "absent") == {}


def test_equal_code_has_equal_digests_wherever_it_lies(root: Path) -> None:
    copy = shutil.copytree(root, root.with_name(f"{root.name}-copy"))
    assert digests_of_stages(copy) == digests_of_stages(root)


def test_a_digest_is_of_the_tree_without_positions_and_empty_fields(root: Path) -> None:
    tree = b"[Assign(targets=[Name(id='VALUE',ctx=Store())],value=Constant(value=1))]"
    digest = hashlib.blake2b(tree, digest_size=8).hexdigest()
    assert Code(root).digests("westofn.other") == {"westofn/other.py": digest}


def test_modules_that_import_each_other_are_all_reached(root: Path) -> None:
    (root / "westofn/other.py").write_text("import westofn.draw\n", encoding="utf-8")
    (root / "westofn/draw.py").write_text("import westofn.other, json\n", encoding="utf-8")
    assert Code(root).reached("westofn.draw") == {"westofn", "westofn.draw", "westofn.other"}


def test_a_file_that_is_not_python_is_refused_with_its_line(root: Path) -> None:
    (root / "westofn/other.py").write_text("x = 1\ndef f(:\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"^westofn/other\.py:2: is not Python \(.+\); mend"):
        digests_of_stages(root)
    (root / "westofn/other.py").write_bytes(b"x = '\xff'\n")
    with pytest.raises(DataError, match=r"^westofn/other\.py:1: is not Python"):
        digests_of_stages(root)
