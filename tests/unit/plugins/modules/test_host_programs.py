from pathlib import Path

import pytest


@pytest.fixture
def library(tmp_path):
    return tmp_path / "escala"


def files(library):
    return {str(one.relative_to(library)): one.read_bytes() for one in library.rglob("*") if one.is_file()}


def test_an_empty_host_gets_all_and_a_second_run_changes_nothing(run_module, library):
    first = run_module("host_programs", {"directory": str(library)})
    assert (first["changed"], first["removed"]) == (True, [])
    assert {"_pg_guard.py", "_pg_follow_service.py", "_pgbouncer_trial.py"} <= set(first["written"])
    assert {Path(name).name for name in files(library)} == set(first["written"])
    before = files(library)
    second = run_module("host_programs", {"directory": str(library)})
    assert (second["changed"], second["written"], second["removed"]) == (False, [], [])
    assert second["diff"] == {"before": "", "after": ""}
    assert files(library) == before


def test_what_is_on_the_host_is_what_is_in_the_collection(run_module, library):
    run_module("host_programs", {"directory": str(library)})
    source = Path(__file__).resolve().parents[4] / "plugins" / "module_utils"
    assert all(content == (source / Path(name).name).read_bytes() for name, content in files(library).items())


def test_check_mode_says_what_would_be_done_and_writes_nothing(run_module, library):
    said = run_module("host_programs", {"directory": str(library)}, check_mode=True)
    assert said["changed"]
    assert not library.exists()
    done = run_module("host_programs", {"directory": str(library)})
    assert (said["written"], said["diff"]) == (done["written"], done["diff"])


@pytest.mark.parametrize("check_mode", [True, False])
def test_only_what_is_not_as_it_should_be_is_touched_and_named(run_module, library, check_mode):
    run_module("host_programs", {"directory": str(library)})
    folder = next(library.rglob("_pg_guard.py")).parent
    (folder / "_pg_wal.py").write_text("old")
    (folder / "_former.py").write_text("")
    before = files(library)
    result = run_module("host_programs", {"directory": str(library)}, check_mode=check_mode)
    assert (result["changed"], result["written"], result["removed"]) == (True, ["_pg_wal.py"], ["_former.py"])
    assert result["diff"]["after"] == "written: _pg_wal.py\nremoved: _former.py\n"
    assert (files(library) == before) is check_mode
    assert (folder / "_former.py").exists() is check_mode


def test_a_library_that_cannot_be_written_is_a_fault_with_its_reason(run_module, tmp_path):
    (tmp_path / "file").write_text("")
    result = run_module("host_programs", {"directory": str(tmp_path / "file" / "escala")})
    assert result["failed"]
    assert result["msg"].startswith("The library of the daemons cannot be written: ")
