"""The source `hh`: Anthropic's HH (Bai et al. 2022, arXiv 2204.05862).

Rows are two whole dialogues {chosen, rejected}, or {prompt, chosen, rejected}; see
`westofn/sources/formats/texts.py`. The published splits (train.jsonl, test.jsonl) are not used,
because they share dialogues; new splits are made by prompt group.
"""

from __future__ import annotations

from pathlib import Path

from westofn.params.prepare import FilesParams
from westofn.sources.data import SourceData
from westofn.sources.registry import load_pairs


def load_hh(path: Path | str, params: FilesParams, seed: int) -> SourceData:
    """Read HH files; see `westofn.sources.registry.load_pairs`."""
    return load_pairs("hh", Path(path), params, seed)
