"""From files of human preferences to what a run needs: examples, pairs by split, pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import torch
from torch import Tensor

from benchmarks.human.baselines import words
from benchmarks.human.settings import (
    MAX_VALIDATION_PAIRS,
    SUBSETS_A_STANCE,
    Sizes,
    Task,
    prepare_of,
    task_files,
)
from westofn.artifacts.pools import Pools
from westofn.artifacts.prompts import PROMPTS
from westofn.core.seeds import derive_seed
from westofn.errors import DataError
from westofn.params.whole import Params
from westofn.sources.data import labeled_half
from westofn.sources.registry import load_preferences
from westofn.sources.splits import folded_id, hash_order, prompt_id
from westofn.training.sft import Examples

SPLITS = ("train", "validation", "test", "autorater")
PAIR_COLUMNS = ("prompt", "chosen", "rejected")


@dataclass(frozen=True)
class HumanTexts:
    """What one task and seed are made of.

    Attributes:
        demonstrations: Train and validation rows of SFT.
        pairs: Split -> human pairs with PAIR_COLUMNS; the rows of train have a column `labeled`
            too, which is false for the pairs of D_U's prompts: HF100 has them, HF50 has not. All
            are labeled where D_U has prompts of its own.
        unlabeled: Prompts of D_U (table prompts), for which the policy writes the pools.
        pools: Pools of D_U that are human texts instead, equally many of each prompt.
        test_prompts: Prompts of best-of-n (table prompts).
        stances: Test prompt -> all of its human texts, in a task of kind `pools`.
        counts: Rows and prompts.
    """

    demonstrations: tuple[Examples, Examples]
    pairs: Mapping[str, pl.DataFrame]
    unlabeled: pl.DataFrame
    pools: Pools | None
    test_prompts: pl.DataFrame
    stances: Mapping[str, list[str]]
    counts: dict[str, int]


def read_texts(task: Task, data: Path, seed: int, params: Params) -> HumanTexts:
    """Read and split a task's files.

    Raises:
        DataError: A file cannot be read, or a split stays empty.
    """
    read = _human_pools if task.kind == "pools" else _sampled_pools
    texts = read(task, data, seed, params)
    return texts if task.sizes is None else _reduced(texts, task.sizes, seed)


def _sampled_pools(task: Task, data: Path, seed: int, params: Params) -> HumanTexts:
    source = load_preferences(prepare_of(task, data, params), seed)
    frames = {split: source.preferences.filter(pl.col("split") == split) for split in SPLITS}
    labeled = labeled_half(source.preferences, source.prompts).select("pair_id", labeled=True)
    frames["train"] = (
        frames["train"]
        .join(labeled, on="pair_id", how="left", maintain_order="left")
        .with_columns(pl.col("labeled").fill_null(value=False))
    )
    order = hash_order(frames["validation"]["pair_id"].to_list(), seed, "human validation")
    kept = set(order[:MAX_VALIDATION_PAIRS])
    frames["validation"] = frames["validation"].filter(pl.col("pair_id").is_in(kept))
    unlabeled = source.prompts.filter(pl.col("split") == "unlabeled")
    names = hash_order(unlabeled["prompt_id"].to_list(), seed, "human unlabeled")
    return HumanTexts(
        demonstrations=(_examples(source.sft, "train"), _examples(source.sft, "validation")),
        pairs=frames,
        unlabeled=unlabeled.filter(pl.col("prompt_id").is_in(names[: task.unlabeled_prompts])),
        pools=None,
        test_prompts=source.prompts.filter(pl.col("split") == "test"),
        stances={},
        counts={
            key: source.counts[key]
            for key in ("rows_in", "rows_out", "sft_train", "prompts_unlabeled", "prompts_test")
        }
        | {f"pairs_{split}": frame.height for split, frame in frames.items()},
    )


def _reduced(texts: HumanTexts, sizes: Sizes, seed: int) -> HumanTexts:
    """What the sizes leave, chosen by hashes of ids; the policy's own texts stay."""
    short = {
        split: frame.filter(_most_words(frame) <= sizes.words)
        for split, frame in texts.pairs.items()
    }
    train = short["train"]
    labeled, others = train.filter("labeled"), train.filter(~pl.col("labeled"))
    each = sizes.train // 2 if others.height else sizes.train
    frames = {
        "train": pl.concat([_sample(labeled, each, seed), _sample(others, each, seed)]),
        "validation": _sample(short["validation"], sizes.validation, seed),
        "test": _sample(short["test"], sizes.test, seed),
    }
    return replace(
        texts,
        pairs=frames,
        test_prompts=PROMPTS.empty(),
        counts={
            **texts.counts,
            **{f"pairs_{split}": frame.height for split, frame in frames.items()},
            "pairs_autorater": 0,
        },
    )


