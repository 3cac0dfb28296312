"""Names of columns in any spelling: `Response A`, `responseA` and `response_a` are one name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from westofn.sources.columns import snake_case, words_of

HISTORIES = ("history", "conversation_history", "chat_history", "dialogue_history")
CONTEXTS = ("context", "document", "documents", "passage", "passages", "article", "background")
PROMPTS = (
    *("prompt", "instruction", "question", "query", "problem"),
    *("user_prompt", "user_query", "user_question", "user_input", "user_message"),
    *("prompt_text", "input_text", "messages", "conversations", "conversation"),
    *("trajectory", "input", *HISTORIES, "context", "post"),
)
SYSTEMS = (
    *("system", "system_prompt", "system_message", "system_msg", "system_text", "system_content"),
    *("system_instruction", "system_instructions", "custom_system_prompt", "sys", "sys_prompt"),
    *("sys_msg", "developer", "developer_message", "developer_prompt"),
)
RESPONSES = ("response", "completion", "answer", "output", "generation", "text")
RESPONSE_LISTS = ("responses", "completions", "answers", "outputs", "generations", "candidates")
SCORES = (
    *("score", "rating", "overall_score", "reward", "label", "rank", "votes", "upvotes"),
    "pm_score",
)
SCORE_LISTS = ("scores", "ratings", "rewards", "ranks", "rank")
DIALOGUES = ("messages", "conversations", "conversation")
"""Columns and keys with the messages of a dialogue."""
SIDES = (
    ("chosen", "rejected"),
    ("chosen", "reject"),
    ("choose", "reject"),
    ("accepted", "rejected"),
    ("selected", "rejected"),
    ("preferred", "dispreferred"),
    ("preferred", "non_preferred"),
    ("preferred", "nonpreferred"),
    ("preferred", "unpreferred"),
    ("preferred", "rejected"),
    ("winner", "loser"),
    ("winning", "losing"),
    ("win", "lose"),
    ("better", "worse"),
    ("best", "worst"),
    ("good", "bad"),
    ("w", "l"),
)
LABELS = (
    "label",
    "labels",
    "preference",
    "winner",
    "choice",
    "preferred",
    "better",
    "better_response",
    "better_response_id",
    "verdict",
    "chosen",
)
RATING_WORDS = {
    *("score", "scores", "rating", "ratings", "grade", "votes", "upvotes", "rank", "ranking"),
    *("reward", "rewards", "points"),
}
COST_WORDS = {
    "cost",
    "error",
    "errors",
    "loss",
    "losses",
    "penalty",
    "toxicity",
    "perplexity",
    "harm",
}
"""Words for numbers of which the lower is better."""
SHORT_WORDS = {
    *("source", "origin", "subset", "dataset", "split", "category", "categories", "task", "type"),
    *("domain", "tag", "tags", "topic", "name"),
}
"""Words of columns with short values; a sentence in such a column could be a prompt."""
METADATA_WORDS = {
    *SHORT_WORDS,
    *("id", "ids", "uuid", "hash", "index", "position", "order", "lang", "language", "locale"),
    *("model", "models", "url", "link", "date", "time", "timestamp", "license", "author"),
    *("annotator", "worker", "rationale", "reason", "reasons", "explanation", "critique"),
    *("comment", "comments", "feedback", "judge", "score", "rating", "label", "file", "path"),
    *("version", "annotations", "annotation", "length", "len", "tokens", "logp", "logps"),
    *("logprob", "logprobs"),
}


def filled_columns(values: Mapping[str, object], names: Sequence[str]) -> list[str]:
    """Return the columns with one of the names, see `columns_named`, whose value is not null."""
    return columns_named([column for column, value in values.items() if value is not None], names)


def columns_named(columns: Iterable[str], names: Sequence[str]) -> list[str]:
    """Return the columns with one of the names in any spelling, in the order of the names.

    >>> columns_named(["Response A", "Prompt", "prompt"], ["prompt", "response_a"])
    ['prompt', 'Prompt', 'Response A']
    """
    place = {name: number for number, name in enumerate(names)}
    fitting = [column for column in columns if snake_case(column) in place]
    return sorted(fitting, key=lambda column: (place[snake_case(column)], column not in place))


def partner(columns: Iterable[str], name: str, word: str, other: str) -> str | None:
    """Return the column whose name is that of another with one word replaced.

    >>> partner(["Chosen Text", "rejected_text"], "Chosen Text", "chosen", "rejected")
    'rejected_text'
    """
    words = list(words_of(name))
    if word not in words:
        return None
    words[words.index(word)] = other
    return next((column for column in columns if snake_case(column) == "_".join(words)), None)


def order_of(name: str) -> str:
    """Return whether higher or lower values of a rating are better."""
    words = {form for word in words_of(name) for form in (word, word.removesuffix("s"))}
    return "lower" if words & ({"rank", "ranking"} | COST_WORDS) else "higher"
