from __future__ import annotations

from pathlib import Path

import pytest

from lab import state
from lab.errors import LabError
from lab.state import Fault, State


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "STATE", tmp_path / "lab")


def test_what_is_saved_is_read_again() -> None:
    saved = State("small", {"a": ["/base"]}, {"s": {"a": ["/base"]}}, [Fault("loss", "a", percent=3)])
    saved.save()
    assert state.read() == saved


def test_without_a_lab_the_state_is_empty() -> None:
    assert state.read() == State()


def test_a_broken_state_says_how_to_clear_it() -> None:
    State("small").save()
    (state.STATE / "state.json").write_text("{")
    with pytest.raises(LabError, match="down --purge --force"):
        state.read()


def test_a_second_command_is_told_which_one_is_at_work() -> None:
    with (
        state.lock("up", 0),
        pytest.raises(LabError, match=r"another lab command is at work \(up, process \d+\)"),
        state.lock("down", 0),
    ):
        pass


def test_the_lock_is_free_after_its_holder_ended() -> None:
    with state.lock("up", 0):
        pass
    with state.lock("down", 0):
        pass
