"""The queue of the reward server: what is scored together, what waits, what is refused."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future

import pytest

from westofn.scoring.rows import Row
from westofn.serving.batching import Batcher, BatchLimits, NewColumns
from westofn.serving.refused import RefusedError

LONG = 60.0


def rows(*responses: str) -> list[Row]:
    return [Row("", {}, "", "response", "sun", [response]) for response in responses]


class Scores:
    """Gives each response its length, and notes which rows came together."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.free = threading.Event()
        self.free.set()

    def __call__(self, batch: Sequence[Row]) -> NewColumns:
        self.batches.append([row.responses[0] for row in batch])
        assert self.free.wait(LONG)
        if any(row.responses[0] == "bad" for row in batch):
            raise ValueError("bad")
        return [{"reward": float(len(row.responses[0]))} for row in batch]


def limits(tokens: int = 100, seconds: float = 0.0, requests: int = 9) -> BatchLimits:
    return BatchLimits(tokens, seconds, requests)


def told(answer: Future[NewColumns]) -> list[object]:
    return [new["reward"] for new in answer.result(LONG)]


def test_requests_that_wait_are_scored_together_and_answered_apart() -> None:
    scores = Scores()
    batcher = Batcher(scores, limits())
    answers = [batcher.submit(rows("a", "bb"), 2), batcher.submit(rows("ccc"), 1)]
    with batcher.running():
        assert [told(answer) for answer in answers] == [[1.0, 2.0], [3.0]]
    assert scores.batches == [["a", "bb", "ccc"]]


def test_a_batch_ends_at_the_budget_of_tokens_and_a_larger_request_is_alone() -> None:
    scores = Scores()
    batcher = Batcher(scores, limits(tokens=10))
    sizes = {"a": 6, "bb": 4, "ccc": 25, "dddd": 3}
    answers = [batcher.submit(rows(text), size) for text, size in sizes.items()]
    with batcher.running():
        assert [told(answer) for answer in answers] == [[1.0], [2.0], [3.0], [4.0]]
    assert scores.batches == [["a", "bb"], ["ccc"], ["dddd"]]


def test_a_request_that_fails_costs_no_other() -> None:
    batcher = Batcher(Scores(), limits())
    answers = [batcher.submit(rows(text), 1) for text in ("a", "bad", "ccc")]
    with batcher.running():
        assert told(answers[0]) == [1.0]
        assert told(answers[2]) == [3.0]
        with pytest.raises(ValueError, match="bad"):
            answers[1].result(LONG)
        assert told(batcher.submit(rows("after"), 1)) == [5.0]


def test_a_request_that_nobody_waits_for_is_not_scored() -> None:
    scores = Scores()
    batcher = Batcher(scores, limits())
    dropped, answer = batcher.submit(rows("a"), 1), batcher.submit(rows("bb"), 1)
    assert dropped.cancel()
    with batcher.running():
        assert told(answer) == [2.0]
    assert scores.batches == [["bb"]]


def test_what_waits_is_scored_before_the_queue_closes() -> None:
    scores = Scores()
    scores.free.clear()
    batcher = Batcher(scores, limits())
    with batcher.running():
        answer = batcher.submit(rows("a"), 1)
        scores.free.set()
    assert told(answer) == [1.0]


def test_after_requests_that_came_together_the_thread_waits_for_as_many() -> None:
    """Two came together, so one waits for a second, which then joins it; LONG never passes."""
    scores = Scores()
    batcher = Batcher(scores, limits(seconds=LONG))
    first = [batcher.submit(rows("a"), 1), batcher.submit(rows("bb"), 1)]
    with batcher.running():
        assert [told(answer) for answer in first] == [[1.0], [2.0]]
        early = batcher.submit(rows("ccc"), 1)
        with pytest.raises(TimeoutError):
            early.result(0.05)
        late = batcher.submit(rows("dddd"), 1)
        assert [told(early), told(late)] == [[3.0], [4.0]]
    assert scores.batches == [["a", "bb"], ["ccc", "dddd"]]


def test_one_client_never_waits_for_others() -> None:
    batcher = Batcher(Scores(), limits(seconds=LONG))
    with batcher.running():
        for text in ("a", "bb", "ccc"):
            assert batcher.submit(rows(text), 1).result(LONG / 2)


def test_a_full_queue_is_503_with_the_time_to_ask_again() -> None:
    batcher = Batcher(Scores(), limits(requests=2))
    with batcher.admitted():
        with batcher.admitted(), pytest.raises(RefusedError) as refused, batcher.admitted():
            pass
        with batcher.admitted():  # there is room again
            pass
    assert refused.value.status == 503
    assert refused.value.headers == {"retry-after": "1"}
    assert str(refused.value) == "the queue is full: 2 requests are open; ask again later"
