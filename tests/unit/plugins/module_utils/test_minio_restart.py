import os

import pytest

from ansible_collections.escala.ha.plugins.module_utils._minio_restart import changed_at, decide, started_at

SHOWN = "ActiveState=active\nExecMainStartTimestampMonotonic=40000000\n"


def test_a_service_was_started_when_systemd_says_on_the_clock_of_the_files():
    assert started_at(SHOWN, now=1000.0, monotonic_now=100.0) == 940.0


@pytest.mark.parametrize("shown", ["", "ActiveState=inactive\n", "ActiveState=activating\n", "ActiveState=failed\n"])
def test_a_service_that_does_not_run_was_not_started(shown):
    assert started_at(shown, 1000.0, 100.0) is None


@pytest.mark.parametrize(
    ("started", "shared", "own", "how"),
    [
        (None, 5, 5, "none"),
        (10, 5, 5, "none"),
        (10, 5, 11, "alone"),
        (10, 11, 5, "together"),
        (10, 11, 11, "together"),
    ],
)
def test_what_all_nodes_must_have_alike_is_for_all_at_once(started, shared, own, how):
    decided = decide(started, {"/program": shared}, {"/unit": own})
    assert decided.how == how
    assert ("/program" in decided.reason) == (how == "together")


def test_a_file_counts_by_when_the_host_got_it_and_one_that_is_missing_not_at_all(tmp_path):
    file = tmp_path / "program"
    file.touch()

    os.utime(file, (1, 1))
    found = changed_at([str(file), str(tmp_path / "missing")])
    assert list(found) == [str(file)]
    assert found[str(file)] > 1e9
