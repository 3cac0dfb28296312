from __future__ import annotations

from functools import cache
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from westofn.core import seeds
from westofn.core.seeds import derive_seed, prompt_key, prompt_keys, uniforms

DRAWS = 100_000
NAMES = st.lists(st.one_of(st.text(max_size=4), st.integers()), max_size=3).map(tuple)


@cache
def one_axis_at_a_time(axis: str) -> np.ndarray:
    """DRAWS numbers of which neighbours differ in one argument, by one."""
    key = np.full(DRAWS, 11, dtype=np.uint64)
    zero = np.zeros(DRAWS, dtype=np.int64)
    count = np.arange(DRAWS)
    if axis == "seed":
        return np.array(
            [uniforms(seed, key[:1], zero[:1], 0)[0] for seed in range(DRAWS // 20)], dtype=float
        )
    if axis == "prompt":
        return uniforms(3, key + count.astype(np.uint64), zero, 0)
    if axis == "candidate":
        return uniforms(3, key, count, 0)
    return uniforms(3, key, zero, count)


AXES = ("seed", "prompt", "candidate", "step")


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (
            (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
            (0xFFFFFFFF, 0xFFFFFFFF),
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_published_answers(counter, key, words) -> None:
    # Known answers of philox4x32-10, published with Salmon et al. 2011.
    state = [np.array([word], dtype=np.uint64) for word in counter]
    assert tuple(int(word[0]) for word in seeds._philox(state, key)) == words


def test_uniforms_place_seed_and_arguments_in_key_and_counter() -> None:
    # Third known answer above: key (lo, hi) = seed, counter = (key lo, key hi, candidate, step).
    key = np.array([0x85A308D3_243F6A88], dtype=np.uint64)
    drawn = uniforms(0x299F31D0_A4093822, key, np.array([0x13198A2E]), 0x03707344)
    assert drawn[0] == ((0xD16CFE09 >> 5) * 2**26 + (0x94FDCCEB >> 6)) / 2**53


@pytest.mark.parametrize("axis", AXES)
def test_uniforms_fill_the_unit_interval_evenly_along_each_argument(axis: str) -> None:
    drawn = one_axis_at_a_time(axis)
    observed = np.bincount((drawn * 100).astype(int), minlength=100)
    chi_square = ((observed - len(drawn) / 100) ** 2 / (len(drawn) / 100)).sum()
    # 99 degrees of freedom: mean 99, standard deviation sqrt(198) = 14.1; four of them.
    assert 99 - 4 * 14.1 < chi_square < 99 + 4 * 14.1


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("lag", [1, 2, 64])
def test_neighbours_along_each_argument_are_uncorrelated(axis: str, lag: int) -> None:
    drawn = one_axis_at_a_time(axis)
    correlation = np.corrcoef(drawn[:-lag], drawn[lag:])[0, 1]
    assert abs(correlation) * np.sqrt(len(drawn)) < 4


@pytest.mark.parametrize("axis", AXES)
def test_successive_pairs_fill_the_unit_square_evenly(axis: str) -> None:
    drawn = one_axis_at_a_time(axis)
    cells = (drawn[:-1:2] * 10).astype(int) * 10 + (drawn[1::2] * 10).astype(int)
    expected = len(cells) / 100
    chi_square = ((np.bincount(cells, minlength=100) - expected) ** 2 / expected).sum()
    assert 99 - 4 * 14.1 < chi_square < 99 + 4 * 14.1


def test_no_two_of_many_uniforms_are_equal() -> None:
    drawn = uniforms(0, prompt_keys([str(n) for n in range(100)])[:, None], np.arange(1000), 0)
    assert len(np.unique(drawn)) == 100_000


@pytest.mark.parametrize("change", ["seed", "prompt", "candidate", "step"])
def test_uniforms_depend_on_every_argument(change: str) -> None:
    base = {"seed": 5, "prompt": 6, "candidate": 7, "step": 8}
    changed = base | {change: base[change] + 1}

    def draw(a: dict[str, int]) -> float:
        key = np.array([a["prompt"]], dtype=np.uint64)
        return float(uniforms(a["seed"], key, np.array([a["candidate"]]), a["step"])[0])

    assert draw(base) != draw(changed)


@given(st.permutations(range(12)), st.integers(1, 11), st.integers(0, 2**64 - 1))
def test_uniforms_do_not_depend_on_batch_or_order(order, cut, seed) -> None:
    keys = prompt_keys([f"p{n // 4}" for n in range(12)])
    index = np.arange(12) % 4
    whole = uniforms(seed, keys, index, 9)
    order = np.array(order)
    parts = [uniforms(seed, keys[part], index[part], 9) for part in (order[:cut], order[cut:])]
    assert np.array_equal(np.concatenate(parts), whole[order])


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
def test_uniforms_are_multiples_of_two_to_the_minus_53_below_one(seed, key, index) -> None:
    drawn = uniforms(seed, np.array([key], dtype=np.uint64), np.array([index]), index)
    assert drawn.dtype == np.float64
    assert 0 <= drawn[0] < 1
    assert (drawn[0] * 2**53).is_integer()


def test_the_largest_uniform_is_below_one(monkeypatch: pytest.MonkeyPatch) -> None:
    ones = np.array([0xFFFFFFFF], dtype=np.uint64)
    monkeypatch.setattr(seeds, "_philox", lambda counter, key: (ones,) * 4)
    drawn = uniforms(0, np.zeros(1, dtype=np.uint64), np.zeros(1, dtype=int), 0)
    assert drawn[0] == 1 - 2**-53


def test_many_steps_at_once_equal_one_step_at_a_time() -> None:
    keys = prompt_keys(["a", "b"])
    block = uniforms(1, keys[:, None], np.zeros(1, dtype=int), np.arange(5))
    single = [uniforms(1, keys, np.zeros(2, dtype=int), step) for step in range(5)]
    assert np.array_equal(block, np.stack(single, axis=1))


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_of_more_than_64_bits_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=r"seed is .*needs an integer in \[0, 2\*\*64\)"):
        uniforms(seed, np.zeros(1, dtype=np.uint64), np.zeros(1, dtype=int), 0)


@pytest.mark.parametrize(
    ("keys", "index", "step", "message"),
    [
        (np.zeros(1), np.zeros(1, dtype=int), 0, "prompt_keys are float64, needs uint64"),
        (np.zeros(1, dtype=np.uint64), np.array([-1]), 0, "candidate_indices range -1"),
        (np.zeros(1, dtype=np.uint64), np.zeros(1), 0, "candidate_indices are float64"),
        (np.zeros(1, dtype=np.uint64), np.zeros(1, dtype=int), 2**32, "step range 4294967296"),
    ],
)
def test_arguments_that_do_not_fit_the_counter_are_refused(keys, index, step, message) -> None:
    with pytest.raises(ValueError, match=message):
        uniforms(0, keys, index, step)


def test_derive_seed_is_blake2b_of_typed_and_measured_names() -> None:
    digest = blake2b(b"i1:7s6:samplei2:-3", digest_size=8).digest()
    assert derive_seed(7, "sample", -3) == int.from_bytes(digest, "little") // 2


@given(st.integers(), NAMES, NAMES)
def test_different_names_give_different_seeds(seed, names, others) -> None:
    assert (derive_seed(seed, *names) == derive_seed(seed, *others)) == (names == others)


@given(st.integers(), NAMES)
def test_derived_seeds_have_63_bits(seed, names) -> None:
    assert 0 <= derive_seed(seed, *names) < 2**63


def test_prompt_key_is_blake2b_of_the_utf8_id() -> None:
    expected = int.from_bytes(blake2b("poß".encode(), digest_size=8).digest(), "little")
    assert prompt_key("poß") == expected
    assert prompt_keys(["poß"])[0] == expected


def test_prompt_keys_of_no_prompts_are_empty() -> None:
    assert prompt_keys([]).shape == (0,)
