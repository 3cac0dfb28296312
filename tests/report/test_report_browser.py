from __future__ import annotations

import json
import math
from collections.abc import Callable

import polars as pl
import pytest
from conftest import Run

from westofn.artifacts.decisions import DECISIONS
from westofn.artifacts.prompts import PROMPTS
from westofn.errors import DataError
from westofn.report.browser import COLUMNS, embed_pairs, escape, pair_rows
from westofn.report.tables import accounting

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
