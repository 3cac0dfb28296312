"""Load the human data of a source: read preferences and extras, and assemble the frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from westofn.params.prepare import PrepareParams
from westofn.sources.assemble import assemble
from westofn.sources.collect import (
    Part,
    Reading,
    collect_demonstrations,
    collect_pairs,
    collect_prompts,
    parts_of,
)
from westofn.sources.data import SourceData
from westofn.sources.extras import Extras
from westofn.sources.hub_rows import hub_rows

SOURCES = ("tldr", "hh", "ultrafeedback", "files")
"""Values of `prepare.source` that read files or the hub, see `recognise`."""


def load_preferences(params: PrepareParams, seed: int) -> SourceData:
    """Read preferences, and demonstrations and prompts if they are in other files.

    Args:
        params: section prepare; its source is one of SOURCES.
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
    reading = Reading(
        params.source,
        params.columns.mapping,
        params.files.subsets,
        limit,
        seed,
        params.bad_rows,
        params.bad_rows_limit,
    )
    collected = collect_pairs(_parts(params), reading, where)
    data = assemble(
        collected.pairs,
        params.source,
        params.files,
        seed,
        counts=collected.counts,
        where=where,
        extras=extras,
    )
    return replace(data, unread=collected.unread, warnings=(*collected.warnings, *data.warnings))


def _parts(params: PrepareParams) -> Iterator[Part]:
    keep_faulty = params.bad_rows == "drop"
    if params.hub.name == "none":
        path = Path(params.path)
        # `Reading` has the limit, since it counts the rows of the requested subsets.
        yield from parts_of(path, 0, "prepare.path", keep_faulty=keep_faulty)
        return
    subset = "" if params.hub.folder == "none" else params.hub.folder
    for _, rows in hub_rows(params.hub):
        yield Part(subset, rows)
