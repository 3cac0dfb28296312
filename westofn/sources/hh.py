r"""Preference pairs in files: Anthropic's HH (Bai et al. 2022, arXiv 2204.05862) and like forms.

A row is {prompt, chosen, rejected}, or Anthropic's own {chosen, rejected} of whole dialogues, which
are cut after the last "\n\nAssistant:" that both share. A column `subset` and a column `id` are
optional. Splits of the files' own (train.jsonl, test.jsonl) are not used: the published ones share
dialogues, so splits are made here, by prompt group.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompts import PROMPTS
from westofn.artifacts.sft import SFT
from westofn.artifacts.table import did_you_mean, show
from westofn.artifacts.world import WORLD
from westofn.errors import DataError
from westofn.params import FilesParams
from westofn.sources.data import SourceData, labeled_half
from westofn.sources.splits import (
    PromptGroups,
    SplitFractions,
    assign_splits,
    first_half,
    group_prompts,
    hash_order,
    normalise,
    prompt_id,
    stable_id,
)

HUMAN = "\n\nHuman:"
ASSISTANT = "\n\nAssistant:"

_SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
_TEXTS = ("prompt", "chosen", "rejected", "subset")
_DROPS = (
    "dropped_other_subset",
    "dropped_sides_differ_before_last_turn",
    "dropped_empty_prompt",
    "dropped_empty_response",
    "dropped_identical_responses",
    "dropped_duplicate_pair",
)


def load_hh(path: Path | str, params: FilesParams, seed: int) -> SourceData:
    """Read preference files and make the canonical frames.

    Rows that hold no preference (an empty or identical response, sides that differ before the last
    turn, a copy of another row) are dropped and counted; rows that cannot be read are refused.

    Half of the train prompt groups are D_U, the unlabeled prompts; the pairs of the other half are
    D_L, the paper's HF50. Demonstrations are the chosen responses of *all* train pairs, as in the
    paper, which fine-tunes on HH's chosen responses. So the policy has seen which responses were
    chosen for D_U's prompts, though no reward model has; to keep even that from it, one would
    train on the chosen responses of HF50 alone.

    Args:
        path: a .jsonl, .jsonl.gz or .parquet file, or a folder of such files at any depth. A file
            in a subfolder takes the subfolder's name as subset where it has no such column.
        params: fractions of the prompt groups, rows to read of each file (0: all), subsets, and
            the most test prompts (which ones is a matter of hash order).
        seed: decides the splits and the halves.

    Returns:
        Frames whose content does not depend on the order of rows or files. World has 0 rows.

    Raises:
        DataError: a file or row cannot be read (the message has file and line), or too little is
            left to fill each split.
    """
    path = Path(path)
    counts = Counter({"rows_in": 0, **dict.fromkeys(_DROPS, 0)})
    pairs = _read_pairs(path, params, counts)
    unique = _drop_duplicates(pairs)
    counts["dropped_duplicate_pair"] = len(pairs) - len(unique)
    counts["rows_out"] = len(unique)
    assert counts["rows_in"] == counts["rows_out"] + sum(counts[reason] for reason in _DROPS)
    if not unique:
        dropped = ", ".join(f"{reason} {counts[reason]}" for reason in _DROPS if counts[reason])
        raise DataError(
            f"{path}: no usable pair in {counts['rows_in']} rows ({dropped}); needs rows with "
            f"two different, non-empty responses to one prompt"
        )
    return _source_data(unique, params, seed, dict(counts), path)


@dataclass(frozen=True)
class _Pair:
    """One usable row; `given_id` is "" where the file names no pairs."""

    prompt: str
    chosen: str
    rejected: str
    subset: str
    given_id: str

    @property
    def prompt_id(self) -> str:
        return prompt_id(self.prompt)

    @property
    def pair_id(self) -> str:
        return self.given_id or stable_id("h", normalise(self.prompt), self.chosen, self.rejected)

    @property
    def source(self) -> str:
        return f"hh/{self.subset}" if self.subset else "hh"


def _read_pairs(path: Path, params: FilesParams, counts: Counter[str]) -> list[_Pair]:
    pairs = []
    line_of_id: dict[str, str] = {}
    subsets_seen: set[str] = set()
    for file in _files(path):
        folder = file.parent.relative_to(path).as_posix() if path.is_dir() else "."
        for where, row in _rows(file, params.limit):
            counts["rows_in"] += 1
            _check_types(row, where)
            _check_id(row, where, line_of_id)
            subset = row.get("subset") or ("" if folder == "." else folder)
            subsets_seen.add(str(subset))
            outcome = _pair(row, str(subset), params.subsets, where)
            if isinstance(outcome, _Pair):
                pairs.append(outcome)
            else:
                counts[outcome] += 1
    for wanted in params.subsets:
        if wanted not in subsets_seen:
            known = sorted(filter(None, subsets_seen))
            raise DataError(
                f"{path}: no row has subset {show(wanted)}{did_you_mean(wanted, known)}; "
                f"the data has {', '.join(known) or 'no subsets'}: mend prepare.files.subset"
            )
    return pairs


def _files(path: Path) -> list[Path]:
    if path.is_file():
        if not path.name.endswith(_SUFFIXES):
            raise DataError(f"{path}: needs a name that ends with {', '.join(_SUFFIXES)}")
        return [path]
    if not path.is_dir():
        raise DataError(f"{path}: no such file or folder; mend prepare.path")
    found = sorted(
        file
        for file in path.rglob("*")
        if file.name.endswith(_SUFFIXES)
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    if not found:
        raise DataError(f"{path}: the folder has no file that ends with {', '.join(_SUFFIXES)}")
    return found


def _rows(file: Path, limit: int) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield up to `limit` rows (0: all), each with its place: file and line or row."""
    rows = _parquet_rows(file, limit) if file.suffix == ".parquet" else _json_rows(file)
    count = 0
    for where, row in rows:
        yield where, row
        count += 1
        if count == limit:
            return
    if count == 0:
        raise DataError(f"{file}: the file has no rows; needs at least 1: copy it again")


