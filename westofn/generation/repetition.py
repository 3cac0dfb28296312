"""How much the samples of a policy repeat: within a response, and between those of a prompt."""

from __future__ import annotations

from collections.abc import Sequence

from westofn.core.repetition import identical_samples, repeated_ngrams
from westofn.text.encoding import Encoder


def repetition(pools: Sequence[Sequence[str]], encoder: Encoder) -> dict[str, float | int]:
    """Measure the samples of prompts.

    Args:
        pools: The responses to each prompt.
        encoder: The policy's; its tokens form the n-grams, so that a language without spaces counts
            like others.

    Returns:
        `repeated_ngrams` and `identical_samples`, shares; `pools_of_one_response`, prompts whose
        responses are all the same.
    """
    return {
        "repeated_ngrams": repeated_ngrams(
            ids for pool in pools for ids in encoder.responses(pool)
        ),
        "identical_samples": identical_samples(pools),
        "pools_of_one_response": sum(len(set(pool)) < 2 for pool in pools),
    }
