"""Pools: the candidates of each prompt, as every stage, study part and benchmark holds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from westofn.artifacts.candidates import CANDIDATES
from westofn.errors import DataError

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

PROMPTS_AT_ONCE = 1024
"""Prompts in a part of a table that is read for counts or for a decision on each pair."""


@dataclass(frozen=True)
class PoolRows:
    """The candidates of P prompts as P * N rows, pool after pool.

    Attributes:
        candidates: Columns prompt_id, response, logprob and n_tokens, as in table CANDIDATES; in
            each pool by candidate_index.
        prompts: P rows prompt_id, prompt.
        size: N.
    """

    candidates: pl.DataFrame
    prompts: pl.DataFrame
    size: int

    @classmethod
    def of(cls, candidates: pl.DataFrame, prompts: pl.DataFrame, n: int | None = None) -> PoolRows:
        """The rows of tables CANDIDATES, sorted by key, and PROMPTS; raises as `Pools.from_frames`.

        Args:
            candidates: All candidates of these prompts, equally many of each.
            prompts: Table PROMPTS; prompts without candidates are left out.
            n: Candidates that each prompt must have at least; None: two.
        """
        names = candidates.filter(pl.col("candidate_index") == 0)["prompt_id"]
        count, needed = len(names), 2 if n is None else n
        size = candidates.height // max(1, count)
        if size < needed:
            raise DataError(
                f"candidates: each of {count} prompts has {size} candidates, needs {needed} "
                "(sample.n_candidates); rerun sample"
            )
        texts = names.to_frame().join(
            prompts.select("prompt_id", "prompt"), on="prompt_id", how="left", maintain_order="left"
        )
        if unknown := texts.filter(pl.col("prompt").is_null())["prompt_id"].to_list():
            raise DataError(
                f"candidates: {len(unknown)} of {count} prompts, first {unknown[0]}, are not in "
                "table prompts; both must come from one run of prepare: rerun prepare and sample"
            )
        return cls(candidates, texts, size)


def pool_rows(
    path: Path, prompts: pl.DataFrame, count: int, n: int | None = None
) -> Iterator[PoolRows]:
    """Read the rows of a file of table CANDIDATES, those of `count` prompts at a time.

    Args:
        path: The file.
        prompts: Table PROMPTS.
        count: Prompts in a part; the last one may have fewer.
        n: Candidates that each prompt must have at least; None: two.

    Raises:
        DataError: As `Table.read` and `Pools.from_frames`.
    """
    ordered = prompts.sort("prompt_id")
    names = ordered["prompt_id"]
    for part in CANDIDATES.parts(path, count):
        # Both are sorted, so a part's prompts are a slice; a join with all would take
        # (number of prompts)² / count.
        start = names.search_sorted(part["prompt_id"][0], "left")
        end = names.search_sorted(part["prompt_id"][-1], "right")
        try:
            rows = PoolRows.of(part, ordered[start:end], n)
        except DataError:
            PoolRows.of(CANDIDATES.read(path), prompts, n)  # whose message counts all prompts
            raise
        yield rows


@dataclass(frozen=True)
class PoolFile:
    """The first n candidates of each prompt of a file of table CANDIDATES, read in blocks.

    Attributes:
        path: The file.
        prompts: Table PROMPTS.
        n_candidates: N.
    """

    path: Path
    prompts: pl.DataFrame
    n_candidates: int

    def blocks(self, count: int) -> Iterator[Pools]:
        """The pools of `count` prompts at a time; raises as `pool_rows`."""
        n = self.n_candidates
        return (Pools.of_pool_rows(r, n) for r in pool_rows(self.path, self.prompts, count, n))

    def read(self) -> Pools:
        """All pools at once; raises as `pool_rows`."""
        return Pools.from_frames(CANDIDATES.read(self.path), self.prompts, self.n_candidates)


@dataclass(frozen=True)
class Pools:
    """The candidates of P prompts; pools with equal texts are equal.

    Attributes:
        prompt_ids: P names.
        prompts: P texts.
        responses: P lists of N responses, by candidate_index. Pools of a user's file may differ in
            size, until `cut` makes them equal.
        logprob: (P, N) log π(y|x), nats, of the policy that sampled; None for other texts.
        n_tokens: (P, N) tokens in that sum; None for other texts.
        unfinished: (P, N) whether the limit of tokens cut the response; None: none is.
    """

    prompt_ids: list[str]
    prompts: list[str]
    responses: list[list[str]]
    logprob: FloatArray | None = field(default=None, compare=False)
    n_tokens: IndexArray | None = field(default=None, compare=False)
    unfinished: BoolArray | None = field(default=None, compare=False)

    @classmethod
    def from_frames(
        cls, candidates: pl.DataFrame, prompts: pl.DataFrame, n: int | None = None
    ) -> Pools:
        """The pools of tables CANDIDATES and PROMPTS, sorted by prompt_id.

        Args:
            candidates: Rows in any order.
            prompts: Table PROMPTS; prompts without candidates are left out.
            n: Take the first n candidates of each prompt; None takes all, at least two.

        Raises:
            DataError: There are fewer candidates than that, none at all, or none of their prompt.
        """
        ordered = candidates.sort("prompt_id", "candidate_index")
        return cls.of_pool_rows(PoolRows.of(ordered, prompts, n), n)

    @classmethod
    def of_pool_rows(cls, rows: PoolRows, n: int | None = None) -> Pools:
        """The pools of rows, of the first n candidates of each prompt; None: of all."""
        table, size = rows.candidates, rows.size
        flat, shape = table["response"].to_list(), (rows.prompts.height, size)
        return cls(
            prompt_ids=rows.prompts["prompt_id"].to_list(),
            prompts=rows.prompts["prompt"].to_list(),
            responses=[flat[start : start + size] for start in range(0, len(flat), size)],
            logprob=table["logprob"].to_numpy().astype(np.float64).reshape(shape),
            n_tokens=table["n_tokens"].to_numpy().astype(np.int64).reshape(shape),
            unfinished=(table["finish_reason"] == "length").to_numpy().reshape(shape),
        ).cut(size if n is None else n)

    @classmethod
    def of_rows(cls, rows: Iterable[tuple[str, str, list[str]]]) -> Pools:
        """Pools of (prompt_id, prompt, responses)."""
        listed = list(rows)
        return cls(
            [name for name, _, _ in listed],
            [prompt for _, prompt, _ in listed],
            [responses for _, _, responses in listed],
        )

    def __len__(self) -> int:
        """P."""
        return len(self.prompt_ids)

    def rows(self) -> Iterator[tuple[str, str, list[str]]]:
        """(prompt_id, prompt, responses) of each pool."""
        return zip(self.prompt_ids, self.prompts, self.responses, strict=True)

    @property
    def n_candidates(self) -> int:
        """N; of pools that differ in size, the size of the smallest."""
        return min(map(len, self.responses))

    @property
    def likelihoods(self) -> tuple[FloatArray, IndexArray]:
        """`logprob` and `n_tokens`.

        Raises:
            ValueError: The texts are not those of a policy.
        """
        if self.logprob is None or self.n_tokens is None:
            raise ValueError("these pools have no log-likelihoods")
        return self.logprob, self.n_tokens

    @property
    def logprob_per_token(self) -> FloatArray:
        """(P, N) log π(y|x) / tokens, nats; raises as `likelihoods`."""
        logprob, n_tokens = self.likelihoods
        per_token: FloatArray = logprob / n_tokens
        return per_token

    def take(self, rows: Sequence[int] | IndexArray) -> Pools:
        """The pools of some of the prompts, in the order of `rows`."""
        index = np.asarray(rows, dtype=np.int64)
        return Pools(
            prompt_ids=[self.prompt_ids[row] for row in index],
            prompts=[self.prompts[row] for row in index],
            responses=[self.responses[row] for row in index],
            logprob=None if self.logprob is None else self.logprob[index],
            n_tokens=None if self.n_tokens is None else self.n_tokens[index],
            unfinished=None if self.unfinished is None else self.unfinished[index],
        )

    def blocks(self, count: int) -> Iterator[Pools]:
        """The pools of `count` prompts at a time."""
        for start in range(0, len(self.prompts), count):
            yield self.take(range(start, min(start + count, len(self.prompts))))

    def head(self, count: int) -> Pools:
        """The pools of the first prompts, at most `count`."""
        return self.take(range(min(count, len(self.prompts))))

    def as_rows(self) -> PoolRows:
        """The pools as rows with the log-likelihoods; raises as `likelihoods`."""
        names, _, responses = self.flat()
        logprob, n_tokens = self.likelihoods
        columns = {
            "prompt_id": names,
            "response": responses,
            "logprob": logprob.ravel(),
            "n_tokens": n_tokens.ravel(),
        }
        prompts = pl.DataFrame({"prompt_id": self.prompt_ids, "prompt": self.prompts})
        return PoolRows(pl.DataFrame(columns), prompts, self.n_candidates)

    def cut(self, n: int) -> Pools:
        """The first n candidates of every prompt."""
        return Pools(
            prompt_ids=self.prompt_ids,
            prompts=self.prompts,
            responses=[responses[:n] for responses in self.responses],
            logprob=None if self.logprob is None else self.logprob[:, :n],
            n_tokens=None if self.n_tokens is None else self.n_tokens[:, :n],
            unfinished=None if self.unfinished is None else self.unfinished[:, :n],
        )

    def flat(self) -> tuple[list[str], list[str], list[str]]:
        """prompt_ids, prompts and responses of all candidates, pool after pool."""
        return (
            [name for name, _, responses in self.rows() for _ in responses],
            [prompt for _, prompt, responses in self.rows() for _ in responses],
            [response for responses in self.responses for response in responses],
        )

    def rows_of(self, pairs: pl.DataFrame, table: str) -> IndexArray:
        """The row of each pair's prompt, (pairs,).

        Args:
            pairs: With column prompt_id.
            table: Names the pairs in a message.

        Raises:
            DataError: A prompt has no pool.
        """
        row_of = {name: row for row, name in enumerate(self.prompt_ids)}
        rows = [row_of.get(name) for name in pairs["prompt_id"]]
        self._require_all(table, [row is None for row in rows])
        return np.array(rows, dtype=np.int64)

    def indices_of(self, pairs: pl.DataFrame, side: str, table: str) -> IndexArray:
        """The candidate_index of one side of each pair, (pairs,).

        Args:
            pairs: With columns chosen_index and rejected_index.
            side: chosen or rejected.
            table: Names the pairs in a message.

        Raises:
            DataError: An index is beyond the pools.
        """
        indices = pairs[f"{side}_index"].to_numpy().astype(np.int64)
        self._require_all(table, list(indices >= self.n_candidates))
        return indices

    def _require_all(self, table: str, missing: Sequence[bool]) -> None:
        if count := sum(missing):
            raise DataError(
                f"{table}: {count} of {len(missing)} pairs point to candidates or prompts that are "
                "not there; both must come from one run of sample: rerun sample and won_select"
            )
