"""Score a stream of rows chunk by chunk, so that memory is bounded and order is kept.

Every response is scored whole, however long, as `eval` does: none is cut. A row with a response
longer than those that the model was trained on gets `beyond_limit: true`, and is counted.

Rewards are raw scalars, margins logits. Of an ensemble they are the members' mean, and the
standard deviation over the members stands beside it (`reward_std`, `margin_std`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice, pairwise

import torch
from torch import Tensor

from westofn.errors import ModelError
from westofn.execution.halving import in_halves
from westofn.models.ensemble import Ensemble
from westofn.models.scoring import pair_margins, score_pools
from westofn.scoring.rows import Row

CHUNK_BATCHES = 4  # forward passes a chunk; rows of like length share one


@dataclass(frozen=True)
class Scored:
    """How many rows were scored, and in how many of them a response is beyond the limit."""

    rows: int
    beyond_limit: int


def score_stream(
    ensemble: Ensemble,
    rows: Iterable[Row],
    *,
    batch: int,
    write: Callable[[bytes], object],
    advance: Callable[[int], object],
) -> Scored:
    """Score rows and write each with its new columns.

    Args:
        ensemble: The model, or an ensemble.
        rows: Of one form.
        batch: Responses in one forward pass.
        write: Is given the lines of a chunk at once.
        advance: Is told how many rows were written.

    Raises:
        ModelError: The model is pairwise and rows ask for rewards, or an answer is not finite.
        DataError: A row cannot be read, see `read_rows`.
    """
    done = beyond = 0
    for chunk in _chunks(rows, CHUNK_BATCHES * batch):
        _require_rewards(ensemble, chunk[0])
        columns = _placed(ensemble, chunk, batch)
        lines = (row.with_columns(new) for row, new in zip(chunk, columns, strict=True))
        write("".join(lines).encode())
        done += len(chunk)
        beyond += sum("beyond_limit" in new for new in columns)
        advance(len(chunk))
    return Scored(done, beyond)


def _placed(ensemble: Ensemble, rows: list[Row], batch: int) -> list[dict[str, object]]:
    """`_columns` with smaller batches where memory runs out; an error names the row it is about."""
    try:
        return in_halves(rows, lambda part: _columns(ensemble, part, batch))
    except ModelError:
        for row in rows:
            try:
                _columns(ensemble, [row], batch)
            except ModelError as error:
                raise ModelError(f"{row.place}: {error}") from None
        raise


def _chunks(rows: Iterable[Row], responses: int) -> Iterator[list[Row]]:
    """Consecutive rows with about so many responses."""
    source = iter(rows)
    while chunk := list(islice(source, 1)):
        count = len(chunk[0].responses)
        while count < responses and (more := next(source, None)):
            chunk.append(more)
            count += len(more.responses)
        yield chunk


def _require_rewards(ensemble: Ensemble, row: Row) -> None:
    if row.form != "pair" and not ensemble.comparator.gives_rewards:
        raise ModelError(
            f"{row.place}: a reward of one response needs a pointwise model, this one is "
            f"{ensemble.comparator.name}, which compares two; give rows of prompt, chosen and "
            "rejected, or a pointwise model such as the student's"
        )


def _columns(ensemble: Ensemble, rows: Sequence[Row], batch: int) -> list[dict[str, object]]:
    """What each row gets."""
    long = _beyond_limit(ensemble, rows)
    name = "margin" if rows[0].form == "pair" else "reward"
    found = [list[float | list[float]]() for _ in range(2)]
    for of_members in _answers(ensemble, rows, batch):
        values = of_members.double()  # so that the mean is exact enough to be printed
        for place, numbers in zip(
            found, (values.mean(0), values.std(0, correction=0)), strict=True
        ):
            place.append(numbers.tolist() if rows[0].form == "responses" else numbers.item())
    columns: list[dict[str, object]] = []
    for mean, std, is_long in zip(*found, long, strict=True):
        if not all(map(math.isfinite, mean if isinstance(mean, list) else [mean])):
            raise ModelError(
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


def _answers(ensemble: Ensemble, rows: Sequence[Row], batch: int) -> list[Tensor]:
    """A row's rewards (members, N) or (members, 1), or margins (members, 1), for every row."""
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
    """(members, responses of all rows); a prompt that stands in several rows is read once."""
    texts = [(row.prompt, response) for row in rows for response in row.responses]
    pools: list[list[int]] = []
    of_prompt: dict[str, list[int]] = {}
    for index, (prompt, _) in enumerate(texts):
        if len(of_prompt.get(prompt, ())) in (0, batch):  # a pool is read in one forward pass
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
    """Whether a row has a response that training would have dropped for its length."""
    fits = iter(ensemble.encoder.fits([text for row in rows for text in row.responses]))
    return [not all(list(islice(fits, len(row.responses)))) for row in rows]
