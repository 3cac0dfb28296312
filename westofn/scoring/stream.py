"""Score a stream of rows in chunks, with bounded memory and in order.

Responses are not trimmed, as in `eval`. A row with a response that is longer than the responses in
the model's training data gets `beyond_limit: true` and is counted.

Rewards are raw scalars, margins are logits. For an ensemble they are means over the members, and
columns with the standard deviation over the members are added (`reward_std`, `margin_std`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice, pairwise

import torch
from torch import Tensor

from westofn.core.halving import is_out_of_memory
from westofn.errors import ModelError
from westofn.models.ensemble import Ensemble
from westofn.models.scoring import pair_margins, score_pools
from westofn.networks.room import attention_bytes, free_bytes
from westofn.scoring.rows import Faults, Row

_GIB = 2**30
CHUNK_BATCHES = 4  # forward passes per chunk; rows of similar length share a pass


@dataclass(frozen=True)
class Scored:
    """What became of the rows.

    Attributes:
        rows: Number of rows that are written.
        beyond_limit: Number of rows with a response beyond the limit.
        unscored: Rows that the model cannot read; they are written with null.
    """

    rows: int
    beyond_limit: int
    unscored: Faults


class _NotFiniteError(ModelError):
    """A score is NaN or infinite, so the model is damaged and no other row can be trusted."""


def score_stream(
    ensemble: Ensemble,
    rows: Iterable[Row],
    *,
    batch: int,
    write: Callable[[Sequence[Row], Sequence[Mapping[str, object]]], object],
    advance: Callable[[int], object],
) -> Scored:
    """Score rows and write them with their new columns.

    Args:
        ensemble: A model or an ensemble.
        rows: Rows of one format.
        batch: Number of responses in one forward pass.
        write: Callback that gets the rows of a chunk and their new columns.
        advance: Callback that gets the number of written rows.

    Raises:
        ModelError: The model is pairwise and rows need rewards, a score is not finite, or the model
            can read no row.
        DataError: A row cannot be read, see `read_rows`.
    """
    done = beyond = 0
    unscored = Faults()
    for chunk in _chunks(rows, CHUNK_BATCHES * batch):
        require_rewards(ensemble, chunk[0])
        columns = new_columns(ensemble, chunk, batch, unscored)
        write(chunk, columns)
        done += len(chunk)
        beyond += sum("beyond_limit" in new for new in columns)
        advance(len(chunk))
    if done == unscored.count:
        raise ModelError(unscored.first)
    return Scored(done, beyond, unscored)


def new_columns(
    ensemble: Ensemble, rows: Sequence[Row], batch: int, unscored: Faults
) -> list[dict[str, object]]:
    """Compute the new columns of rows; a row that does not fit into memory costs no other row.

    Args:
        ensemble: A model or an ensemble.
        rows: Rows of one form.
        batch: Number of responses in one forward pass.
        unscored: Counts rows that the model cannot read; their numbers are None.

    Raises:
        ModelError: A score is not finite.
    """
    network = ensemble.members[0].model.network
    lengths = _longest_responses(ensemble, rows)
    free = free_bytes(ensemble.members[0].model.device)
    columns: dict[int, dict[str, object]] = {}
    together = []
    for index, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        needed = attention_bytes(network, length)
        if free is None or needed * min(batch, len(rows)) <= free:
            together.append(index)
        elif needed <= free:
            columns[index] = _tried(ensemble, [row], 1, unscored)[0]
        else:
            fault = (
                f"{row.place}: a response has {length:,} tokens, whose attention needs "
                f"{needed / _GIB:,.1f} GiB, {free / _GIB:,.1f} GiB are free"
            )
            columns[index] = _null(ensemble, row, fault, unscored)
    scored = _tried(ensemble, [rows[index] for index in together], batch, unscored)
    columns |= dict(zip(together, scored, strict=True))
    return [columns[index] for index in range(len(rows))]


def _tried(
    ensemble: Ensemble, rows: Sequence[Row], batch: int, unscored: Faults
) -> list[dict[str, object]]:
    """Run `_columns`; where it fails, on halves of the rows, then on smaller batches of one row."""
    if not rows:
        return []
    try:
        return _columns(ensemble, rows, batch)
    except Exception as error:
        out_of_memory = is_out_of_memory(error)
        if not (out_of_memory or isinstance(error, ModelError)):
            raise
        if len(rows) == 1 and isinstance(error, _NotFiniteError):
            raise ModelError(f"{rows[0].place}: {error}") from None
        fault = "memory runs out; use a machine with more" if out_of_memory else str(error)
    if len(rows) == 1 and out_of_memory and batch > 1 and len(rows[0].responses) > 1:
        return _tried(ensemble, rows, batch // 2, unscored)
    if len(rows) == 1:
        return [_null(ensemble, rows[0], f"{rows[0].place}: {fault}", unscored)]
    halves = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    return [new for half in halves for new in _tried(ensemble, half, batch, unscored)]


def _null(ensemble: Ensemble, row: Row, fault: str, unscored: Faults) -> dict[str, object]:
    """Return the new columns of a row that the model cannot read, and count it."""
    unscored.add(fault)
    name = _name_of(row)
    names = [name, f"{name}_std"] if len(ensemble.members) > 1 else [name]
    return {**dict.fromkeys(names), "beyond_limit": True}


def _name_of(row: Row) -> str:
    return "margin" if row.form == "pair" else "reward"


def _chunks(rows: Iterable[Row], responses: int) -> Iterator[list[Row]]:
    """Yield consecutive rows with about the given number of responses."""
    source = iter(rows)
    while chunk := list(islice(source, 1)):
        count = len(chunk[0].responses)
        while count < responses and (more := next(source, None)):
            chunk.append(more)
            count += len(more.responses)
        yield chunk


def require_rewards(ensemble: Ensemble, row: Row) -> None:
    """Refuse a row that needs rewards, if the model compares two responses.

    Raises:
        ModelError: The model is pairwise, and the row is no pair.
    """
    if row.form != "pair" and not ensemble.comparator.gives_rewards:
        raise ModelError(
            f"{row.place}: a reward of one response needs a pointwise model, this one is "
            f"{ensemble.comparator.name}, which compares two; give rows of prompt, chosen and "
            "rejected, or a pointwise model such as the student's"
        )


def _columns(ensemble: Ensemble, rows: Sequence[Row], batch: int) -> list[dict[str, object]]:
    """Compute the new columns of each row."""
    beyond_limit = _beyond_limit(ensemble, rows)
    name = _name_of(rows[0])
    statistics = [list[float | list[float]]() for _ in range(2)]
    for of_members in _scores(ensemble, rows, batch):
        values = of_members.double()  # the mean in float64
        for place, numbers in zip(
            statistics, (values.mean(0), values.std(0, correction=0)), strict=True
        ):
            place.append(numbers.tolist() if rows[0].form == "responses" else numbers.item())
    columns: list[dict[str, object]] = []
    for mean, std, is_long in zip(*statistics, beyond_limit, strict=True):
        if not all(map(math.isfinite, mean if isinstance(mean, list) else [mean])):
            raise _NotFiniteError(
                f"the model's {name} is {mean}, needs a finite number; the model is "
                "damaged or diverged: retrain it"
            )
        new: dict[str, object] = {name: mean}
        if len(ensemble.members) > 1:
            new[f"{name}_std"] = std
        if is_long:
            new["beyond_limit"] = True
        columns.append(new)
    return columns


def _scores(ensemble: Ensemble, rows: Sequence[Row], batch: int) -> list[Tensor]:
    """Compute each row's rewards (members, N) or (members, 1), or margin (members, 1)."""
    if rows[0].form != "pair":
        rewards = _rewards(ensemble, rows, batch)
        ends = accumulate((len(row.responses) for row in rows), initial=0)
        return [rewards[:, start:end] for start, end in pairwise(ends)]
    prompts = [row.prompt for row in rows]
    chosen, rejected = ([row.responses[side] for row in rows] for side in (0, 1))
    margins = [
        pair_margins(member, prompts, chosen, rejected, batch) for member in ensemble.members
    ]
    return list(torch.stack(margins).T.unsqueeze(-1))