def _json_rows(file: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    number = 0
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as handle:
            for number, line in enumerate(handle, 1):
                if line.strip():
                    yield f"{file}:{number}", _json_row(line, f"{file}:{number}")
    except (EOFError, zlib.error) as error:
        raise DataError(
            f"{file}:{number + 1}: the gzip stream is truncated or corrupt ({error}); "
            f"copy the file again"
        ) from None
    except OSError as error:
        raise DataError(
            f"{file}:{number + 1}: cannot be read ({error.strerror or error}); copy the file "
            f"again or mend its permissions"
        ) from None


def _json_row(line: bytes, where: str) -> Mapping[str, object]:
    try:
        text = line.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: byte {error.start} is not UTF-8; needs UTF-8 text") from None
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        found = (
            f"{error.msg}, column {error.colno}"
            if isinstance(error, json.JSONDecodeError)
            else str(error)
        )
        raise DataError(
            f"{where}: not JSON ({found}): {show(text[:40])}; needs one object a line: "
            f"mend or remove the line"
        ) from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: found a {_kind(row)}, needs an object with chosen and rejected")
    return row


def _parquet_rows(file: Path, limit: int) -> Iterator[tuple[str, Mapping[str, object]]]:
    try:
        with file.open("rb") as handle:
            frame = pl.read_parquet(handle, n_rows=limit or None)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DataError(
            f"{file}: empty, truncated or not Parquet ({show(str(error))}); copy the file again"
        ) from None
    for number, row in enumerate(frame.iter_rows(named=True), 1):
        yield f"{file}: row {number}", row


def _check_types(row: Mapping[str, object], where: str) -> None:
    for name in ("chosen", "rejected"):
        if name not in row:
            raise DataError(
                f"{where}: column {name} is missing{did_you_mean(name, list(row))}; found "
                f"{show(', '.join(row))}, needs prompt, chosen, rejected (or whole dialogues in "
                f"chosen, rejected): rename the columns"
            )
    for name in _TEXTS:
        value = row.get(name)
        if name in row and not isinstance(value, str) and not (name == "subset" and value is None):
            raise DataError(
                f"{where}: column {name} is a {_kind(value)} ({show(value)}), needs text: "
                f"mend or remove the row"
            )
        if isinstance(value, str) and not _encodable(value):
            raise DataError(
                f"{where}: column {name} holds half a surrogate pair, which is not a character: "
                f"mend or remove the row"
            )


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_id(row: Mapping[str, object], where: str, line_of_id: dict[str, str]) -> None:
    if "id" not in row:
        return
    given = row["id"]
    if not isinstance(given, str | int) or isinstance(given, bool) or given == "":
        raise DataError(f"{where}: column id is {show(given)}, needs text or a whole number")
    if not _encodable(str(given)):
        raise DataError(f"{where}: column id holds half a surrogate pair: mend the id")
    if (earlier := line_of_id.setdefault(str(given), where)) != where:
        raise DataError(
            f"{where}: id {show(given)} is also at {earlier}; needs unique ids: mend or remove "
            f"the id column"
        )


def _pair(row: Mapping[str, object], subset: str, wanted: Sequence[str], where: str) -> _Pair | str:
    """Make a pair of a row, or return the reason to drop it."""
    if wanted and subset not in wanted:
        return "dropped_other_subset"
    chosen, rejected = str(row["chosen"]), str(row["rejected"])
    if "prompt" in row:
        prompt = str(row["prompt"])
    elif ASSISTANT in chosen or ASSISTANT in rejected:
        shared = _common_prefix(chosen, rejected)
        end = shared.rfind(ASSISTANT)
        if end < 0:
            return "dropped_sides_differ_before_last_turn"
        cut = end + len(ASSISTANT)
        prompt, chosen, rejected = shared[:cut], chosen[cut:], rejected[cut:]
        if any(turn in side for turn in (HUMAN, ASSISTANT) for side in (chosen, rejected)):
            return "dropped_sides_differ_before_last_turn"
    else:
        raise DataError(
            f"{where}: column prompt is missing{did_you_mean('prompt', list(row))}, and chosen is "
            f"no dialogue with {ASSISTANT!r}; needs prompt, chosen, rejected: add the column"
        )
    chosen, rejected = chosen.strip(), rejected.strip()
    if not prompt.strip():
        return "dropped_empty_prompt"
    if not chosen or not rejected:
        return "dropped_empty_response"
    if chosen == rejected:
        return "dropped_identical_responses"
    return _Pair(prompt, chosen, rejected, subset, str(row.get("id", "")))


def _common_prefix(left: str, right: str) -> str:
    pairs = enumerate(zip(left, right, strict=False))
    end = next((index for index, (a, b) in pairs if a != b), min(len(left), len(right)))
    return left[:end]


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__


def _drop_duplicates(pairs: Sequence[_Pair]) -> list[_Pair]:
    """Keep one row for each (prompt, chosen, rejected), whatever the order of the rows."""
    ordered = sorted(
        pairs, key=lambda pair: (pair.chosen, pair.rejected, pair.prompt, pair.source, pair.pair_id)
    )
    kept: dict[tuple[str, str, str], _Pair] = {}
    for pair in ordered:
        kept.setdefault((pair.prompt_id, pair.chosen, pair.rejected), pair)
    return list(kept.values())


def _source_data(
    pairs: Sequence[_Pair], params: FilesParams, seed: int, counts: dict[str, int], path: Path
) -> SourceData:
    texts = {pair.prompt for pair in pairs}
    groups = group_prompts(texts, {text: _opening(text) for text in texts})
    fractions = SplitFractions(
        params.validation_fraction, params.test_fraction, params.autorater_fraction
    )
    split_of = assign_splits(groups.names, fractions, seed, str(path))
    preferences = _preferences(pairs, groups, split_of)
    prompts = _prompts(preferences, groups, split_of, params.max_test_prompts, seed)
    sft = _sft(preferences)
    world = WORLD.empty()
    return SourceData.validated(
        sft=sft,
        preferences=preferences,
        prompts=prompts,
        world=world,
        counts={**counts, **_split_counts(preferences, prompts, sft), **_group_counts(groups)},
        where=path,
    )


def _opening(prompt: str) -> str:
    """Return a dialogue's first human turn: HH has many rows for the turns of one dialogue."""
    return normalise(prompt.split(ASSISTANT, 1)[0])


def _preferences(
    pairs: Sequence[_Pair], groups: PromptGroups, split_of: Mapping[str, str]
) -> pl.DataFrame:
    return PREFERENCES.frame(
        {
            "pair_id": [pair.pair_id for pair in pairs],
            "prompt_id": [pair.prompt_id for pair in pairs],
            "prompt": [pair.prompt for pair in pairs],
            "chosen": [pair.chosen for pair in pairs],
            "rejected": [pair.rejected for pair in pairs],
            "split": [split_of[groups.group_of[pair.prompt_id]] for pair in pairs],
            "source": [pair.source for pair in pairs],
            "label_source": ["human"] * len(pairs),
            "p_chosen": [None] * len(pairs),
        }
    )


def _prompts(
    preferences: pl.DataFrame,
    groups: PromptGroups,
    split_of: Mapping[str, str],
    max_test_prompts: int,
    seed: int,
) -> pl.DataFrame:
    train = [group for group, split in split_of.items() if split == "train"]
    unlabeled_groups = first_half(train, seed)
    unlabeled = [name for name, group in groups.group_of.items() if group in unlabeled_groups]
    test = [name for name, group in groups.group_of.items() if split_of[group] == "test"]
    test = hash_order(test, seed, "test prompts")[:max_test_prompts]
    # One prompt_id may stand for several spellings; the smallest is taken, whatever their order.
    text_of = dict(preferences.group_by("prompt_id").agg(pl.col("prompt").min()).iter_rows())
    names = [*unlabeled, *test]
    return PROMPTS.frame(
        {
            "prompt_id": names,
            "prompt": [text_of[name] for name in names],
            "split": ["unlabeled"] * len(unlabeled) + ["test"] * len(test),
        }
    )


def _sft(preferences: pl.DataFrame) -> pl.DataFrame:
    """Take each distinct chosen response of the train and validation pairs once."""
    chosen = (
        preferences.filter(pl.col("split").is_in(["train", "validation"]))
        .sort("prompt_id", "chosen", "prompt")
        .unique(["prompt_id", "chosen"], keep="first", maintain_order=True)
    )
    return SFT.frame(
        {
            "sft_id": [
                stable_id("s", name, response)
                for name, response in chosen.select("prompt_id", "chosen").iter_rows()
            ],
            "prompt_id": chosen["prompt_id"],
            "prompt": chosen["prompt"],
            "response": chosen["chosen"],
            "split": chosen["split"],
        }
    )


def _split_counts(
    preferences: pl.DataFrame, prompts: pl.DataFrame, sft: pl.DataFrame
) -> dict[str, int]:
    counted = {
        f"pairs_{split}": int((preferences["split"] == split).sum())
        for split in ("train", "validation", "test", "autorater")
    }
    counted["pairs_hf50"] = labeled_half(preferences, prompts).height
    for split in ("unlabeled", "test"):
        counted[f"prompts_{split}"] = int((prompts["split"] == split).sum())
    for split in ("train", "validation"):
        counted[f"sft_{split}"] = int((sft["split"] == split).sum())
    return counted


def _group_counts(groups: PromptGroups) -> dict[str, int]:
    return {
        "prompts": len(groups.group_of),
        "prompt_groups": len(groups.names),
        "openings_joined": groups.families_joined,
        "near_duplicates_joined": groups.near_duplicates_joined,
    }
