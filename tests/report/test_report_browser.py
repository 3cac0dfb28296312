from __future__ import annotations

import json
import math
from collections.abc import Callable

import polars as pl
import pytest
from conftest import Run

from westofn.artifacts.decisions import DECISIONS
from westofn.artifacts.pool_margins import POOL_MARGINS
from westofn.artifacts.prompts import PROMPTS
from westofn.artifacts.world import WORLD
from westofn.errors import DataError
from westofn.report.browser import COLUMNS, embed_pairs, escape, pair_rows
from westofn.report.pools import POOL_COLUMNS, pool_rows
from westofn.report.tables import accounting
from westofn.sources.world.lexicon import FACTS as WORDS

HOSTILE = "</script><img src=x onerror=alert(1)> \"double\" 'single' & <!--<script>\u2028"


def test_escaped_json_reads_back_and_holds_no_markup() -> None:
    text = escape([HOSTILE])
    assert json.loads(text) == [HOSTILE]
    assert not set("<>&\u2028\u2029") & set(text)


def test_a_pair_shows_its_text_margin_and_logprob_a_token(run: Run) -> None:
    row = pair_rows(run.inputs()).row(2, named=True)
    assert row["chosen"].startswith("answer 2 to post 2")
    assert row["rejected"].startswith("answer 3 to post 2")
    assert row["prompt"].startswith("Post 2")
    assert row["status"] == "kept"
    # p = 2.5 / 10, so the margin is log(1 / 3); 12 tokens, logprob −6 − index.
    assert row["margin"] == pytest.approx(math.log(1 / 3), rel=1e-6)
    assert row["chosen_logprob_per_token"] == pytest.approx(-8 / 12, rel=1e-6)
    assert row["rejected_logprob_per_token"] == pytest.approx(-9 / 12, rel=1e-6)


def test_dropped_pairs_are_there_with_their_reason(run: Run) -> None:
    counts = dict(pair_rows(run.inputs())["status"].value_counts().iter_rows())
    assert counts == {"kept": 7, "confidence": 2, "likelihood": 1}


def test_certain_pairs_have_a_finite_margin(run: Run) -> None:
    inputs = run.inputs()
    certain = inputs.iterations["k1"].pairs.with_columns(p_chosen=pl.lit(1.0, pl.Float32))
    object.__setattr__(inputs.iterations["k1"], "pairs", certain)
    margins = pair_rows(inputs)["margin"]
    assert margins.to_list() == pytest.approx([24 * math.log(2)] * 10, rel=1e-6)


def test_all_pairs_are_embedded_when_they_fit(run: Run) -> None:
    pairs = embed_pairs(run.inputs())
    content = json.loads(pairs.json)
    assert (pairs.shown, pairs.total) == (10, 10)
    assert content["columns"] == list(COLUMNS)
    assert len(content["rows"]) == 10


def test_a_sample_is_even_and_holds_both_ends(make_run: Callable[..., Run]) -> None:
    pairs = embed_pairs(make_run(pairs=101).inputs(), max_pairs=5)
    prompts = [row[COLUMNS.index("prompt")].split(":")[0] for row in json.loads(pairs.json)["rows"]]
    assert prompts == ["Post 0", "Post 25", "Post 50", "Post 75", "Post 100"]
    assert (pairs.shown, pairs.total) == (5, 101)


def test_long_texts_lessen_the_sample_until_it_fits(make_run: Callable[..., Run]) -> None:
    run = make_run(pairs=60)
    run.prompts(lambda row: f"{row} " + "word " * 400)
    pairs = embed_pairs(run.inputs(), max_bytes=40_000)
    assert 10 < pairs.shown < 60
    assert len(pairs.json.encode()) <= 40_000


def pool(run: Run, row: int) -> list[dict[str, object]]:
    name = f"p{row:05d}"
    pools = pool_rows(run.inputs(), "k1", [name])
    assert [*pools] == [name]
    return [dict(zip(POOL_COLUMNS, values, strict=True)) for values in pools[name]]


