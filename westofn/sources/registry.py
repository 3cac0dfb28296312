"""Sources of human data by name: the formats of each source, and loading."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from westofn.params.prepare import FilesParams, PrepareParams
from westofn.sources.assemble import assemble
from westofn.sources.collect import (
    Part,
    collect_demonstrations,
    collect_pairs,
    collect_prompts,
    parts_of,
)
from westofn.sources.data import SourceData
from westofn.sources.extras import Extras
from westofn.sources.formats.conversations import Conversations
from westofn.sources.formats.ratings import RatedLists, RatedRows
from westofn.sources.formats.rows import Format
from westofn.sources.formats.texts import Texts
from westofn.sources.formats.tldr import Comparisons
from westofn.sources.formats.ultrafeedback import UltraFeedback
from westofn.sources.hub_rows import hub_rows

SOURCES: dict[str, Callable[[], Sequence[Format]]] = {
    "tldr": lambda: (Comparisons(), Texts(dialogues_only=False)),
    "hh": lambda: (Texts(dialogues_only=True),),
    "ultrafeedback": lambda: (UltraFeedback(), Conversations("ai_judge")),
    "files": lambda: (
        Comparisons(),
        UltraFeedback(),
        RatedLists(),
        RatedRows(),
        Conversations(),
        Texts(dialogues_only=False),
    ),
}
"""Value of `prepare.source` -> allowed formats, the most specific first."""


def load_preferences(params: PrepareParams, seed: int) -> SourceData:
    """Read preferences, and demonstrations and prompts if they are in other files.

    Args:
        params: section prepare; its source is a key of SOURCES.
        seed: seed of the splits, of D_U, and of random choices among rated responses.

    Raises:
        DataError: a file or row cannot be read (the message has file and line), or a split is
            empty.
    """
    where = params.path if params.hub.name == "none" else params.hub.name
    limit = params.files.limit
    extras = Extras(
        collect_demonstrations(Path(params.sft_path), limit) if params.sft == "file" else None,
        () if params.unlabeled == "half" else collect_prompts(Path(params.unlabeled_path), limit),
        params.unlabeled != "file",
    )
    return _load(params.source, _parts(params), params.files, seed, where, extras)


def _parts(params: PrepareParams) -> Iterator[Part]:
    if params.hub.name == "none":
        yield from parts_of(Path(params.path), params.files.limit, "prepare.path")
        return
    subset = "" if params.hub.folder == "none" else params.hub.folder
    for _, rows in hub_rows(params.hub, params.files.limit):
        yield Part(subset, rows)


def _load(
    source: str,
    parts: Iterator[Part],
    params: FilesParams,
    seed: int,
    where: str,
    extras: Extras,
) -> SourceData:
    collected = collect_pairs(
        parts, SOURCES[source](), subsets=params.subsets, seed=seed, where=where
    )
    return assemble(
        collected.pairs, source, params, seed, counts=collected.counts, where=where, extras=extras
    )
