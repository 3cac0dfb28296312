"""One type for the candidates of prompts: from tables, in any order, whole or in part."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tests.evaluation.planted import candidate_frame, prompt_frame
from westofn.artifacts.pools import Pools
from westofn.errors import DataError

FRAME = candidate_frame({"p1": ["good", "bad", "a"], "p0": ["so", "good good", "b"]})
PROMPTS = prompt_frame(["p1", "p0", "p9"])


def test_row_and_column_are_prompt_and_candidate_index_whatever_the_order_of_rows() -> None:
    shuffled = FRAME.sample(fraction=1.0, shuffle=True, seed=1)
    pools = Pools.from_frames(shuffled, PROMPTS)
    assert pools.prompt_ids == ["p0", "p1"]
    assert pools.prompts == ["a post about p0", "a post about p1"]
    assert pools.responses == [["so", "good good", "b"], ["good", "bad", "a"]]
    # candidate_frame: -0.5 a token of the first candidate, -1 of the second, -1.5 of the third.
    np.testing.assert_allclose(pools.logprob_per_token, [[-0.5, -1.0, -1.5]] * 2)
    assert pools.likelihoods[1].tolist() == [[2, 3, 2], [2, 2, 2]]


def test_the_first_n_of_more_candidates_are_taken() -> None:
    pools = Pools.from_frames(FRAME, PROMPTS, 2)
    assert pools.responses == [["so", "good good"], ["good", "bad"]]
    assert pools.logprob_per_token.shape == (2, 2)
    assert pools == Pools.from_frames(FRAME, PROMPTS).cut(2)


@pytest.mark.parametrize(("kept", "n", "count"), [(3, 4, 3), (1, None, 1), (0, 1, 0)])
def test_fewer_candidates_than_are_needed_are_refused(kept: int, n: int | None, count: int) -> None:
    needed = n or 2
    with pytest.raises(DataError, match=rf"{count} candidates, needs {needed} \(sample.n_cand"):
        Pools.from_frames(FRAME.filter(pl.col("candidate_index") < kept), PROMPTS, n)


def test_candidates_of_unknown_prompts_are_refused() -> None:
    with pytest.raises(DataError, match="1 of 2 prompts, first p1, are not in table prompts"):
        Pools.from_frames(FRAME, prompt_frame(["p0"]))


def test_parts_keep_texts_and_numbers_together() -> None:
    pools = Pools.from_frames(FRAME, PROMPTS)
    turned = pools.take([1, 0])
    assert list(turned.rows()) == list(pools.rows())[::-1]
    assert turned.likelihoods[1].tolist() == [[2, 2, 2], [2, 3, 2]]
    assert pools.head(9) == pools
    assert pools.head(1) == pools.take([0])


def test_pools_of_a_file_may_differ_in_size_and_have_no_likelihoods() -> None:
    pools = Pools.of_rows([("p0", "x", ["a", "b", "c"]), ("p1", "y", ["d", "e"])])
    assert pools.n_candidates == 2
    assert pools.cut(2).responses == [["a", "b"], ["d", "e"]]
    assert pools.flat()[0] == ["p0", "p0", "p0", "p1", "p1"]
    with pytest.raises(ValueError, match="no log-likelihoods"):
        _ = pools.logprob_per_token


def test_pairs_of_other_pools_are_refused() -> None:
    pools = Pools.from_frames(FRAME, PROMPTS)
    pairs = pl.DataFrame({"prompt_id": ["p1", "p0", "p7"], "chosen_index": [2, 3, 0]})
    assert pools.rows_of(pairs.head(2), "pairs").tolist() == [1, 0]
    assert pools.indices_of(pairs.head(1), "chosen", "pairs").tolist() == [2]
    with pytest.raises(DataError, match="pairs: 1 of 3 pairs point to candidates or prompts"):
        pools.rows_of(pairs, "pairs")
    with pytest.raises(DataError, match="pairs: 1 of 3 pairs point to candidates or prompts"):
        pools.indices_of(pairs, "chosen", "pairs")


def test_a_response_that_the_limit_cut_is_unfinished() -> None:
    frame = FRAME.with_columns(
        finish_reason=pl.when(pl.col("candidate_index") == 1)
        .then(pl.lit("length"))
        .otherwise(pl.lit("stop"))
    )
    pools = Pools.from_frames(frame, PROMPTS)
    for some in (pools, pools.take([1]), pools.cut(2)):
        assert some.unfinished is not None
        places = [place == 1 for place in range(some.n_candidates)]
        assert some.unfinished.tolist() == [places] * len(some.prompts)
