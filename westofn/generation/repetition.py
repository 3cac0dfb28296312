"""How much the samples of a policy repeat: within a response, and between those of a prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from westofn.core.repetition import identical_samples, repeated_ngrams
from westofn.text.encoding import Encoder


def repetition(pools: Iterable[Sequence[str]], encoder: Encoder) -> dict[str, float | int]:
    """Measure the samples of prompts.

    Args:
        pools: The responses to each prompt, read once.
        encoder: The policy's; its tokens form the n-grams, so that a language without spaces counts
            like others.

    Returns:
        `repeated_ngrams` and `identical_samples`, shares; `pools_of_one_response`, prompts whose
        responses are all the same.
    """
    kinds: Counter[tuple[int, int]] = Counter()

    def ids() -> Iterator[Sequence[int]]:
        for pool in pools:
            kinds[len(pool), len(set(pool))] += 1
            yield from encoder.responses(pool)

    return {
        "repeated_ngrams": repeated_ngrams(ids()),
        "identical_samples": identical_samples(kinds.elements()),
        "pools_of_one_response": sum(
            count for (_, distinct), count in kinds.items() if distinct < 2
        ),
    }
