from __future__ import annotations

import pytest

from ansible_collections.escala.ha.plugins.module_utils._loading import Service, Step, loads, parse_service, plan
from ansible_collections.escala.ha.plugins.module_utils._rolling import Source

OLD, NEW = Source("/etc/a", 100.0), Source("/etc/b", 300.0)
WELL = Service(active=True, enabled=True, unit_changed=False, loaded_at=200.0)


def test_the_last_load_is_on_the_clock_of_files():
    shown = "ActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\nStateChangeTimestampMonotonic=40000000\n"
    assert parse_service(shown, now=1000.0, monotonic_now=50.0) == Service(True, True, False, 990.0)


def test_a_unit_that_systemd_does_not_know_does_not_run():
    shown = "ActiveState=inactive\nUnitFileState=\nNeedDaemonReload=no\nStateChangeTimestampMonotonic=0\n"
    service = parse_service(shown, now=1000.0, monotonic_now=50.0)
    assert [step.verb for step in plan(service, [OLD])] == ["daemon-reload", "enable", "start"]


def test_a_service_that_loaded_after_its_files_changed_is_left_alone():
    assert plan(WELL, [OLD]) == []


def test_a_file_that_changed_since_is_loaded_and_named():
    assert plan(WELL, [OLD, NEW]) == [Step("reload", "it has run since before /etc/b changed")]


def test_a_service_that_does_not_run_is_started_and_not_reloaded():
    assert [step.verb for step in plan(WELL._replace(active=False), [NEW])] == ["daemon-reload", "start"]


def test_a_changed_unit_is_read_before_anything_else():
    steps = plan(Service(active=False, enabled=False, unit_changed=True, loaded_at=0), [NEW])
    assert [step.verb for step in steps] == ["daemon-reload", "enable", "start"]


@pytest.mark.parametrize(
    ("verbs", "expected"),
    [([], False), (["daemon-reload", "enable"], False), (["start"], True), (["enable", "reload"], True)],
)
def test_the_configuration_is_checked_when_it_will_be_read(verbs, expected):
    assert loads([Step(verb, "") for verb in verbs]) is expected
