"""The guard's configuration, and that what the role says of it is what the program takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from ansible_collections.escala.ha.plugins.module_utils._pg_guard_config import (
    Timings,
    config_from,
    read_config,
    rules_of,
    slot_name,
)
from tests.unit.plugins.module_utils.pg_guard_world import VALUES, WITNESS, config

ROOT = Path(__file__).resolve().parents[4]


def test_a_data_node_and_a_witness_are_understood():
    here = config()
    assert here.addresses == VALUES["data_nodes"]
    assert list(here.peers) == ["db2", "db3"]
    assert here.here.unit == "postgresql@17-main"
    witness = config(**WITNESS)
    assert list(witness.peers) == ["db1", "db2", "db3"]
    with pytest.raises(ValueError, match="w is a witness and has no PostgreSQL"):
        _ = witness.here


def without(*path):
    values = json.loads(json.dumps(VALUES))
    inner = values
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return values


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([], "must be an object"),
        (without("port"), "the configuration lacks port"),
        ({**VALUES, "timings": [1]}, "timings must be an object"),
        ({**VALUES, "identity": None}, "identity must be an object"),
        (without("postgresql", "unit"), "postgresql lacks unit"),
        ({**VALUES, "node": "db9"}, "db9 is neither among"),
        ({**VALUES, "postgresql": None}, "exactly when it is a data node"),
        ({**VALUES, **WITNESS, "postgresql": VALUES["postgresql"]}, "exactly when it is a data node"),
        ({**VALUES, "witnesses": {"db3": "192.0.2.13"}}, "either a data node or a witness"),
        ({**VALUES, "data_nodes": {"db1": "192.0.2.1", "db-2": "192.0.2.2", "db_2": "192.0.2.3"}}, "share a .* slot"),
    ],
)
def test_a_configuration_that_is_wrong_says_what_is(values, why):
    with pytest.raises(ValueError, match=why):
        config_from(json.dumps(values))


def test_what_another_version_wrote_serves_until_the_configuration_comes_after_the_code():
    later = {**VALUES, "new_key": 1, "timings": {**VALUES["timings"], "new_seconds": 1}}
    assert config_from(json.dumps(later)) == config_from(json.dumps(VALUES))
    earlier = config_from(json.dumps(without("timings", "alone_seconds")))
    assert earlier.timings.alone_seconds == Timings().alone_seconds


def test_the_environment_may_name_another_file_and_an_argument_goes_before(tmp_path, monkeypatch):
    (tmp_path / "one").write_text(json.dumps(VALUES))
    (tmp_path / "two").write_text(json.dumps({**VALUES, "port": 6000}))
    monkeypatch.setenv("ESCALA_PG_GUARD_CONFIG", str(tmp_path / "one"))
    assert read_config().port == 5433
    assert read_config(str(tmp_path / "two")).port == 6000


@pytest.mark.parametrize(("node", "slot"), [("db1", "db1"), ("DB-1.example", "db_1_example")])
def test_a_slot_takes_what_postgresql_allows(node, slot):
    assert slot_name(node) == slot


def test_the_rules_have_the_times_and_nodes_of_the_configuration():
    rules = rules_of(
        config(automatic=False, timings={**VALUES["timings"], "alone_seconds": 7.0, "primary_fresh_seconds": 1.5})
    )
    assert rules.nodes == ("db1", "db2", "db3")
    assert (rules.alone_seconds, rules.fresh_seconds, rules.silent_seconds) == (7.0, 1.5, 2.5)
    assert (rules.hung_seconds, rules.stand_delay_seconds, rules.automatic) == (3.0, 1.0, False)


def test_the_role_the_program_and_the_options_have_the_same_timings():
    of_program = Timings()._asdict()
    variables = yaml.safe_load((ROOT / "roles/pg_guard/vars/main.yml").read_text())
    assert variables["__pg_guard_default_timings"] == of_program
    specs = yaml.safe_load((ROOT / "roles/pg_guard/meta/argument_specs.yml").read_text())
    options = specs["argument_specs"]["main"]["options"]["pg_guard_timings"]["options"]
    assert {name: option["default"] for name, option in options.items()} == of_program


def test_a_dead_primary_is_given_up_before_one_that_is_alone_would_be_and_not_before_it_could_answer():
    times = Timings()
    answered = times.heartbeat_seconds + times.request_timeout_seconds
    assert answered < times.primary_fresh_seconds < times.primary_silent_seconds < times.alone_seconds
