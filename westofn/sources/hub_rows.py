"""Stream the rows of a data set on the hub."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from westofn.artifacts.table import show
from westofn.errors import DataError
from westofn.params.prepare import HubParams
from westofn.sources.reading import Row


def hub_rows(hub: HubParams) -> Iterator[tuple[str, Iterator[Row]]]:
    """Yield the name and the rows of each requested split.

    Args:
        hub: name, revision and splits of the data set.

    Raises:
        DataError: the hub cannot be reached, or has no such data.
    """
    from westofn.hub import hub_answers, unreachable_reason

    if not hub_answers():
        raise DataError(
            f"data set {hub.name!r} cannot be read: {unreachable_reason()}; run `hf download "
            f"{hub.name} --repo-type dataset --revision {hub.revision} --local-dir FOLDER` on a "
            f"connected machine, give the folder as prepare.path and set prepare.hub.name to none"
        )
    splits = _splits(hub)
    requested = list(splits) if hub.split == "all" else hub.split.split(",")
    for split in requested:
        if split not in splits:
            raise DataError(
                f"data set {hub.name!r} has no split {show(split)}, it has {', '.join(splits)}; "
                f"mend prepare.hub.split"
            )
        yield split, _rows(f"{hub.name} {split}", splits[split])


def _splits(hub: HubParams) -> dict[str, Any]:
    import datasets  # type: ignore[import-untyped]

    try:
        return dict(
            datasets.load_dataset(
                hub.name,
                None if hub.config == "none" else hub.config,
                revision=hub.revision,
                data_dir=None if hub.folder == "none" else hub.folder,
                streaming=True,
            )
        )
    except Exception as error:  # `datasets` has no common base class of its errors
        raise _unreadable(hub.name, error) from None


def _rows(name: str, rows: Any) -> Iterator[Row]:
    number = 0
    try:
        for number, values in enumerate(rows, 1):
            yield Row(f"{name}: row {number}", values)
    except Exception as error:
        raise _unreadable(f"{name}: row {number + 1}", error) from None


def _unreadable(where: str, error: Exception) -> DataError:
    message = " ".join(str(error).split())
    return DataError(
        f"data set {where} cannot be read: {message[:300]}; mend prepare.hub (name, revision, "
        f"config or folder)"
    )
