from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from westofn.execution.account import Account, Limit, tell, warnings_of
from westofn.plain_text import WIDTH


def test_reasons_stand_by_number_and_then_by_name() -> None:
    line = Account("filter", 10, 4, {"cut": 1, "identical": 1, "too_long": 4}).line
    assert line == "filter: 10 pairs in, 4 used; dropped 4 too_long, 1 cut, 1 identical"


def test_a_reason_without_rows_is_not_named() -> None:
    assert Account("filter", 2, 2, {"cut": 0}).line == "filter: 2 pairs in, 2 used"


def test_rows_that_vanish_are_a_fault() -> None:
    with pytest.raises(AssertionError, match="3 rows in are not 1 used"):
        Account("filter", 3, 1, {"cut": 1}, "rows")


def test_a_long_account_stays_within_80_columns() -> None:
    reasons = {f"reason_number_{i}": 1 for i in range(12)}
    lines = Account("prepare", 12, 0, reasons, "rows").line.splitlines()
    assert len(lines) > 1
    assert all(len(line) <= WIDTH for line in lines)
    assert all(line.startswith("  ") for line in lines[1:])
    assert " ".join(line.strip() for line in lines).count("reason_number_") == 12


LIMIT = Limit(32, 90)


def warned(dropped: dict[str, int], rows: int = 100, limit: Limit | None = LIMIT) -> list[str]:
    used = rows - sum(dropped.values())
    return warnings_of([Account("filter", rows, used, dropped, limit=limit)])


def test_more_than_a_tenth_too_long_is_a_warning_with_its_mend() -> None:
    assert warned({"too_long": 10}) == []
    assert warned({"too_long": 11}) == [
        "filter: 11 % of pairs are too long for sft.max_response_tokens 32; 90 keeps 95 %"
    ]


def test_more_than_a_tenth_cut_is_a_warning() -> None:
    assert warned({"cut": 10, "too_long": 10}) == []
    assert warned({"cut": 11}) == [
        "filter: 11 % of pairs are cut at sft.max_response_tokens 32; raise it"
    ]
    assert len(warned({"cut": 11, "too_long": 11})) == 2


def test_other_reasons_and_rows_without_a_limit_are_no_warning() -> None:
    assert warned({"confidence": 90}) == []
    assert warned({"too_long": 90}, limit=None) == []
    assert warned({}, rows=0) == []


def test_stages_share_a_warning_whose_limit_serves_all_of_them() -> None:
    accounts = [
        Account("sft", 10, 5, {"too_long": 5}, "examples", limit=Limit(32, 90)),
        Account("hf50", 10, 10, {"too_long": 0}, limit=Limit(32, 400)),
        Account("hf100", 10, 8, {"too_long": 2}, limit=Limit(32, 120)),
    ]
    assert warnings_of(accounts) == [
        "sft: 50 % of examples, hf100: 20 % of pairs are too long for sft.max_response_tokens 32; "
        "120 keeps 95 %"
    ]


@given(st.lists(st.integers(0, 50), min_size=1), st.integers(0, 50))
def test_the_limit_of_a_warning_is_the_smallest_that_keeps_95_percent(
    lengths: list[int], value: int
) -> None:
    limit = Limit.of(value, lengths).for_most

    def kept(limit: int) -> int:
        return sum(length <= limit for length in lengths)

    assert 100 * kept(limit) >= 95 * len(lengths)
    assert limit == 0 or 100 * kept(limit - 1) < 95 * len(lengths)


def test_the_line_goes_to_stdout_and_the_warning_to_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tell(Account("hf100", 179, 46, {"too_long": 133}, limit=Limit(32, 214)))
    out, err = capsys.readouterr()
    assert out == "hf100: 179 pairs in, 46 used; dropped 133 too_long\n"
    assert " ".join(err.split()) == (
        "WARNING: hf100: 74 % of pairs are too long for sft.max_response_tokens 32; 214 keeps 95 %"
    )
    assert max(map(len, err.splitlines())) <= WIDTH
    assert "\x1b" not in err


def test_one_of_several_processes_tells(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    tell(Account("sft", 1, 0, {"too_long": 1}, limit=Limit(1, 2)))
    assert capsys.readouterr() == ("", "")