def _rewards(ensemble: Ensemble, rows: Sequence[Row], batch: int) -> Tensor:
    """Compute rewards (members, responses of all rows); rows with equal prompts share a pool."""
    texts = [(row.prompt, response) for row in rows for response in row.responses]
    pools: list[list[int]] = []
    of_prompt: dict[str, list[int]] = {}
    for index, (prompt, _) in enumerate(texts):
        if len(of_prompt.get(prompt, ())) in (0, batch):  # a pool must fit into one forward pass
            of_prompt[prompt] = []
            pools.append(of_prompt[prompt])
        of_prompt[prompt].append(index)
    prompts = [texts[pool[0]][0] for pool in pools]
    responses = [[texts[index][1] for index in pool] for pool in pools]
    rewards = torch.empty(len(ensemble.members), len(texts))
    for place, member in zip(rewards, ensemble.members, strict=True):
        scored = score_pools(member, prompts, responses, batch)
        for pool, features in zip(pools, scored, strict=True):
            place[pool] = features[:, 0]
    return rewards


def _beyond_limit(ensemble: Ensemble, rows: Sequence[Row]) -> list[bool]:
    """Return for each row whether a response is too long for the training data."""
    limit = ensemble.encoder.template.max_response_tokens
    return [length > limit for length in _longest_responses(ensemble, rows)]


def _longest_responses(ensemble: Ensemble, rows: Sequence[Row]) -> list[int]:
    """Return the tokens of each row's longest response."""
    texts = [text for row in rows for text in row.responses]
    lengths = iter(ensemble.encoder.response_lengths(texts))
    return [max(islice(lengths, len(row.responses))) for row in rows]
