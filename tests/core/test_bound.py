from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from westofn.core.bound import epsilon, pair_bound
from westofn.core.selection import exact_best_worst

PAIRS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30)


def test_epsilon_summarises_the_gaps() -> None:
    # Gaps 0, 0.1, ..., 1.0: the quantiles of eleven even steps are the levels themselves.
    gap = epsilon(np.arange(11) / 10, np.zeros(11))
    assert gap.sup == 1.0
    assert [gap.q99, gap.q95, gap.q90] == pytest.approx([0.99, 0.95, 0.9])
    assert [gap.median, gap.mean] == pytest.approx([0.5, 0.5])
    assert gap.pairs == 11


@given(PAIRS)
def test_epsilon_does_not_depend_on_who_is_called_true(pairs) -> None:
    model, true = zip(*pairs, strict=True)
    assert epsilon(model, true) == epsilon(true, model)


@given(PAIRS)
def test_annotators_agree_at_least_as_much_as_the_bound_says(pairs) -> None:
    model, true = (np.array(column) for column in zip(*pairs, strict=True))
    bound = pair_bound(model, epsilon(model, true).sup)
    assert (true >= bound - 1e-12).all()


@given(st.integers(2, 7), st.integers(0, 10_000), st.floats(0, 0.4))
def test_west_of_n_label_loses_at_most_two_epsilon_of_the_best_pair(n, seed, size) -> None:
    # The theorem of arXiv 2401.12086 on random annotators and a model that is off by up to `size`.
    generator = torch.Generator().manual_seed(seed)
    upper = torch.rand(n, n, generator=generator, dtype=torch.float64)
    true = torch.where(torch.ones(n, n).triu(1).bool(), upper, 1 - upper.T)
    noise = (torch.rand(n, n, generator=generator, dtype=torch.float64).triu(1) * 2 - 1) * size
    noise = noise.triu(1) - noise.triu(1).T
    model = (true + noise).clamp(1e-6, 1 - 1e-6)
    pair = exact_best_worst(model.logit().unsqueeze(0))
    off_diagonal = ~torch.eye(n, dtype=torch.bool)
    gap = epsilon(model[off_diagonal].numpy(), true[off_diagonal].numpy()).sup
    right = true[pair.best, pair.worst].item()
    assert right >= true[off_diagonal].max().item() - 2 * gap - 1e-9


def test_pair_bound_subtracts_epsilon_down_to_zero() -> None:
    assert pair_bound([1.0, 0.75, 0.1], 0.25).tolist() == [0.75, 0.5, 0.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: epsilon([], []), "p_model has shape"),
        (lambda: epsilon([0.5], [1.5]), "p_true ranges from 1.5"),
        (lambda: epsilon([0.5, 0.5], [0.5]), "shapes differ"),
        (lambda: pair_bound([0.5], -0.1), "epsilon is -0.1"),
        (lambda: pair_bound([np.nan], 0.1), "p_model has 1 values that are NaN"),
        (lambda: pair_bound([0.5], 1.5), "epsilon is 1.5"),
    ],
)
def test_unfit_inputs_are_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
