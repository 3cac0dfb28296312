"""A loss and a selector from a file of the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.small_models import reward_params
from westofn.core.losses import LOSSES, LossSettings
from westofn.core.selection import SELECTORS, select_pairs
from westofn.errors import ParameterError
from westofn.pairing.selectors import selector_of
from westofn.plugins import entry_of
from westofn.training.losses import loss_of

ROOT = Path(__file__).parents[1]
LOSS = """
from westofn.core.losses import Loss

def doubled(margin, p_chosen, settings):
    return (settings.loss_margin - 2 * p_chosen * margin).mean()

double = Loss(doubled, reads_confidence=True)
"""
SELECTOR = """
import torch

def first_last(margins, uniforms):
    first = torch.zeros(len(margins), dtype=torch.int64)
    return first, first + margins.shape[-1] - 1
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of plug-ins, below the working folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "plugins"
    folder.mkdir()
    return folder


def test_a_loss_is_added_by_a_file_of_fewer_than_thirty_lines(plugins: Path) -> None:
    assert len(LOSS.splitlines()) < 30
    (plugins / "mine.py").write_text(LOSS)
    loss = loss_of(reward_params(loss="mine:double"), "base_rm")
    assert loss.reads_confidence
    # 3 - 2 * 0.5 * 4 = -1 and 3 - 2 * 1 * 1 = 1.
    margin, p = torch.tensor([4.0, 1.0]), torch.tensor([0.5, 1.0])
    assert loss.function(margin, p, LossSettings(loss_margin=3.0)).item() == 0.0


def test_a_selector_is_added_by_a_file_of_fewer_than_thirty_lines(plugins: Path) -> None:
    assert len(SELECTOR.splitlines()) < 30
    (plugins / "mine.py").write_text(SELECTOR)
    rewards = torch.tensor([1.0, 5.0, 3.0])
    pair = select_pairs((rewards[:, None] - rewards)[None], selector_of("mine:first_last"))
    assert (pair.best.item(), pair.worst.item()) == (0, 2)
    assert pair.p_best.item() == pytest.approx(torch.tensor(-2.0).sigmoid().item())


def test_the_example_has_a_loss_and_a_selector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert len((ROOT / "plugins/example.py").read_text().splitlines()) < 60
    hinge = loss_of(reward_params(loss="example:hinge"), "base_rm")
    # 1 - 0.25, at half the weight, and nothing beyond the margin.
    loss = hinge.function(torch.tensor([0.25, 2.0]), torch.tensor([0.5, 1.0]), LossSettings())
    assert loss.item() == pytest.approx(0.5 * 0.75 / 2)
    rewards = torch.tensor([1.0, 4.0, 2.0, 3.0])
    select = selector_of("example:best_second_worst")
    for size, worst in ((4, 2), (2, 0)):
        margins = (rewards[:size, None] - rewards[:size])[None]
        pair = select_pairs(margins, select)
        assert (pair.best.item(), pair.worst.item()) == (1, worst)


def test_an_entry_of_the_table_needs_no_file(plugins: Path) -> None:
    assert loss_of(reward_params(loss="margin"), "base_rm") is LOSSES["margin"]
    assert selector_of("west") is SELECTORS["west"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("nearest", "", "base_rm.loss is 'nearest', needs bradley_terry, soft, .* file:name"),
        ("absent:loss", "", "plugins/absent.py is missing; write it"),
        ("mine:other", LOSS, "base_rm.loss is 'mine:other', and plugins/mine.py has no 'other'"),
        ("mine:doubled", LOSS, "base_rm.loss is 'mine:doubled', a function; needs a Loss of"),
        ("mine:x", "1 / 0", r"cannot be executed \(ZeroDivisionError: division by zero"),
        ("mine:x", "def", r"cannot be executed \(SyntaxError: "),
    ],
)
def test_a_loss_that_is_not_there_is_refused_in_one_line(
    name: str, text: str, message: str, plugins: Path
) -> None:
    (plugins / "mine.py").write_text(text)
    with pytest.raises(ParameterError, match=message) as refused:
        loss_of(reward_params(loss=name), "base_rm")
    assert "\n" not in str(refused.value)


def test_a_selector_that_is_no_function_is_refused(plugins: Path) -> None:
    (plugins / "mine.py").write_text("number = 3")
    with pytest.raises(ParameterError, match=r"won_select.selector is 'mine:number', a int; needs"):
        selector_of("mine:number")


def test_entries_are_looked_up_by_their_names(plugins: Path) -> None:
    assert entry_of({"a": 1}, "a", "key") == 1
