"""All data nodes have one version: what is asked for, or what their distribution has, and whoever has no say keeps nobody waiting."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.escala.ha.plugins.module_utils._postgresql_version import (
    PACKAGED,
    SUPPORTED,
    Node,
    VersionError,
    agreed,
    system_of,
)

_SPECS = Path(__file__).resolve().parents[4] / "roles" / "postgresql" / "meta" / "argument_specs.yml"
DEBIAN_12, DEBIAN_13, AWAY = (Node("db1", None, "Debian 12"), Node("db2", None, "Debian 13"), Node("db3", None))


@pytest.mark.parametrize(("system", "version"), PACKAGED.items())
def test_what_the_distribution_has_is_the_default(system, version):
    assert agreed([Node(name, None, system) for name in ("db1", "db2", "db3")]) == version


@pytest.mark.parametrize("version", SUPPORTED)
@pytest.mark.parametrize("system", [*PACKAGED, "", "Debian 11"])
def test_what_is_asked_for_counts_on_every_distribution(system, version):
    assert agreed([Node("db1", version, system), Node("db2", version, system)]) == version


@pytest.mark.parametrize("nodes", [*permutations([DEBIAN_12, AWAY, Node("db4", None, "Debian 12")])])
def test_a_node_that_is_away_has_no_say(nodes):
    assert agreed(nodes) == 15


def test_nodes_that_would_have_different_versions_are_refused_by_name():
    with pytest.raises(VersionError) as refused:
        agreed([DEBIAN_12, DEBIAN_13, AWAY])
    assert str(refused.value) == (
        "the data nodes would have different versions of PostgreSQL, and none could be a standby of another: 15 on db1 (Debian 12);"
        " 17 on db2 (Debian 13). Set postgresql_version to one for all, with postgresql_install_from: pgdg where the distribution has"
        " another"
    )


def test_one_that_asks_for_what_the_others_have_is_no_difference():
    assert agreed([DEBIAN_12, Node("db2", 15, "Debian 13")]) == 15


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        ([AWAY], "db3 (not seen)"),
        ([Node("db1", None, "Debian 11"), AWAY], "db1 (Debian 11), db3 (not seen)"),
        ([], "there is none"),
    ],
)
def test_where_nobody_knows_the_version_it_must_be_set(nodes, told):
    with pytest.raises(VersionError) as refused:
        agreed(nodes)
    assert str(refused.value).endswith(f"which one the distribution has is known of no data node: {told}; set it")


@given(
    st.lists(
        st.builds(
            Node, st.sampled_from("abc"), st.none() | st.sampled_from(SUPPORTED), st.sampled_from([*PACKAGED, ""])
        )
    )
)
def test_nobody_ever_gets_a_version_that_another_does_not_have(nodes):
    versions = {node.version for node in nodes} - {None}
    if len(versions) == 1:
        assert {agreed(nodes)} == versions
    else:
        with pytest.raises(VersionError):
            agreed(nodes)


@pytest.mark.parametrize(
    ("facts", "system"),
    [
        (
            {"distribution": "Debian", "distribution_version": "12.12", "distribution_major_version": "12"},
            "Debian 12",
        ),
        ({"distribution": "Debian", "distribution_version": "13", "distribution_major_version": "13"}, "Debian 13"),
        (
            {"distribution": "Ubuntu", "distribution_version": "24.04", "distribution_major_version": "24"},
            "Ubuntu 24.04",
        ),
        ({"distribution": "Debian", "distribution_version": "14", "distribution_major_version": None}, "Debian 14"),
        ({}, ""),
    ],
)
def test_a_distribution_is_called_as_preflight_calls_it(facts, system):
    assert system_of(facts) == system


def test_the_role_takes_the_versions_that_are_known_and_no_other():
    options = yaml.safe_load(_SPECS.read_text())["argument_specs"]["main"]["options"]
    assert tuple(options["postgresql_version"]["choices"]) == SUPPORTED
    assert set(PACKAGED.values()) <= set(SUPPORTED)
