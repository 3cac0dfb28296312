"""Pools that were generated elsewhere: texts from a file, log-likelihoods from the policy here.

For the rows see `westofn/sources/pool_files.py`. Another engine's log-likelihoods are not read: the
likelihood filter needs log π(y|x) of the policy at hand, by the one scorer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.pools import Pools
from westofn.artifacts.table import show
from westofn.errors import DataError
from westofn.execution.account import Limit
from westofn.execution.shards import shard_files
from westofn.generation.sample_pools import PROMPTS_A_SHARD, with_policy
from westofn.models.policy import Policy, SavedPolicy, log_likelihood
from westofn.sources.pool_files import NOT_USED, pools_of
from westofn.sources.reading import Row, files_of, rows_of
from westofn.sources.splits import PromptNames, prompt_id


def read_pools(
    path: Path,
    prompts: pl.DataFrame,
    n_candidates: int,
    policy: Policy | SavedPolicy,
    key: str = "sample.path",
) -> tuple[Pools, dict[str, int]]:
    """Read the pools of prompts; of each the first N responses that fit are taken.

    Args:
        path: a file, or a folder of files.
        prompts: rows of table prompts.
        n_candidates: N.
        policy: its limit of tokens decides which responses fit; longer ones are left out, not cut.
        key: the parameter that a message says to mend.

    Returns:
        The pools sorted by prompt_id, and counts: of what was not used, by the reasons of NOT_USED;
        the limit of tokens, and the one that would keep 95 % of the responses.

    Raises:
        DataError: a file or row cannot be read, a prompt has no pool or two, or too few responses.
    """
    wanted = prompts.sort("prompt_id").select("prompt_id", "prompt").rows()
    # By their texts too, since the embedded world's names are no hashes of them.
    name_of = {prompt_id(prompt): name for name, prompt in wanted}
    place_of: dict[str, str] = {}
    pools = pools_of(_rows(path, key), name_of, place_of)
    counts = Counter(dict.fromkeys(NOT_USED, 0))
    fitting: dict[str, list[str]] = {}
    lengths: list[int] = []
    for row, name, responses in _pools_by_name(pools, PromptNames(wanted), place_of):
        if name is None:
            counts["rows_other_prompts"] += 1
            continue
        lengths += policy.encoder.response_lengths(responses)
        fitting[name] = _fitting(place_of[row], name, responses, n_candidates, policy)
        counts["responses_too_long"] += len(responses) - len(fitting[name])
        counts["responses_surplus"] += len(fitting[name]) - n_candidates
    if missing := [(name, prompt) for name, prompt in wanted if name not in fitting]:
        name, prompt = missing[0]
        raise DataError(
            f"{path}: {len(missing)} of {len(wanted)} prompts have no pool, first "
            f"{name} ({show(prompt)}); needs one each: generate for all of D_U "
            f"(data/prepared/prompts.parquet, split unlabeled), or set sample.engine to local"
        )
    read = Pools.of_rows((name, prompt, fitting[name]) for name, prompt in wanted)
    limit = Limit.of(policy.encoder.template.max_response_tokens, lengths)
    counts["max_response_tokens"] = limit.value
    counts["response_tokens_for_95_percent"] = limit.for_most
    return read.cut(n_candidates), dict(counts)


def score_shards(
    policy: Policy | SavedPolicy, pools: Pools, folder: Path, description: str
) -> list[Path]:
    """Files of table candidates: the pools with their log-likelihoods.

    Args:
        policy: scores; a saved one as `sample_pool` says.
        pools: sorted by prompt_id.
        folder: scratch folder that belongs to this work alone; its finished shards are used.
        description: shown beside the progress bar.
    """
    return shard_files(
        list(pools.rows()),
        with_policy(policy, _scored_rows),
        table=CANDIDATES,
        folder=folder,
        size=PROMPTS_A_SHARD,
        description=description,
    )


def _scored_rows(policy: Policy, rows: Sequence[tuple[str, str, list[str]]]) -> pl.DataFrame:
    return scored(policy, Pools.of_rows(rows))


def _rows(path: Path, key: str) -> Iterator[Row]:
    for file in files_of(path, key):
        yield from rows_of(file)


def _pools_by_name(
    pools: Pools, names: PromptNames, place_of: Mapping[str, str]
) -> Iterator[tuple[str, str | None, list[str]]]:
    """Yield the name of each pool, the prompt that it is for (None: of no prompt) and responses.

    A prompt without a pool of its own has the pool whose text differs only in case, white space or
    Unicode form.

    Raises:
        DataError: there are several such pools.
    """
    used: dict[str, str] = {}
    for row, text, responses in pools.rows():
        name = row if row in names else names.find(text)
        if name is None or (name != row and name in place_of):
            yield row, None, responses
            continue
        if (earlier := used.setdefault(name, row)) != row:
            raise DataError(
                f"{place_of[row]}: the text differs from prompt {name} only in case, white space "
                f"or Unicode form, as does the pool at {place_of[earlier]}; needs one: mend the "
                f"prompt of one, or remove the other"
            )
        yield row, name, responses


def _fitting(
    where: str, name: str, responses: list[str], n_candidates: int, policy: Policy | SavedPolicy
) -> list[str]:
    """The responses to one prompt that the policy's encoder need not cut, at least N."""
    all_fit = policy.encoder.fits(responses)
    fitting = [response for response, fits in zip(responses, all_fit, strict=True) if fits]
    if len(fitting) < n_candidates:
        raise DataError(
            f"{where}: prompt {name} has {len(responses)} responses, "
            f"{len(responses) - len(fitting)} of them longer than "
            f"{policy.encoder.template.max_response_tokens} tokens; needs {n_candidates} that "
            f"fit: give more, or lower sample.n_candidates"
        )
    return fitting


def scored(policy: Policy, pools: Pools, reasons: Sequence[str] = ()) -> pl.DataFrame:
    """Table candidates: pools with their log-likelihoods under the policy.

    Args:
        policy: Scores.
        pools: In the order of the table.
        reasons: finish_reason of every response; none: all ended.
    """
    rows = list(zip(*pools.flat(), strict=True))
    cut = [place for place, reason in enumerate(reasons) if reason == "length"]
    likelihoods = log_likelihood(
        policy, [row[1] for row in rows], [row[2] for row in rows], cut=cut
    )
    return pl.DataFrame(
        {
            "prompt_id": [row[0] for row in rows],
            "candidate_index": [i for pool in pools.responses for i in range(len(pool))],
            "response": [row[2] for row in rows],
            # A certain token's log-probability may round to just above zero.
            "logprob": likelihoods.logprob.clamp_max(0.0).tolist(),
            "n_tokens": likelihoods.n_tokens.tolist(),
            "finish_reason": list(reasons) or ["stop"] * len(rows),
        },
        schema=CANDIDATES.columns,
    )
