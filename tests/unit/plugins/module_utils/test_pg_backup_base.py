"""Which base backups are made, with PostgreSQL's own programs left out; the lab has those."""

from __future__ import annotations

import pytest

from ansible_collections.escala.ha.plugins.module_utils._pg_backup_base import Backups, Record
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_config import Config
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_store import BackupError

RANGES = [{"Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/2000100"}]
FULL = Record("full", None, 1.0, 2.0, 7, 17, 1 << 24, RANGES, 10, 100)


@pytest.fixture
def backups(tmp_path, monkeypatch):
    config = Config(17, "/usr/bin", "", str(tmp_path), keep_full=1, keep_seconds=0, incrementals=6)
    backups = Backups(config._replace(directory=str(tmp_path)))
    monkeypatch.setattr(backups, "records", lambda: ({"full": FULL}, []))
    return backups


def tries(backups, monkeypatch, *said):
    """What each try builds on; each fails in turn with those words, and the last one is made."""
    fails, built_on = list(said), []

    def make(name, parent, _now):
        built_on.append(parent and parent.name)
        if fails:
            raise BackupError(fails.pop(0))
        return FULL._replace(name=name)

    monkeypatch.setattr(backups, "_make", make)
    return built_on


@pytest.mark.parametrize(
    "said",
    [
        "pg_basebackup failed (1): ERROR:  WAL summaries are required on timeline 1 from 0/2000028",
        "pg_basebackup failed (1): ERROR:  manifest requires WAL from final timeline 49 ending at 0/440055E8, but this backup starts at 0/42000168",
    ],
)
def test_one_that_cannot_build_on_the_last_is_made_in_full(backups, monkeypatch, said):
    built_on = tries(backups, monkeypatch, said)
    backups.make(100.0)
    assert built_on == ["full", None]


def test_any_other_fault_is_none_that_a_full_one_mends(backups, monkeypatch):
    built_on = tries(backups, monkeypatch, "pg_basebackup failed (1): No space left on device")
    with pytest.raises(BackupError, match="No space left"):
        backups.make(100.0)
    assert built_on == ["full"]


def test_whoever_asks_for_a_full_one_gets_it(backups, monkeypatch):
    built_on = tries(backups, monkeypatch)
    backups.make(100.0, full=True)
    assert built_on == [None]
