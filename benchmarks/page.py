"""Replaces what stands between two marks of a page of the documentation."""

from __future__ import annotations

from pathlib import Path

from westofn.artifacts.atomic import write_bytes


def replace_between(page: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- NAME: start -->` and `<!-- NAME: end -->`.

    Args:
        page: A Markdown file.
        name: Name in the marks.
        text: What stands there now, ending with a newline.

    Raises:
        ValueError: The page has no marks.
    """
    marks = f"<!-- {name}: start -->", f"<!-- {name}: end -->"
    before, start, rest = page.read_text("utf-8").partition(f"{marks[0]}\n")
    _, end, after = rest.partition(f"{marks[1]}\n")
    if not start or not end:
        raise ValueError(f"{page}: needs the lines {' and '.join(marks)}")
    write_bytes(f"{before}{start}\n{text}\n{end}{after}".encode(), page)