def column(rows: list[dict[str, object]], name: str) -> list[object]:
    return [row[name] for row in rows]


def test_a_pool_has_all_candidates_in_the_teachers_order(run: Run) -> None:
    rows = pool(run, 2)  # indices 2, 3, 0, 1 have margins 1.5, -1.5, 0.5, -0.5
    assert [str(text)[:8] for text in column(rows, "response")] == [
        f"answer {index}" for index in (2, 0, 1, 3)
    ]
    assert column(rows, "margin") == [1.5, 0.5, -0.5, -1.5]
    assert column(rows, "rank") == [1, 2, 3, 4]
    assert column(rows, "logprob_per_token") == [
        pytest.approx(-(6 + index) / 12, abs=5e-4) for index in (2, 0, 1, 3)
    ]
    assert column(rows, "marks") == ["best chosen", "", "", "worst rejected"]
    assert column(rows, "gold") == column(rows, "human") == [None] * 4


def test_a_candidate_with_a_fault_is_neither_best_nor_worst_while_two_others_are_sound(
    run: Run,
) -> None:
    run.margins("k1", lambda row, index: 2.0 - index, {0: "cut", 3: "too_long"})
    rows = pool(run, 4)  # chosen 0, rejected 1
    assert column(rows, "fault") == ["cut", None, None, "too_long"]
    assert column(rows, "marks") == ["chosen", "best rejected", "worst", ""]
    run.margins("k1", lambda row, index: 2.0 - index, {0: "cut", 1: "cut", 2: "cut"})
    assert column(pool(run, 4), "marks") == ["best chosen", "rejected", "", "worst"]


def test_equal_texts_of_a_pool_are_one_row_with_their_count(run: Run) -> None:
    run.selection("k1", lambda row, index: "same" if index != 1 else "other")
    run.margins("k1", lambda row, index: 1.0 if index == 1 else 2.0)
    rows = pool(run, 4)
    assert column(rows, "count") == [3, 1]
    assert column(rows, "rank") == [1, 4]
    run.margins("k1", lambda row, index: 1.0 if index == 1 else 2.0, {3: "cut"})
    assert column(pool(run, 4), "count") == [2, 1, 1]


def test_the_human_order_is_the_share_of_comparisons_that_a_text_won(run: Run) -> None:
    run.selection("k1", lambda row, index: f"answer {index}")
    run.human({4: [("answer 3", "answer 0"), ("answer 3", "unsampled"), ("answer 0", "answer 1")]})
    rows = sorted(pool(run, 4), key=lambda row: str(row["response"]))
    assert column(rows, "human") == [0.5, 0.0, None, 1.0]
    assert column(rows, "human_rank") == [2, 3, None, 1]
    assert column(pool(run, 5), "human") == [None] * 4


def test_the_gold_order_stands_beside_the_teachers_in_the_embedded_world(run: Run) -> None:
    facts = {slot: words[0] for slot, words in WORDS.items()}
    ids = [f"p{row:05d}" for row in range(run.pairs)]
    text = json.dumps({**facts, "temperature": 1.0})
    world = WORLD.frame({"prompt_id": ids, "facts": [text] * run.pairs})
    WORLD.write(world, run.data / "world/world.parquet")
    stated = [*facts.values()]
    run.selection("k1", lambda row, index: " ".join(stated[: (3 - index) % 3 + 1]))
    rows = pool(run, 4)  # 0 and 3 state one fact, 1 states three, 2 two
    assert len(rows) == 3
    by_margin = {row["count"]: row for row in rows}
    assert by_margin[2]["gold_rank"] == 3
    gold = {str(row["response"]).count(" "): row["gold_rank"] for row in rows}
    assert gold == {0: 3, 1: 2, 2: 1}


