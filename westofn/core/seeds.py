"""Random numbers that depend on the sampled item, not on batching.

`derive_seed` derives a seed for each named task. `uniforms` is a counter-based generator: its
number for (seed, prompt, candidate, step) is a pure function of these four, so samples do not
depend on chunk size, batch order or restarts.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

UIntArray = NDArray[np.uint64]

_LOW_32 = np.uint64(0xFFFFFFFF)
_SHIFT_32 = np.uint64(32)
# Multipliers and Weyl constants of Philox-4x32 (Salmon et al. 2011).
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


def derive_seed(seed: int, *names: str | int) -> int:
    """Derive the seed of a named task from the run's seed.

    The names are hashed with their types and lengths (BLAKE2b), so `("ab", "c")` and `("a", "bc")`,
    or `("1",)` and `(1,)`, give unrelated seeds.

    Args:
        seed: The run's seed, any integer.
        *names: Name of the task, such as `"student_rm", "shuffle", epoch`.

    Returns:
        An integer in [0, 2**63), which both `torch.manual_seed` and numpy accept.

    >>> derive_seed(0, "sample") == derive_seed(0, "sample")
    True
    >>> derive_seed(0, "sample") == derive_seed(0, "sample", 1)
    False
    """
    digest = blake2b(digest_size=8)
    for part in (seed, *names):
        text = str(part).encode()
        kind = "s" if isinstance(part, str) else "i"
        digest.update(f"{kind}{len(text)}:".encode() + text)
    return int.from_bytes(digest.digest(), "little") >> 1


def prompt_key(prompt_id: str) -> int:
    """Hash a prompt's id to 64 bits (BLAKE2b), the prompt's key for `uniforms`.

    Returns:
        An integer in [0, 2**64); store it as `np.uint64`.

    >>> prompt_key("p1") == prompt_key("p2")
    False
    """
    return int.from_bytes(blake2b(prompt_id.encode(), digest_size=8).digest(), "little")


def prompt_keys(prompt_ids: Iterable[str]) -> UIntArray:
    """Return `prompt_key` of every id, as uint64 (prompts,).

    >>> prompt_keys(["p1", "p2"]).dtype
    dtype('uint64')
    """
    return np.array([prompt_key(prompt_id) for prompt_id in prompt_ids], dtype=np.uint64)


def uniforms(
    seed: int,
    prompt_keys: UIntArray,
    candidate_indices: NDArray[np.integer],
    step: int | NDArray[np.integer],
) -> NDArray[np.float64]:
    """Draw one uniform number for every (prompt, candidate, step).

    Philox-4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): the seed is
    its key, and the 128-bit counter is (prompt key, candidate index, step). The generator has no
    state, so a value depends on these four numbers only.

    Args:
        seed: Seed in [0, 2**64), for example from `derive_seed`.
        prompt_keys: uint64 keys from `prompt_keys`.
        candidate_indices: Integers in [0, 2**32).
        step: Integer or integers in [0, 2**32): the token's position or the number of the draw.

    Returns:
        float64 in [0, 1), multiples of 2**-53, in the broadcast shape of the three arrays.

    Raises:
        ValueError: A number is out of its range, or `prompt_keys` is not uint64.

    >>> keys = prompt_keys(["p1", "p2"])
    >>> both = uniforms(7, keys[:, None], np.arange(3), step=0)
    >>> both.shape
    (2, 3)
    >>> bool(both[1, 2] == uniforms(7, keys[1:], np.array([2]), step=0)[0])
    True
    """
    if prompt_keys.dtype != np.uint64:
        raise ValueError(f"prompt_keys are {prompt_keys.dtype}, needs uint64 (see prompt_keys)")
    counter = np.broadcast_arrays(
        prompt_keys & _LOW_32,
        prompt_keys >> _SHIFT_32,
        _word("candidate_indices", candidate_indices),
        _word("step", step),
    )
    high, low, _, _ = _philox(counter, _check_seed(seed))
    # 27 + 26 bits make the 53 of a float64, as in numpy's `Generator.random`.
    bits = ((high >> np.uint64(5)) << np.uint64(26)) | (low >> np.uint64(6))
    return bits.astype(np.float64) * 2.0**-53


def _check_seed(seed: int) -> tuple[int, int]:
    """Split a 64-bit seed into Philox's two key words."""
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed is {seed}, needs an integer in [0, 2**64)")
    return seed & 0xFFFFFFFF, seed >> 32


def _word(name: str, values: int | NDArray[np.integer]) -> UIntArray:
    """Return `values` as uint64; they must fit in 32 bits."""
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name} are {array.dtype}, needs integers")
    if array.size and (array.min() < 0 or array.max() > 0xFFFFFFFF):
        raise ValueError(f"{name} range {array.min()} to {array.max()}, needs [0, 2**32)")
    return array.astype(np.uint64)


def _philox(
    counter: Iterable[UIntArray], key: tuple[int, int]
) -> tuple[UIntArray, UIntArray, UIntArray, UIntArray]:
    """Philox-4x32-10: four counter words and two key words -> four random words, all < 2**32."""
    c0, c1, c2, c3 = counter
    for index in range(_ROUNDS):
        # Products of 32-bit words fit in uint64; the high half is mixed with the other words.
        k0, k1 = (
            np.uint64((word + index * weyl) & 0xFFFFFFFF)
            for word, weyl in zip(key, _WEYL, strict=True)
        )
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (p1 >> _SHIFT_32) ^ c1 ^ k0,
            p1 & _LOW_32,
            (p0 >> _SHIFT_32) ^ c3 ^ k1,
            p0 & _LOW_32,
        )
    return c0, c1, c2, c3
