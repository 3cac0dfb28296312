"""The gold annotator g(prompt, response), an exactly known reward that no training stage uses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from westofn.artifacts.table import show
from westofn.errors import DataError
from westofn.sources.world.knobs import KNOBS, Knobs
from westofn.sources.world.lexicon import (
    FACT_WEIGHTS,
    FACTS,
    FILLERS,
    FOLLOWERS,
    TASTE,
    WORD_CLASS,
)

# Terms of the gold reward other than `FACT_WEIGHTS` and `TASTE`, in units of reward.
WRONG_FACT = -0.9
FILLER = -0.5
REPETITION = -1.2
UNKNOWN_WORD = -0.6
BROKEN_GRAMMAR = -0.7
EXCESS_WORD = -0.1
MISSING_WORD = -0.6
MAX_WORDS = 18
MIN_WORDS = 5

# Word -> number of uses without a penalty for repetition.
_FREE_USES = {**dict.fromkeys(TASTE["determiner"], 2), "i": 3}
_START, _END = "\n<", "\n>"  # words contain no white space, so no text contains these marks
_EDGES = {_START: "start", _END: "end"}
_PUNCTUATION = str.maketrans(dict.fromkeys(".,;:!?", " "))


class _Effects(dict[tuple[str, str], float]):
    """Cache (previous word, word) -> the word's contribution to the reward.

    Every fact word counts as wrong here; `Gold._reward` adds the bonus of facts of the post.
    """

    def __init__(self, knobs: Knobs) -> None:
        super().__init__()
        self._worth = {
            word: knobs.taste_scale * taste
            for tastes in TASTE.values()
            for word, taste in tastes.items()
        }
        self._worth.update(dict.fromkeys((w for f in FILLERS for w in f.words), FILLER))
        self._worth.update(dict.fromkeys((w for ws in FACTS.values() for w in ws), WRONG_FACT))

    def __missing__(self, key: tuple[str, str]) -> float:
        previous_class, word_class = (_class(part) for part in key)
        effect = UNKNOWN_WORD if word_class == "unknown" else self._worth.get(key[1], 0.0)
        if word_class not in FOLLOWERS.get(previous_class, ()):
            effect += BROKEN_GRAMMAR
        self[key] = effect
        return effect


def _class(word: str) -> str:
    return _EDGES.get(word) or WORD_CLASS.get(word, "unknown")


class Gold:
    """The annotator's reward: facts and taste, minus errors, small talk, repetition and length.

    g = sum of `FACT_WEIGHTS` over facts of the post that the response states (each once)
      + `WRONG_FACT` for every other fact word, `FILLER` for every small-talk topic
      + `taste_scale` x `TASTE` for every wording
      + `REPETITION` for every repeated word, `UNKNOWN_WORD`, `BROKEN_GRAMMAR` for every pair of
        adjacent words that the grammar does not allow (so keyword stuffing does not pay)
      + `EXCESS_WORD` / `MISSING_WORD` for every word above `MAX_WORDS` / below `MIN_WORDS`.

    The annotators' preferences are Bradley-Terry: P*(a > b) = sigmoid((g(a) - g(b)) / temperature).

    Attributes:
        temperature: Noise of the annotators' labels, in units of reward.
    """

    def __init__(
        self,
        stated: Mapping[str, Mapping[str, str]],
        temperature: float,
        knobs: Knobs = KNOBS,
    ) -> None:
        self.temperature = temperature
        self._bonuses = {
            prompt_id: tuple((word, FACT_WEIGHTS[slot]) for slot, word in facts.items())
            for prompt_id, facts in stated.items()
        }
        self._effects = _Effects(knobs)

    @classmethod
    def from_frame(cls, world: pl.DataFrame, knobs: Knobs = KNOBS) -> Gold:
        """Build the annotator from a WORLD frame (each post's facts and the temperature).

        Raises:
            DataError: The frame has no rows, or a row does not have the format that `load_world`
                writes.
        """
        stated: dict[str, dict[str, str]] = {}
        temperatures: set[float] = set()
        for prompt_id, text in world.select("prompt_id", "facts").iter_rows():
            try:
                entry = json.loads(text)
                temperatures.add(float(entry.pop("temperature")))
                if entry.keys() != FACTS.keys() or any(
                    word not in FACTS[slot] for slot, word in entry.items()
                ):
                    raise ValueError
            except (
                ValueError,
                TypeError,
                AttributeError,
                LookupError,
                RecursionError,
                OverflowError,
            ):
                raise DataError(
                    f"world: prompt {prompt_id} has facts {show(text)}, needs a JSON object with a "
                    f"number temperature and a known word for each of {', '.join(FACTS)}; "
                    "rerun prepare"
                ) from None
            stated[prompt_id] = entry
        if len(temperatures) != 1:
            raise DataError(
                f"world: {len(stated)} rows with temperatures {sorted(temperatures)}, needs rows "
                "with one temperature; rerun prepare with source world"
            )
        return cls(stated, temperatures.pop(), knobs)

    def rewards(self, prompt_ids: Sequence[str], responses: Sequence[str]) -> NDArray[np.float64]:
        """Return the gold rewards (n,) of any texts; the cost is linear in the number of words.

        Raises:
            DataError: A prompt is not in the world.
        """
        try:
            bonuses = [self._bonuses[prompt_id] for prompt_id in prompt_ids]
        except KeyError as error:
            raise DataError(
                f"world: has no facts for prompt {error} among its {len(self._bonuses)}; "
                "responses and world come from different runs: rerun prepare and the later stages"
            ) from None
        return np.array(
            [self._reward(*pair) for pair in zip(bonuses, responses, strict=True)],
            dtype=np.float64,
        )

    def p_prefer(
        self, prompt_ids: Sequence[str], first: Sequence[str], second: Sequence[str]
    ) -> NDArray[np.float64]:
        """Return the annotators' probability P*(first > second), (n,)."""
        margins = self.rewards(prompt_ids, first) - self.rewards(prompt_ids, second)
        return p_prefer(margins, self.temperature)

    def _reward(self, bonuses: tuple[tuple[str, float], ...], response: str) -> float:
        words = response.lower().translate(_PUNCTUATION).split()
        unique = set(words)
        total = sum(map(self._effects.__getitem__, zip([_START, *words], [*words, _END])))  # noqa: B905
        for word, bonus in bonuses:
            if word in unique:
                total += bonus - WRONG_FACT * words.count(word)
        if len(unique) < len(words):
            total += REPETITION * _repeated(words, unique)
        if len(words) > MAX_WORDS:
            total += EXCESS_WORD * (len(words) - MAX_WORDS)
        elif len(words) < MIN_WORDS:
            total += MISSING_WORD * (MIN_WORDS - len(words))
        return total


def p_prefer(margins: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Return the Bradley-Terry probability of each gold margin, in the same shape."""
    return 0.5 + 0.5 * np.tanh(margins / (2.0 * temperature))  # a sigmoid that cannot overflow


def _repeated(words: list[str], unique: set[str]) -> int:
    """Count repeated words, without the free uses of small words."""
    free = sum(min(words.count(word), _FREE_USES[word]) - 1 for word in unique & _FREE_USES.keys())
    return len(words) - len(unique) - free
