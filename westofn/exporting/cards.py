"""README.md of an export: a YAML header for hubs, then a description."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from ruamel.yaml import YAML

from westofn.artifacts.atomic import refusal, whole_folder, write_bytes
from westofn.artifacts.targets import require_folder_name
from westofn.errors import DataError
from westofn.exporting.lineage import Lineage

CARD = "README.md"
TAG = "west-of-n"
"""Tag of every card; `push` knows an earlier export by it."""
NO_LICENSE = "# license: not known; name it here, or export with --license\n"
PACKAGES = ("westofn", "torch", "transformers", "tokenizers", "polars")
PAPER = (
    "West-of-N ([arXiv 2401.12086](https://arxiv.org/abs/2401.12086)): for each unlabeled prompt, "
    "N responses are sampled from the policy, a base preference model finds the best and the worst "
    "of them, and the pair becomes a synthetic preference."
)


def write_card(folder: Path, about: str, header: Mapping[str, object], body: Iterable[str]) -> None:
    """Write README.md into a folder; only an earlier card of the same export is overwritten.

    A header without license gets a comment that says so.

    Args:
        folder: Folder of the export.
        about: Name of the export; the card contains it, so that it is recognised later.
        header: YAML header for hubs.
        body: Paragraphs of the description.

    Raises:
        DataError: README.md exists and is not the card of this export, or it cannot be written.
    """
    path = folder / CARD
    check_card(path, about)
    comment = "" if "license" in header else NO_LICENSE
    text = f"---\n{comment}{as_yaml(header)}---\n{_mark(about)}\n\n" + "\n\n".join(body) + "\n"
    write_bytes(text.encode(), path)


def check_card(path: Path, about: str) -> None:
    """Refuse to overwrite a README.md that is not the card of this export.

    Raises:
        DataError: README.md exists and is not the card of this export.
    """
    if not path.exists():
        return
    if path.is_dir() or _mark(about) not in path.read_text(encoding="utf-8", errors="replace"):
        raise DataError(
            f"{path} exists and is not the card of {about}, which would replace it; export into "
            "another folder"
        )


def check_folder(out: Path, inputs: Iterable[Path]) -> None:
    """Refuse to replace a folder that is not an earlier export, or an input.

    Args:
        out: Folder of the export.
        inputs: Files and folders that the export reads.

    Raises:
        DataError: `require_folder_name` refuses `out`, or it is a non-empty folder without the card
            of this export.
    """
    require_folder_name(out, inputs)
    if not out.exists():
        return
    if any(out.iterdir()) and not (out / CARD).is_file():
        raise DataError(f"{out} exists and is not an export; give a new folder")
    check_card(out / CARD, out.name)


def check_files(out: Path, names: Collection[str]) -> None:
    """Refuse to replace a folder with files that the new export does not have.

    Args:
        out: Folder of the export, which need not exist.
        names: Paths of the files of the new export, relative to its folder.

    Raises:
        DataError: The folder has another file.
    """
    if others := sorted(_files(out).difference(names)):
        raise DataError(
            f"{out} has {others[0]}, which is not a file of this export and would be deleted; move "
            "it away, or give a new folder"
        )


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder, which replaces `out` if the block ends without an error.

    Raises:
        DataError: An earlier export in `out` has other files than the new one, or the system
            refuses to write (disk full, no permission).
    """
    try:
        with whole_folder(out) as place:
            yield place
            check_files(out, _files(place))
    except OSError as error:
        reason = refusal(error) or f"{error.strerror or error}; give another folder"
        raise DataError(f"{out}: cannot be written: {reason}") from error


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def as_yaml(value: Mapping[str, object]) -> str:
    """Format a mapping as YAML in block style, in its own order."""
    yaml = YAML()
    yaml.width = 1000
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(dict(value), stream)
    return stream.getvalue()


def table(heads: Iterable[str], rows: Iterable[tuple[str, object]]) -> str:
    r"""Format a Markdown table of names and values.

    >>> print(table(("pairs", "count"), [("kept", 1200), ("layout", "x | y")]))
    | pairs | count |
    |---|---:|
    | kept | 1,200 |
    | layout | x \| y |
    """
    lines = ["| " + " | ".join(heads) + " |", "|---|---:|"]
    for name, value in rows:
        text = f"{value:,}" if isinstance(value, int) else str(value)
        escaped = text.replace("|", r"\|")
        lines.append(f"| {name} | {escaped} |")
    return "\n".join(lines)


def parameters(lineage: Lineage) -> str:
    """Return the parameters of a run in a code block, or a sentence that they are not recorded."""
    if not lineage.params:
        return (
            "The run's parameters are not recorded: dvc.lock does not know this content "
            f"({lineage.digest})."
        )
    return (
        f"As dvc.lock records them for this content ({lineage.digest}):\n\n"
        f"```yaml\n{as_yaml(lineage.params)}```"
    )


def versions() -> str:
    """Return the installed package versions."""
    return "Exported with " + ", ".join(f"{name} {version(name)}" for name in PACKAGES) + "."


def _mark(about: str) -> str:
    """Return the comment that identifies the card of an export."""
    return f"<!-- {about}: written by `python -m westofn export` -->"
