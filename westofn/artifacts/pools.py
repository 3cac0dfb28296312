"""Pools: the candidates of each prompt, as every stage, study part and benchmark holds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from westofn.errors import DataError

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


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
        ids = ordered["prompt_id"].unique(maintain_order=True).to_list()
        size, needed = ordered.height // max(1, len(ids)), 2 if n is None else n
        if size < needed:
            raise DataError(
                f"candidates: each of {len(ids)} prompts has {size} candidates, needs {needed} "
                "(sample.n_candidates); rerun sample"
            )
        text_of = dict(prompts.select("prompt_id", "prompt").iter_rows())
        if unknown := [name for name in ids if name not in text_of]:
            raise DataError(
                f"candidates: {len(unknown)} of {len(ids)} prompts, first {unknown[0]}, are not in "
                "table prompts; both must come from one run of prepare: rerun prepare and sample"
            )
        flat, shape = ordered["response"].to_list(), (len(ids), size)
        return cls(
            prompt_ids=ids,
            prompts=[text_of[name] for name in ids],
            responses=[flat[start : start + size] for start in range(0, len(flat), size)],
            logprob=ordered["logprob"].to_numpy().astype(np.float64).reshape(shape),
            n_tokens=ordered["n_tokens"].to_numpy().astype(np.int64).reshape(shape),
            unfinished=(ordered["finish_reason"] == "length").to_numpy().reshape(shape),
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

    def head(self, count: int) -> Pools:
        """The pools of the first prompts, at most `count`."""
        return self.take(range(min(count, len(self.prompts))))

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
