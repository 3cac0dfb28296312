"""The check of a later round, with real comparators."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.pairing.test_select import Scorers, _pools
from tests.small_models import COMPARATORS
from westofn.artifacts.pools import Pools
from westofn.core.rounds import PoolHealth
from westofn.errors import RoundError
from westofn.models.ensemble import Ensemble
from westofn.pairing.rounds import check_round, measure_round
from westofn.params.comparator import ComparatorName
from westofn.params.won_select import StopParams

LIMITS = StopParams(agreement=0.6, spread=0.25, distinct=0.1, length=2.0)


def _of_length(pools: Pools, tokens: float) -> Pools:
    """The same texts, every candidate of them of so many tokens."""
    shape = (len(pools.prompts), pools.n_candidates)
    return replace(pools, logprob=np.full(shape, -1.0), n_tokens=np.full(shape, tokens))


@pytest.mark.parametrize("comparator", COMPARATORS)
def test_a_model_agrees_with_itself_and_pools_are_as_spread_as_themselves(
    comparator: ComparatorName, scorers: Scorers
) -> None:
    pools, model = _pools(), Ensemble.of(scorers(comparator))
    pools = _of_length(pools, 3)
    health = measure_round(model, model, (pools, pools), 0)
    assert health == PoolHealth(agreement=1.0, spread=1.0, distinct=1.0, length=1.0)


def test_pools_of_one_response_have_no_spread_and_the_length_is_relative(scorers: Scorers) -> None:
    first, model = _pools(), Ensemble.of(scorers("pointwise"))
    alike = Pools(
        first.prompt_ids, first.prompts, [[pool[0]] * len(pool) for pool in first.responses]
    )
    health = measure_round(model, model, (_of_length(alike, 7), _of_length(first, 2)), 0)
    assert health == PoolHealth(agreement=0.5, spread=0.0, distinct=1 / 5, length=3.5)


def test_a_stop_is_one_line_with_round_measure_value_limit_and_mend() -> None:
    health = PoolHealth(agreement=0.514, spread=1.0, distinct=0.9, length=3.5)
    with pytest.raises(RoundError) as stop:
        check_round(health, LIMITS, "k2")
    line = str(stop.value)
    assert "\n" not in line
    assert line.startswith("won_select: round k2: agreement of the previous student with the first")
    for part in (
        "is 0.514, needs at least 0.6 (won_select.stop.agreement)",
        "is 3.500, needs 0.5 to 2 (won_select.stop.length)",
        "raise rlhf.kl_weight, lower rlhf.steps, or take k2 out of `loop`",
    ):
        assert part in line


def test_a_healthy_round_goes_on() -> None:
    check_round(PoolHealth(0.9, 1.1, 0.9, 1.1), LIMITS, "k2")