def test_pools_are_of_the_pairs_that_are_shown_and_lessen_until_they_fit(
    make_run: Callable[..., Run],
) -> None:
    run = make_run(pairs=101)
    few = embed_pairs(run.inputs(), max_pairs=5)
    assert (few.pools_shown, few.pools_known) == (5, True)
    content = json.loads(few.pools)
    assert content["columns"] == list(POOL_COLUMNS)
    texts = [content["pools"][str(row)][0][0] for row in range(5)]
    assert [text.split(":")[0].split()[-1] for text in texts] == ["0", "25", "50", "75", "100"]
    small = embed_pairs(run.inputs(), max_pool_bytes=10_000)
    assert small.shown == 101
    assert 5 < small.pools_shown < 40
    assert len(small.pools.encode()) <= 10_000
    assert {"0", "100"} <= json.loads(small.pools)["pools"].keys()


def test_of_too_many_pairs_those_with_a_pool_are_shown(make_run: Callable[..., Run]) -> None:
    run = make_run(pairs=60)
    path = run.data / "loop/k1/pairs/pool_margins.parquet"
    ids = [f"p{row:05d}" for row in (0, 7, 59)]
    POOL_MARGINS.write(POOL_MARGINS.read(path).filter(pl.col("prompt_id").is_in(ids)), path)
    pairs = embed_pairs(run.inputs(), max_pairs=10)
    assert (pairs.shown, pairs.total, pairs.pools_shown) == (3, 60, 3)
    assert embed_pairs(run.inputs()).pools_shown == 3
    POOL_MARGINS.write(POOL_MARGINS.empty(), path)
    pairs = embed_pairs(run.inputs(), max_pairs=10)
    assert (pairs.shown, pairs.pools_shown, pairs.pools_known) == (10, 0, False)


def test_a_pool_without_its_candidates_is_refused(run: Run) -> None:
    path = run.data / "loop/k1/pairs/pool_margins.parquet"
    margins = POOL_MARGINS.read(path)
    last = margins.tail(1).with_columns(candidate_index=pl.lit(9, pl.Int32))
    POOL_MARGINS.write(pl.concat([margins, last]), path)
    with pytest.raises(DataError, match=r"1 rows of pool_margins.* candidates.parquet, .*'p00009'"):
        embed_pairs(run.inputs())


def test_a_pair_without_its_prompt_is_refused(run: Run) -> None:
    path = run.data / "prepared/prompts.parquet"
    PROMPTS.write(PROMPTS.read(path).filter(pl.col("prompt_id") != "p00004"), path)
    with pytest.raises(DataError, match=r"k1 has 1 pairs without a row in prompts.*'p00004'"):
        embed_pairs(run.inputs())


def test_a_pair_without_a_decision_is_refused(run: Run) -> None:
    path = run.data / "loop/k1/synthetic/decisions.parquet"
    DECISIONS.write(DECISIONS.read(path).filter(pl.col("prompt_id") != "p00004"), path)
    with pytest.raises(DataError, match="10 pairs and 9 decisions, 1 pairs without one"):
        accounting(run.inputs())


def test_rows_selected_are_rows_kept_and_dropped(run: Run) -> None:
    table = accounting(run.inputs())
    cells = dict(zip(table.heads, (cell.text for cell in table.rows[0].cells), strict=True))
    assert cells == {
        "N": "4",
        "selected": "10",
        "kept": "7",
        "dropped: confidence": "2",
        "dropped: likelihood": "1",
        "dropped: empty response": "0",
        "dropped: identical": "0",
        "dropped: cut": "0",
        "dropped: too long": "0",
    }


def test_a_summary_that_contradicts_the_decisions_is_refused(run: Run) -> None:
    run.json("loop/k1/synthetic/summary.json", {"pairs_selected": 10, "pairs_kept": 9})
    with pytest.raises(DataError, match=r"keeps 7 pairs by its decisions and 9 by synthetic/summ"):
        accounting(run.inputs())
