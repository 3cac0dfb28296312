"""The page that people label in: texts stay texts, and it needs nothing from elsewhere."""

from __future__ import annotations

import json
import re

from westofn.exporting.questions import Question, label_page

HOSTILE = "</script><img src=x onerror=alert(1)> \"double\" 'single' & <!--<script>\u2028\u202e 😀"


def question(text: str, number: int = 0) -> Question:
    return Question(f"q{number}", f"prompt {text}", f"one {text}", f"two {text}", 0.125)


def embedded(page: str) -> str:
    found = re.findall(r'<script type="application/json" id="export">(.*?)</script>', page)
    assert len(found) == 1
    return str(found[0])


def test_hostile_texts_read_back_and_are_no_markup() -> None:
    page = label_page([question(HOSTILE)])
    text = embedded(page)
    assert json.loads(text)["questions"] == [question(HOSTILE).shown]
    assert text.isascii()
    assert not set("<>&'") & set(text)
    assert page.count("<script") == 2
    assert "<img" not in page


def test_texts_are_put_in_as_text() -> None:
    page = label_page([question("x")])
    assert ".textContent = question.prompt" in page
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", page)


def test_the_page_fetches_nothing() -> None:
    page = label_page([question("x")])
    assert "default-src 'none'" in page
    assert not re.search(r"https?:|\bsrc=|\bhref=|@import|url\(|fetch\(|XMLHttp", page)


def test_the_page_does_not_show_how_informative_a_question_is() -> None:
    page = label_page([question("x")])
    assert "informativeness" not in page
    assert "0.125" not in page


def test_answers_of_another_export_are_kept_apart() -> None:
    keys = [json.loads(embedded(label_page([question(text)])))["key"] for text in ("x", "x", "y")]
    assert keys[0] == keys[1] != keys[2]


def test_every_choice_is_a_button_with_its_key() -> None:
    page = label_page([question("x")])
    buttons = re.findall(r'<button[^>]*data-label="(\w+)" aria-keyshortcuts="(\w)"', page)
    assert buttons == [("a", "a"), ("b", "b"), ("tie", "t"), ("skip", "s")]
    assert 'const LABELS = { a: "a", b: "b", t: "tie", s: "skip" };' in page
