from __future__ import annotations

import os

import pytest

from ansible_collections.escala.ha.plugins.module_utils._postgresql_bootstrap import (
    BootstrapError,
    first_accounts,
    initdb,
    make,
)


class Programs:
    """Stands for initdb and postgres, and notes what each was told."""

    def __init__(self, broken=None):
        self.calls = []
        self.broken = broken

    def __call__(self, argv, data):
        self.calls.append((os.path.basename(argv[0]), data))
        if argv[0].endswith(self.broken or "nothing"):
            return 1, "", "it broke"
        if argv[0].endswith("initdb"):
            [draft] = [part.partition("=")[2] for part in argv if part.startswith("--pgdata=")]
            os.mkdir(draft)
            for name in ("PG_VERSION", "postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
                open(os.path.join(draft, name), "x").close()
        return 0, "", ""


def begin(tmp_path, programs):
    make(programs, 17, str(tmp_path / "main"), "CREATE ROLE a", os.getuid(), os.getgid())


def test_it_is_there_whole_and_as_a_standby(tmp_path):
    programs = Programs()
    begin(tmp_path, programs)
    assert programs.calls == [("initdb", None), ("postgres", "CREATE ROLE a")]
    assert [path.name for path in tmp_path.iterdir()] == ["main"]
    assert {path.name for path in (tmp_path / "main").iterdir()} == {"PG_VERSION", "standby.signal"}


@pytest.mark.parametrize("broken", ["initdb", "postgres"])
def test_what_was_interrupted_is_no_data_and_the_next_try_ends_well(tmp_path, broken):
    with pytest.raises(BootstrapError, match=f"{broken} failed with 1: it broke"):
        begin(tmp_path, Programs(broken))
    assert not (tmp_path / "main").exists()
    begin(tmp_path, Programs())
    assert [path.name for path in tmp_path.iterdir()] == ["main"]


def test_an_empty_folder_in_its_place_is_no_hindrance(tmp_path):
    (tmp_path / "main").mkdir()
    begin(tmp_path, Programs())
    assert (tmp_path / "main" / "PG_VERSION").exists()


def test_a_folder_with_something_in_it_is_not_touched(tmp_path):
    (tmp_path / "main").mkdir()
    (tmp_path / "main" / "precious").write_text("x")
    with pytest.raises(BootstrapError, match="is not empty and holds no PostgreSQL cluster"):
        begin(tmp_path, Programs())
    assert (tmp_path / "main" / "precious").read_text() == "x"


def test_texts_are_ordered_without_the_system_s_library_where_postgresql_can():
    assert "--locale-provider=builtin" in initdb(17, "/x")
    assert "--locale-provider=builtin" not in initdb(15, "/x")
    assert {"--data-checksums", "--encoding=UTF8"} <= set(initdb(15, "/x"))


def test_a_password_stays_one_text():
    assert "PASSWORD 'it''s'" in first_accounts("guard", "replicator", "it's")
    # One statement a line is what the server takes.
    assert first_accounts("guard", "replicator", "x").count("\n") == 2