def _sample(pairs: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
    kept = set(hash_order(pairs["pair_id"].to_list(), seed, "human sizes")[:count])
    return pairs.filter(pl.col("pair_id").is_in(kept))


def _most_words(pairs: pl.DataFrame) -> pl.Series:
    """(pairs,) words of the longest of prompt and responses."""
    columns = (pairs[name].to_list() for name in PAIR_COLUMNS)
    return pl.Series(
        [max(len(words(text)) for text in row) for row in zip(*columns, strict=True)],
        dtype=pl.Int64,
    )


def _examples(sft: pl.DataFrame, split: str) -> Examples:
    rows = sft.filter(pl.col("split") == split)
    return Examples(rows["prompt"].to_list(), rows["response"].to_list())


DEBATES = {"test": 4, "validation": 2}
"""Debates that are held out; half of the others are labeled, and the others' stances are D_U."""


def debate_of(prompt: str) -> str:
    """The debate of a stance's prompt: both stances of one debate lie in one split.

    >>> debate_of("Debate: tea or coffee. Stance: tea. Give an argument.")
    'Debate: tea or coffee'
    """
    return prompt.partition(". Stance: ")[0]


def _human_pools(task: Task, data: Path, seed: int, params: Params) -> HumanTexts:
    """Split by debate, so that every measure is across topics."""
    del params  # of sections that only pools from the policy need
    pairs_file, pools_file = task_files(task, data)
    pairs = _read(pairs_file, PAIR_COLUMNS).select(PAIR_COLUMNS).unique().sort(PAIR_COLUMNS)
    pools = dict(_read(pools_file, ("prompt", "responses")).select("prompt", "responses").rows())
    debates = hash_order(sorted({debate_of(text) for text in pools}), seed, "human debates")
    held_out = sum(DEBATES.values())
    if len(debates) < held_out + 2:
        raise DataError(
            f"{pools_file}: {len(debates)} debates, needs at least {held_out + 2}: "
            f"{held_out} are held out and two are train"
        )
    test, rest = debates[: DEBATES["test"]], debates[DEBATES["test"] :]
    validation, train = rest[: DEBATES["validation"]], rest[DEBATES["validation"] :]
    labeled = train[: (len(train) + 1) // 2]
    of_debate = {text: debate_of(text) for text in pools}

    def pairs_of(names: Sequence[str]) -> pl.DataFrame:
        return pairs.filter(pl.col("prompt").map_elements(debate_of, pl.String).is_in(names))

    def texts_of(names: Sequence[str]) -> dict[str, list[str]]:
        return {t: list(dict.fromkeys(pools[t])) for t in sorted(pools) if of_debate[t] in names}

    frames = {split: pairs_of(names) for split, names in (("train", train), ("test", test))}
    frames["train"] = frames["train"].with_columns(
        labeled=pl.col("prompt").map_elements(debate_of, pl.String).is_in(labeled)
    )
    frames["validation"] = (
        pairs_of(validation)
        .sample(fraction=1.0, shuffle=True, seed=derive_seed(seed, "human validation"))
        .head(MAX_VALIDATION_PAIRS)
    )
    unlabeled = texts_of(train[len(labeled) :])
    return HumanTexts(
        demonstrations=(_flat(texts_of(train)), _flat(texts_of(validation))),
        pairs=frames,
        unlabeled=PROMPTS.empty(),
        pools=_subsets(unlabeled, task.n_candidates, seed),
        test_prompts=PROMPTS.empty(),
        stances=texts_of(test),
        counts={
            "rows_in": pairs.height,
            "rows_out": pairs.height,
            "prompts_unlabeled": len(unlabeled),
            "prompts_test": len(texts_of(test)),
            **{f"pairs_{split}": frame.height for split, frame in frames.items()},
        },
    )


def _flat(texts: Mapping[str, Sequence[str]]) -> Examples:
    rows = [(prompt, text) for prompt, responses in texts.items() for text in responses]
    return Examples([prompt for prompt, _ in rows], [text for _, text in rows])


def _subsets(texts: Mapping[str, Sequence[str]], size: int, seed: int) -> Pools:
    """SUBSETS_A_STANCE random pools of every stance that has enough texts."""
    rows: list[tuple[str, str, list[str]]] = []
    for prompt, responses in texts.items():
        name = prompt_id(prompt)
        chance = torch.Generator().manual_seed(derive_seed(seed, "human pools", folded_id(prompt)))
        for _ in range(SUBSETS_A_STANCE if len(responses) >= size else 0):
            order = torch.randperm(len(responses), generator=chance)[:size].tolist()
            rows.append((name, prompt, [responses[index] for index in order]))
    return Pools.of_rows(rows)


def _read(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    try:
        frame = pl.read_ndjson(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path} cannot be read: {error}; needs JSONL, perhaps gzipped") from None
    if missing := [name for name in columns if name not in frame.columns]:
        raise DataError(
            f"{path} has columns {', '.join(frame.columns)}, needs {', '.join(missing)} too"
        )
    return frame


def conditions_of(pairs: pl.DataFrame, nearness: Tensor) -> dict[str, Tensor]:
    """Rows of human pairs that stand for some systems; by name of CONDITIONS, (pairs,) bool.

    The files do not say which system wrote a text. Two marks of spelling tell some: of 630 prompts
    none has more than one text without a capital letter, so one system writes so; and none has more
    than two with a space before a full stop or a comma, so two systems do.

    Args:
        pairs: With PAIR_COLUMNS.
        nearness: (pairs,) see `Features`.
    """
    spaced = _either(pairs, r" [.,]")
    lower = _either(pairs, r"^[^\p{Lu}]*$")
    middle = nearness.median()
    return {
        "near": nearness >= middle,
        "far": nearness < middle,
        "spaced": spaced,
        "lower": lower,
        "plain": ~(spaced | lower),
    }


def _either(pairs: pl.DataFrame, pattern: str) -> Tensor:
    """(pairs,) whether a response of the pair matches."""
    hits = pairs.select(
        pl.any_horizontal(pl.col(side).str.contains(pattern) for side in ("chosen", "rejected"))
    )
    return torch.tensor(hits.to_series().to_list(), dtype=torch.bool)
