"""Values of a label: which of two responses they prefer."""

from __future__ import annotations

import operator
import re
from collections.abc import Set

from westofn.sources.columns import words_of
from westofn.sources.formats.rows import as_number

_TIE_WORDS = {
    *("tie", "ties", "tied", "draw", "equal", "equally", "same", "similar", "both", "bothgood"),
    *("bothbad", "neither", "neutral", "indifferent", "undecided"),
}
_OF_NONE = {"preference", "difference", "winner"}
"""Words that mean a tie after `no`."""
_BESIDE_TIE = {
    *("a", "b", "the", "about", "roughly", "almost", "are", "is", "and", "good", "bad", "better"),
    *("it", "s", "they", "strong", "quality", "response", "responses", "answers"),
    *("inconsistent", "clear", "no", *_OF_NONE),
}
"""Words that may stand beside those of a tie."""
_EQUAL = re.compile(r"\w?(?:=|==|~|≈)\w?")
LONGEST_LABEL = 24
"""Characters; a longer value is a text."""
_DEGREES = ("", "slightly_", "somewhat_", "marginally_", "moderately_", "much_", "far_", "clearly_",
            "significantly_", "strongly_")  # fmt: skip
_BEFORE = (
    *("", "response_", "answer_", "output_", "completion_", "model_", "assistant_", "option_"),
    *("candidate_", "choice_", "summary_"),
    *(f"{degree}{word}_" for degree in _DEGREES for word in ("prefer", "prefers")),
)
_AFTER = (
    *("", "_wins", "_win"),
    *(f"{word}{degree}better" for degree in _DEGREES for word in ("_", "_is_")),
)
_WHOLE = re.compile(r"([+-]?\d+)\.0+")
_PLAIN = re.compile(r"(?!-)[\w\s\[\]().:'\"*-]+")
_COMPARISON = re.compile(r"(<=|>=|<|>)\s*(-?[\d.]+)")
_COMPARE = {"<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge}


def normal_label(value: object) -> str:
    """Return a label in the one spelling in which labels are compared.

    >>> [normal_label(value) for value in ("[[B]]", "Response B", 2.0, "-1", "A > B", True)]
    ['b', 'response_b', '2', '-1', 'a>b', 'true']
    """
    text = str(value).strip().lower()
    if whole := _WHOLE.fullmatch(text):
        return whole[1]
    if as_number(text) is not None:
        return text
    words = words_of(text) if _PLAIN.fullmatch(text) else ()
    return "_".join(words) or "".join(text.split())


def matches(value: object, spec: str) -> bool:
    """Return whether a label is one of the values of `spec`, or fulfils one of its comparisons.

    >>> matches("tie (bothbad)", "tie, both bad, tie (bothbad)"), matches("0.5", ">0")
    (True, True)
    """
    if value is None:
        return False
    label = normal_label(value)
    for option in filter(None, (part.strip() for part in spec.split(","))):
        if comparison := _COMPARISON.fullmatch(option):
            number, limit = as_number(label), as_number(comparison[2])
            compare = _COMPARE[comparison[1]]
            if number is not None and limit is not None and compare(number, limit):
                return True
        elif normal_label(option) == label:
            return True
    return False


def is_tie(label: str) -> bool:
    """Return whether a label, as `normal_label` returns it, prefers neither response.

    >>> [is_tie(normal_label(v)) for v in ("Tie (both bad)", "no preference", "A=B", "about equal")]
    [True, True, True, True]
    >>> [is_tie(normal_label(v)) for v in ("a is even better", "no tie", "not the same", "good")]
    [False, False, False, False]
    """
    words = set(label.split("_"))
    if label in ("none", "even") or _EQUAL.fullmatch(label):
        return True
    says_so = bool(words & _OF_NONE) if "no" in words else bool(words & _TIE_WORDS)
    names_one = len(words & {"a", "b"}) == 1 and "better" in words
    return says_so and words <= _TIE_WORDS | _BESIDE_TIE and not names_one


def meanings(seen: Set[str], suffixes: tuple[str, str]) -> dict[str, str] | None:
    """Return label_a, label_b and label_tie of a mapping; None if the values do not determine them.

    Args:
        seen: values of the label, as `normal_label` returns them.
        suffixes: what names the two responses, such as a and b or 1 and 2.

    >>> meanings({"model_b", "tie"}, ("a", "b"))
    {'label_a': 'model_a', 'label_b': 'model_b', 'label_tie': 'tie'}
    """
    a, b = suffixes
    pairs = [(f"{x}{a}{y}", f"{x}{b}{y}") for x in _BEFORE for y in _AFTER]
    pairs += [(f"{a}{x}", f"{b}{x}") for x in ("_response", "_answer")]
    pairs += [(f"{a}{x}{b}", f"{b}{x}{a}") for x in (">", ">>", ">>>")]
    ties = set(filter(is_tie, seen))
    used = [pair for pair in pairs if seen & set(pair)]
    if not used or not seen <= ties.union(*used):
        return None
    return {
        "label_a": ",".join(pair[0] for pair in used),
        "label_b": ",".join(pair[1] for pair in used),
        "label_tie": ",".join(sorted(ties)) or "tie",
    }
