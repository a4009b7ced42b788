"""What Prometheus reads of a guard."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import NodeState, Promise, Quorum, Standby
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_metrics import exposition
from tests.unit.plugins.module_utils.test_pg_state import STATES

SAMPLE = re.compile(
    r'escala_pg_guard_([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (-?[0-9.]+(?:e[+-][0-9]+)?)'
)


def samples(text):
    """Name, labels and value of each sample, having checked the form of every line."""
    found, declared = {}, []
    assert text.endswith("\n")
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# HELP "):
            declared.append(line.split()[2])
        elif line.startswith("# TYPE "):
            assert line.split()[2:] == [declared[-1], "gauge"]
        else:
            parts = SAMPLE.fullmatch(line)
            assert parts, line
            assert declared[-1] == f"escala_pg_guard_{parts[1]}"
            assert (parts[1], parts[2]) not in found
            found[parts[1], parts[2]] = float(parts[3])
    assert len(set(declared)) == len(declared)
    return found


@settings(max_examples=40)
@given(STATES)
def test_whatever_the_state_the_text_is_well_formed(state):
    # A standby that connects anew has two rows for a moment, and a series that is there twice spoils the whole scrape.
    found = samples(exposition(state._replace(standbys=state.standbys * 2)))
    roles = {labels: value for (name, labels), value in found.items() if name == "role"}
    assert sum(roles.values()) == roles[f'role="{state.role}"'] == 1


def test_a_primary_tells_all_that_an_alert_needs():
    found = samples(
        exposition(
            NodeState(
                "db1",
                "primary",
                writable=True,
                timeline=3,
                lsn=2**40,
                joined=True,
                promise=Promise(4, "db2"),
                quorum=Quorum((3, 1), ("db3",)),
                sees={"db2": 0.25, "db3": None},
                standbys=(Standby("db2", "streaming", "quorum", 2**40 - 1),),
                handing_over_to="db2",
            )
        )
    )
    assert found["writable", None] == found["joined", None] == found["handing_over", None] == 1
    assert (found["timeline", None], found["promised_timeline", None]) == (3, 4)
    assert found["lsn_bytes", None] == 2**40
    assert found["out_of_quorum", 'node="db3"'] == 1
    assert found["peer_silent_seconds", 'peer="db2"'] == 0.25
    assert ("peer_silent_seconds", 'peer="db3"') not in found
    assert (found["peer_seen", 'peer="db2"'], found["peer_seen", 'peer="db3"']) == (1, 0)
    assert found["standby_flush_lsn_bytes", 'standby="db2",state="streaming",sync_state="quorum"'] == 2**40 - 1
    assert ("replay_lag_seconds", None) not in found


@pytest.mark.parametrize(("name", "written"), [('a"b', r"a\"b"), ("a\\b", r"a\\b"), ("a\nb", r"a\nb")])
def test_what_would_end_a_label_is_escaped(name, written):
    found = samples(exposition(NodeState("db1", "standby", sees={name: 1.0})))
    assert found["peer_silent_seconds", f'peer="{written}"'] == 1


def test_of_two_walsenders_of_one_standby_the_one_that_is_further_counts():
    rows = tuple(Standby("db2", "streaming", "quorum", lsn) for lsn in (70, 90, 80))
    found = samples(exposition(NodeState("db1", "primary", standbys=(*rows, Standby("db2", "startup", "async", 0)))))
    assert found["standby_flush_lsn_bytes", 'standby="db2",state="streaming",sync_state="quorum"'] == 90
    assert found["standby_flush_lsn_bytes", 'standby="db2",state="startup",sync_state="async"'] == 0
