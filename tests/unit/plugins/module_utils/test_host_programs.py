from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pg_follow_service, _pg_guard, _pgbouncer_trial
from ansible_collections.escala.ha.plugins.module_utils._host_programs import Library, sources


@pytest.fixture(scope="module")
def found():
    return sources([_pg_guard, _pg_follow_service, _pgbouncer_trial])


@pytest.fixture
def library(tmp_path, found):
    return Library(str(tmp_path / "escala"), found)


def brought(library):
    library.bring(*library.differences())
    return library


@pytest.mark.parametrize("program", ["_pg_guard", "_pg_follow_service", "_pgbouncer_trial"])
def test_a_program_finds_all_that_it_imports_in_the_library(library, program):
    brought(library)
    where = f"import sys; sys.path.insert(0, {library.directory!r});"
    code = f"{where} from ansible_collections.escala.ha.plugins.module_utils import {program} as p; print(p.__file__)"
    # Isolated, and from another folder, so that nothing else gives it a module.
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(library.directory)


def test_what_no_program_imports_is_not_there(found):
    names = {name.rpartition(".")[2] for name in found}
    assert "_pg_guard_daemon" in names
    assert "_pgbouncer" in names
    assert not names & {"_host_programs", "_backend_health", "_preflight"}


def test_a_library_that_is_as_it_should_be_is_left_alone(library):
    written, removed = library.differences()
    assert "_pg_guard.py" in written
    assert not removed
    assert brought(library).differences() == ([], [])


def test_what_changed_is_written_and_what_is_of_no_use_is_removed(library):
    folder = brought(library).folder
    with open(os.path.join(folder, "_pg_wal.py"), "w", encoding="utf-8") as file:
        file.write("old")
    with open(os.path.join(folder, "_former.py"), "w", encoding="utf-8") as file:
        file.write("")
    assert library.differences() == (["_pg_wal.py"], ["_former.py"])
    assert brought(library).differences() == ([], [])
    assert not os.path.exists(os.path.join(folder, "_former.py"))


def test_everybody_may_read_it_and_only_its_owner_may_write(library):
    folder = brought(library).folder
    assert {os.stat(os.path.join(folder, name)).st_mode & 0o777 for name in os.listdir(folder)} == {0o644}
