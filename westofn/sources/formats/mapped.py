"""Read rows by a mapping of columns: one reader for every form of preferences."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from westofn.artifacts.table import did_you_mean, show
from westofn.core.dialogue import Message, canonical, clean, to_text
from westofn.errors import DataError
from westofn.sources.columns import Columns, cell, has
from westofn.sources.formats.joining import (
    join_responses,
    join_sides,
    without_repeated_prompt,
)
from westofn.sources.formats.labels import is_tie, matches, normal_label
from westofn.sources.formats.ratings import says_tie
from westofn.sources.formats.rows import (
    EMPTY_PROMPT,
    EMPTY_TURN,
    MERGED,
    ONE_RESPONSE,
    SIDES_DIFFER,
    TIE,
    Outcome,
    Pair,
    is_flag,
    is_list_of_texts,
    listed,
    number,
    pair_or_reason,
    text,
)
from westofn.sources.formats.turns import (
    Turns,
    check_no_media,
    check_no_tools,
    dialogue_in,
    history_of,
    is_blank,
    messages_of,
    turns_of,
)
from westofn.sources.json_lines import is_encodable
from westofn.sources.reading import Row
from westofn.sources.splits import hash_order, normalise

UNRATED = "unrated_responses_left_out"
_NO_SCORE = ("", "n/a", "na", "nan", "none", "null")


@dataclass
class Mapped:
    """A reader of rows.

    Attributes:
        columns: what is read.
        name: name of the form or of the data set, shown by `inspect`.
        label_source: who labelled the pairs, a value of the column `label_source`.
        expand: rewrites the file's rows for the mapping; None: the mapping reads them as they are.
        warn: returns how often a row has each known fault, by name; None: nothing is counted.
        confidence: the labeller's probability of the label of a row; None: labels are hard.
        check: refuses a row that the mapping would read wrongly; None: nothing is checked.
        is_given: whether the user gave the mapping, so that repeated ids are an error.
        also_read: columns that `expand` and `confidence` read.
        counts: the counts of `warn`, and the number of responses without a rating.
    """

    columns: Columns
    name: str
    label_source: str = "human"
    expand: Callable[[Iterable[Row]], Iterator[Row]] | None = None
    warn: Callable[[Mapping[str, object]], Mapping[str, int]] | None = None
    confidence: Callable[[Row], float | None] | None = None
    check: Callable[[Row], None] | None = None
    is_given: bool = False
    also_read: frozenset[str] = frozenset()
    counts: Counter[str] = field(default_factory=Counter)

    def outcomes(self, rows: Iterable[Row], seed: int) -> Iterator[Outcome]:
        """Yield one outcome per row; `seed` is the seed of random choices among rated responses.

        Rated rows of one prompt give one pair, or a reason to drop it, for one of the rows; the
        outcome of the other rows is that they are merged with it.
        """
        form = self.columns.form
        expanded = self.expand(rows) if self.expand else rows
        if form == "rated rows":
            yield from self._rated_rows(expanded, seed)
            return
        readers: dict[str, Callable[[Row], Pair | str]] = {
            "pairs": self._chosen_pair,
            "labelled pairs": self._labelled_pair,
            "rated lists": lambda row: self._rated_list(row, seed),
        }
        read = readers[form]
        for row in expanded:
            subset = ""
            result: Pair | str | DataError
            try:
                self._check(row)
                subset = self.subset_of(row)
                result = read(row)
            except DataError as error:
                result = error
            yield Outcome(row, subset, result)

    def _chosen_pair(self, row: Row) -> Pair | str:
        if says_tie(row.values, self.columns.keys):
            return TIE
        names = self.columns.chosen_score, self.columns.rejected_score
        scores = [cell(row.values, name) if name else None for name in names]
        if not any(_is_unrated(score) for score in scores):
            best, worst = (self._rating(s, n, row) for s, n in zip(scores, names, strict=True))
            if best == worst:
                return TIE
            if (best < worst) == (self.columns.order == "higher"):
                raise DataError(
                    f"{row.where}: {names[0]} {best:g} is worse than {names[1]} {worst:g}; needs "
                    f"the better response as chosen: mend or remove the row, or give a mapping "
                    f"without prepare.columns.chosen_score"
                )
        return self._two_sided(row, (self.columns.chosen, self.columns.rejected), None)

    def _rating(self, value: object, name: str, row: Row) -> float:
        try:
            return number(value, name, row.where)
        except DataError as error:
            raise DataError(
                f"{error}, or give a mapping without prepare.columns.chosen_score"
            ) from None

    def _labelled_pair(self, row: Row) -> Pair | str:
        better = self._better(row)
        if better == "tie" or (not self.is_given and says_tie(row.values, self.columns.keys)):
            return TIE
        sides = self.columns.response_a, self.columns.response_b
        return self._two_sided(row, sides if better == "a" else sides[::-1], self.confidence)

    def _two_sided(
        self,
        row: Row,
        names: tuple[str, str],
        confidence: Callable[[Row], float | None] | None,
    ) -> Pair | str:
        values = [value_of(row, name) for name in names]
        if any(map(is_list_of_texts, values)):
            return self._listed_sides(row, names)
        prompt = read_prompt(self.columns, row)
        turns = _turns_of_sides(values, names, row.where, prompt is not None)
        if turns is None:
            return SIDES_DIFFER
        if prompt is None and self.columns.prompt and isinstance(turns[0], str):
            value_of(row, self.columns.prompt)  # the error for a missing column
        sides = join_sides(prompt, turns, names, row.where)
        if isinstance(sides, str):
            return sides
        p_chosen = confidence(row) if confidence else None
        prompt_text = text_of(sides.context, row.where)
        if prompt_text is None:
            return EMPTY_TURN
        return self._pair(prompt_text, sides.first, sides.second, row, p_chosen)

    def _listed_sides(self, row: Row, names: tuple[str, str]) -> Pair | str:
        """Pair one of several chosen responses with one of several rejected ones."""
        cells = [value_of(row, name) for name in filter(None, (self.columns.prompt, *names))]
        lengths = {len(cell) if is_list_of_texts(cell) else 0 for cell in cells}
        if len(cells) == 3 and len(lengths) == 1 and max(lengths) > 1:
            raise DataError(
                f"{row.where}: columns {self.columns.prompt}, {names[0]} and {names[1]} are lists "
                f"of texts, as of many rows in one; needs one prompt a row: write one row for each"
            )
        rated = [
            (response, float(score))
            for score, name in zip((1, 0), names, strict=True)
            for response in _responses_in(value_of(row, name), name, row.where)
        ]
        return self._pair_of_cells(row, rated, 0)

    def _rated_list(self, row: Row, seed: int) -> Pair | str:
        columns = self.columns
        responses = listed(value_of(row, columns.responses), columns.responses, row.where)
        scores = listed(value_of(row, columns.scores), columns.scores, row.where)
        if len(scores) != len(responses):
            raise DataError(
                f"{row.where}: {len(responses)} {columns.responses} and {len(scores)} "
                f"{columns.scores}; needs equal numbers: mend or remove the row"
            )
        rated = [
            (response, self._score(score, columns.scores, row.where))
            for response, score in zip(responses, scores, strict=True)
            if not _is_unrated(score)
        ]
        self.counts[UNRATED] += len(scores) - len(rated)
        return self._pair_of_cells(row, rated, seed)

    def _pair_of_cells(
        self, row: Row, rated: Sequence[tuple[object, float]], seed: int
    ) -> Pair | str:
        name = self.columns.responses or self.columns.chosen
        sides = [(turns_of(response, name, row.where), name) for response, _ in rated]
        context, texts = join_responses(read_prompt(self.columns, row), sides, row.where)
        scores = [score for _, score in rated]
        return self._pair_of_texts(context, list(zip(texts, scores, strict=True)), row, seed)

    def _pair_of_texts(
        self, context: Turns, rated: Sequence[tuple[str, float]], row: Row, seed: int
    ) -> Pair | str:
        prompt = text_of(context, row.where)
        if prompt is None:
            return EMPTY_TURN
        choice = best_and_other(prompt, rated, seed)
        return choice if isinstance(choice, str) else self._pair(prompt, *choice, row, None)

    def _rated_rows(self, rows: Iterable[Row], seed: int) -> Iterator[Outcome]:
        by_prompt: dict[str, _Rated] = {}
        for row in rows:
            try:
                self._check(row)
                subset = self.subset_of(row)
                name = self.columns.response
                side = turns_of(value_of(row, name), name, row.where)
                prompt_turns = read_prompt(self.columns, row)
                context, (response,) = join_responses(prompt_turns, [(side, name)], row.where)
                score = self._score(
                    value_of(row, self.columns.score), self.columns.score, row.where
                )
                prompt = text_of(context, row.where)
            except DataError as error:
                yield Outcome(row, "", error)
                continue
            if prompt is None:
                yield Outcome(row, subset, EMPTY_TURN)
                continue
            # Without values: the entries hold the row's texts already.
            location = Row(row.where, {})
            rated = by_prompt.setdefault(canonical(prompt), _Rated(location, context, subset))
            rated.subset = min(rated.subset, subset)
            rated.entries.append((response, score))
        for rated in by_prompt.values():
            for _ in rated.entries[1:]:
                yield Outcome(rated.row, rated.subset, MERGED)
            texts = without_repeated_prompt(rated.context, [text for text, _ in rated.entries])
            entries = list(zip(texts, [score for _, score in rated.entries], strict=True))
            result = self._pair_of_texts(rated.context, entries, rated.row, seed)
            yield Outcome(rated.row, rated.subset, result)

    def _pair(
        self, prompt: str, chosen: str, rejected: str, row: Row, p_chosen: float | None
    ) -> Pair | str:
        given_id = self._id(row) if row.values else ""
        return pair_or_reason(prompt, chosen, rejected, given_id=given_id, p_chosen=p_chosen)

    def _better(self, row: Row) -> str:
        columns = self.columns
        if not columns.label:
            names = columns.score_a, columns.score_b
            a, b = (self._score(value_of(row, n), n, row.where) for n in names)
            return "tie" if a == b else "a" if a > b else "b"
        meanings = {"a": columns.label_a, "b": columns.label_b, "tie": columns.label_tie}
        names_of_labels = [columns.label]
        if not has(row.values, columns.label):
            names_of_labels = columns.label.split(",")
        votes: Counter[str] = Counter()
        for name in names_of_labels:
            value = value_of(row, name)
            meant = [side for side, spec in meanings.items() if matches(value, spec)]
            if not (meant or self.is_given) and isinstance(value, str):
                meant = ["tie"] * is_tie(normal_label(value))  # beyond the first rows
            if len(meant) != 1:
                raise DataError(
                    f"{row.where}: column {name} is {show(value)}, needs {columns.label_a} for a, "
                    f"{columns.label_b} for b"
                    + (f" or {columns.label_tie} for a tie" if columns.label_tie else "")
                    + ": mend the row, or prepare.columns.label_a, label_b and label_tie"
                )
            votes[meant[0]] += 1
        ranked = votes.most_common(2)
        tied = len(ranked) == 2 and ranked[0][1] == ranked[1][1]
        return "tie" if tied else self._checked_by_ratings(ranked[0][0], row)

    def _checked_by_ratings(self, better: str, row: Row) -> str:
        """Return what a label says; a tie if the ratings of both sides are equal.

        Raises:
            DataError: the ratings prefer the other side.
        """
        names = self.columns.score_a, self.columns.score_b
        values = [cell(row.values, name) if name else None for name in names]
        if better == "tie" or any(map(_is_unrated, values)):
            return better
        a, b = (self._score(v, n, row.where) for v, n in zip(values, names, strict=True))
        if a == b:
            return "tie"
        if (a > b) != (better == "a"):
            raise DataError(
                f"{row.where}: {self.columns.label} prefers {better}, but {names[0]} is "
                f"{show(values[0])} and {names[1]} {show(values[1])}; needs labels that agree with "
                f"the ratings: mend or remove the row, or give a mapping without "
                f"prepare.columns.score_a"
            )
        return better

    def _score(self, value: object, name: str, where: str) -> float:
        """Return a rating of which higher is better."""
        if is_flag(value):
            result = float(str(value).lower() == "true")
        else:
            result = number(value, name, where)
        return -result if self.columns.order == "lower" else result

    def _check(self, row: Row) -> None:
        check_readable(row)
        if self.check:
            self.check(row)
        if self.warn:
            self.counts.update(self.warn(row.values))

    def subset_of(self, row: Row) -> str:
        """Return the subset that a row names; "" without one.

        Raises:
            DataError: it is not text or a whole number.
        """
        name = self.columns.subset
        value = cell(row.values, name) if name else None
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return "" if value is None else text(str(value) if is_number else value, name, row.where)

    def _id(self, row: Row) -> str:
        name = self.columns.id
        given = cell(row.values, name) if name else None
        if given is None:
            return ""
        if not isinstance(given, str | int) or isinstance(given, bool) or given == "":
            raise DataError(
                f"{row.where}: column {name} is {show(given)}, needs text or a whole number"
            )
        if not is_encodable(str(given)):
            raise DataError(f"{row.where}: column {name} holds half a surrogate pair: mend the id")
        return str(given)


def check_readable(row: Row) -> None:
    """Refuse a malformed row, and one with tools, images or other media.

    Raises:
        DataError: the row has a fault, or something that text cannot hold.
    """
    if row.fault:
        raise row.fault
    check_no_tools(row.values, "", row.where)
    check_no_media(row.values, "", row.where)


def read_prompt(columns: Columns, row: Row) -> Turns | None:
    """Return the prompt of a row, with system message and earlier turns.

    Args:
        columns: mapping; if it names no column of the prompt, None is returned.
        row: row to read.

    Raises:
        DataError: a column is missing, or is neither text nor messages.
    """
    values = row.values
    names = (columns.prompt, columns.input, columns.context, columns.history, columns.system)
    if not any(names):
        return None
    turns: Turns = ""
    if columns.prompt and has(row.values, columns.prompt):
        turns = turns_of(value_of(row, columns.prompt), columns.prompt, row.where)
    earlier: list[Message] = []
    for name, before, separator in (
        (columns.input, False, "\n"),
        (columns.context, True, "\n\n"),
    ):
        extra = cell(values, name) if name else None
        if is_blank(extra):
            continue
        if is_list_of_texts(extra):
            extra = separator.join(map(clean, extra))
        content = text(extra, name, row.where)
        if before and (turns_before := dialogue_in(content)) is not None:
            earlier = turns_before
        else:
            turns = _with_text(turns, content, before, separator)
    messages: list[Message] = []
    if columns.system and not is_blank(value := cell(values, columns.system)):
        content = clean(text(value, columns.system, row.where))
        system = Message("system", content)
        given = [m for m in turns if isinstance(m, Message) and m.role == "system"]
        if given and content and system not in given:
            raise DataError(
                f"{row.where}: column {columns.system} is {show(content)}, and {columns.prompt} "
                f"has another system message; needs one: mend the row, or give a mapping without "
                f"prepare.columns.system"
            )
        if content and not given:
            messages.append(system)
    if columns.history:
        messages += history_of(cell(values, columns.history), columns.history, row.where)
    messages += earlier
    if not messages:
        return turns if turns or has(row.values, columns.prompt) else None
    last = turns if isinstance(turns, list) else _as_messages(turns)
    is_repeated = bool(last) and messages[-1] == last[0]  # the history holds the prompt already
    texts = cell(values, columns.history) if columns.history else None
    if is_list_of_texts(texts) and len(texts) % 2 and last and not is_repeated:
        raise DataError(
            f"{row.where}: column {columns.history} has {len(texts)} texts before the prompt, "
            f"needs pairs of a user's and an assistant's: mend or remove the row"
        )
    return [*messages[:-1], *last] if is_repeated else [*messages, *last]


def value_of(row: Row, name: str) -> object:
    """Return the value of a row at a path.

    Raises:
        DataError: the row has none.
    """
    if not has(row.values, name):
        entries, star, _ = name.partition(".*")
        if star and cell(row.values, entries) == []:
            return []
        near = did_you_mean(name, list(row.values))
        raise DataError(
            f"{row.where}: column {name} is missing{near}; the row has "
            f"{show(', '.join(row.values))}: rename the columns, or mend prepare.columns"
        )
    return cell(row.values, name)


@dataclass
class _Rated:
    """The rows of one prompt: location of the first row, and responses with ratings."""

    row: Row
    context: Turns
    subset: str
    entries: list[tuple[str, float]] = field(default_factory=list)


def _turns_of_sides(
    values: Sequence[object], names: tuple[str, str], where: str, has_prompt: bool
) -> tuple[Turns, Turns] | None:
    """Return both sides; None if they are texts of which only one is a whole dialogue."""
    first, second = (turns_of(v, n, where) for v, n in zip(values, names, strict=True))
    if not all(isinstance(value, str) for value in values):
        return first, second
    is_whole = [not isinstance(side, str) and _is_answered(side) for side in (first, second)]
    if all(is_whole) or (isinstance(first, str) and isinstance(second, str)):
        return first, second
    if any(is_whole) or not has_prompt:
        return None
    return clean(str(values[0])), clean(str(values[1]))


def _is_answered(side: Sequence[Message]) -> bool:
    return bool(side) and side[-1].role == "assistant"


def best_and_other(
    prompt: str, rated: Sequence[tuple[str, float]], seed: int
) -> tuple[str, str] | str:
    """Choose the best response and a random response of lower rating.

    Args:
        prompt: text of the prompt.
        rated: responses and their ratings, in any order; those of one response count as their mean.
        seed: seed of the random choice.

    Returns:
        Chosen and rejected, or the reason to drop the prompt.
    """
    scores_of: defaultdict[str, list[float]] = defaultdict(list)
    for response, score in rated:
        if stripped := response.strip():
            scores_of[stripped].append(score)
    score_of = {response: statistics.fmean(scores) for response, scores in scores_of.items()}
    if not prompt.strip():
        return EMPTY_PROMPT
    if len(score_of) < 2:
        return ONE_RESPONSE
    highest = max(score_of.values())
    lower = [response for response, score in score_of.items() if score < highest]
    if not lower:
        return TIE
    best = [response for response, score in score_of.items() if score == highest]
    purpose = f"ratings {normalise(prompt)}"
    return hash_order(best, seed, purpose)[0], hash_order(lower, seed, purpose)[0]


def text_of(context: Turns, where: str) -> str | None:
    """Return the text of a prompt; None if an earlier turn is empty.

    Raises:
        DataError: the prompt ends within an assistant turn.
    """
    if isinstance(context, str):
        return context
    turns = [message for message in context if message.role != "system"]
    if not any(message.content for message in turns):
        return ""
    if turns[-1].role == "assistant":
        raise DataError(
            f"{where}: the prompt ends within an assistant turn "
            f"({show(turns[-1].content)}); needs the user's turn at its end: put the beginning of "
            f"the response into both responses"
        )
    return None if any(not message.content for message in turns) else to_text(context)


def _with_text(turns: Turns, extra: str, before: bool, separator: str) -> Turns:
    """Add a text to a prompt, or to the last user message of a dialogue, unless it is there."""
    if isinstance(turns, list):
        *earlier, last = turns or [Message("user", "")]
        joined = _with_text(last.content, extra, before, separator)
        assert isinstance(joined, str)
        return [*earlier, Message(last.role, joined)]
    if f"\n{clean(extra)}\n" in f"\n{turns}\n":
        return turns
    parts = [clean(extra), turns] if before else [turns, clean(extra)]
    return separator.join(part for part in parts if part)


def _as_messages(prompt: str) -> list[Message]:
    return messages_of(prompt, "", "") if prompt else []


def _responses_in(value: object, name: str, where: str) -> list[object]:
    """Return the responses in a cell: those of a list, or a single one."""
    return listed(value, name, where) if is_list_of_texts(value) else [value]


def _is_unrated(score: object) -> bool:
    """Return whether a rating is missing: null, or a text that programs write for it."""
    return score is None or str(score).strip().lower() in _NO_SCORE
