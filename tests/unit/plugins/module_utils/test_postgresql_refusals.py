"""What would part a running cluster is refused with its reason and the next step, and what would not is let through."""

from __future__ import annotations

from itertools import combinations

import pytest

from ansible_collections.escala.ha.plugins.module_utils._postgresql_cluster import ClusterError
from ansible_collections.escala.ha.plugins.module_utils._postgresql_refusals import Wish, refusals

NAMES = ("db1", "db2", "db3")
HERE, OTHER = "/var/lib/postgresql/17/main", "/var/lib/postgresql/18/main"
LEAST = {
    "max_connections": 200,
    "max_worker_processes": 32,
    "max_wal_senders": 16,
    "max_prepared_transactions": 0,
    "max_locks_per_transaction": 64,
}
NEW = {"data": False, "writable": False, "versions": {}, "least": {}}
WISH = Wish(
    "17", LEAST, ("*:*:*:replicator:a", "*:*:*:repmgr:b"), ("# Ansible", "*:*:*:replicator:a", "*:*:*:repmgr:b")
)
ROTATED = WISH._replace(passwords=("*:*:*:replicator:new", "*:*:*:repmgr:b"))


def node(**changes):
    return {"data": True, "writable": False, "versions": {HERE: "17"}, "least": LEAST, **changes}


def cluster(primary="db1", run=NAMES):
    """What a run over these nodes sees of a cluster with this primary."""
    return {name: node(writable=name == primary) if name in run else {} for name in NAMES}


EVERY_RUN = [run for count in (1, 2, 3) for run in combinations(NAMES, count)]


@pytest.mark.parametrize("run", EVERY_RUN, ids="-".join)
@pytest.mark.parametrize("primary", [*NAMES, None])
def test_a_run_that_asks_for_what_is_there_may_be_of_any_nodes_and_at_any_time(run, primary):
    assert refusals(cluster(primary, run), WISH) == []


def test_a_new_cluster_may_become_anything():
    wish = Wish("18", {**LEAST, "max_connections": 900}, ("*:*:*:replicator:a",), ())
    assert refusals(dict.fromkeys(NAMES, NEW), wish) == []


@pytest.mark.parametrize("run", EVERY_RUN, ids="-".join)
def test_a_changed_version_is_refused_with_what_was_found_and_the_version_to_go_back_to(run):
    # As postgresql_node_info sees it, for which a node without data of this version has none.
    seen = {name: {**NEW, "versions": {HERE: "17"}} if name in run else {} for name in NAMES}
    [told] = refusals(seen, WISH._replace(version="18"))
    have = "has" if len(run) == 1 else "have"
    assert told.startswith(f"{', '.join(run)} {have} data of version 17 in {HERE}, and postgresql_version is 18. ")
    assert "no major upgrade: set postgresql_version back to 17," in told


@pytest.mark.parametrize("one", NAMES)
def test_one_node_with_data_of_another_version_is_enough(one):
    [told] = refusals({**dict.fromkeys(NAMES, NEW), one: {**NEW, "versions": {OTHER: "18"}}}, WISH)
    assert told.startswith(f"{one} has data of version 18 in {OTHER}, and postgresql_version is 17")


def test_data_that_is_in_the_place_of_another_version_is_none_of_the_right_one():
    [told] = refusals({"db1": node(versions={HERE: "15"})}, WISH)
    assert told.startswith(f"db1 has data of version 15 in {HERE}")


def test_beside_the_cluster_that_is_asked_for_another_is_moved_away():
    [told] = refusals({"db1": node(versions={HERE: "17", OTHER: "18"}), "db2": node(), "db3": {}}, WISH)
    assert told.startswith(f"db1 has data of version 18 in {OTHER}, and postgresql_version is 17. A data node has one")
    assert told.endswith("move the other one's folder away")


@pytest.mark.parametrize("name", LEAST)
@pytest.mark.parametrize("run", EVERY_RUN, ids="-".join)
@pytest.mark.parametrize("primary", [*NAMES, None])
def test_what_a_standby_must_not_have_less_of_rises_on_all_nodes_or_on_none(name, run, primary):
    wish = WISH._replace(settings={**LEAST, name: LEAST[name] + 100})
    told = refusals(cluster(primary, run), wish)
    away = [one for one in NAMES if one not in run]
    if not away:
        assert told == []
        return
    assert len(told) == 1
    are = "is" if len(away) == 1 else "are"
    assert told[0].startswith(
        f"{name} is to rise from {LEAST[name]} to {LEAST[name] + 100}, and {', '.join(away)} {are} not in this run: "
    )
    assert "without --limit" in told[0]


@pytest.mark.parametrize("name", LEAST)
def test_what_stays_or_would_fall_is_no_matter_of_who_is_in_the_run(name):
    assert refusals(cluster(run=("db2",)), WISH._replace(settings={name: str(LEAST[name])})) == []
    assert refusals(cluster(run=("db2",)), WISH._replace(settings={name: LEAST[name] - 1})) == []


def test_a_node_that_was_left_behind_may_come_up_to_the_others():
    """By its control file a standby knows what its primary has."""
    seen = {"db1": {}, "db2": node(least={**LEAST, "max_connections": 300}), "db3": {}}
    assert refusals(seen, WISH._replace(settings={"max_connections": 300})) == []


def test_a_setting_that_is_no_number_is_named():
    with pytest.raises(ValueError, match="no whole number"):
        refusals(cluster(run=("db2",)), WISH._replace(settings={"max_connections": "many"}))


@pytest.mark.parametrize("primary", NAMES)
def test_new_passwords_are_for_a_run_over_all_nodes_with_a_primary(primary):
    assert refusals(cluster(primary), ROTATED) == []


def test_new_passwords_wait_for_the_end_of_an_election():
    [told] = refusals(cluster(None), ROTATED)
    assert "no node is primary now" in told
    assert "run again" in told


@pytest.mark.parametrize("run", EVERY_RUN[:-1], ids="-".join)
@pytest.mark.parametrize("primary", [*NAMES, None])
def test_new_passwords_that_would_be_some_nodes_only_are_refused_whether_the_primary_is_among_them_or_not(run, primary):
    [told] = refusals(cluster(primary, run), ROTATED)
    assert f"{', '.join(name for name in NAMES if name not in run)} {'is' if len(run) == 2 else 'are'} not" in told
    assert "without --limit" in told


def test_no_reason_says_a_password():
    told = [
        reason
        for run in EVERY_RUN
        for primary in (*NAMES, None)
        for reason in refusals(cluster(primary, run), ROTATED._replace(passwords=("*:*:*:replicator:TOP",)))
    ]
    assert told
    assert not any("TOP" in reason for reason in told)


@pytest.mark.parametrize(("primary", "refused"), [("db1", False), ("db3", True), (None, True)])
def test_a_host_that_is_made_anew_gets_the_passwords_from_a_run_with_the_primary(primary, refused):
    """While db3 has no power, for instance. Its file is not there, which says nothing of a change."""
    seen = {**cluster(primary, run=("db1", "db2")), "db2": NEW}
    assert bool(refusals(seen, WISH._replace(passwords_before=()))) == refused


def test_an_account_that_is_no_longer_there_is_no_change():
    assert refusals(cluster(run=("db2",)), WISH._replace(passwords=("*:*:*:replicator:a",))) == []


def test_each_thing_has_its_own_reason():
    wish = ROTATED._replace(version="18", settings={"max_connections": 300})
    assert len(refusals(cluster(run=("db2",)), wish)) == 3


def test_two_that_are_writable_are_nobody_to_learn_a_password():
    with pytest.raises(ClusterError, match="db1 and db2 are writable at once"):
        refusals({**cluster("db1"), "db2": node(writable=True)}, ROTATED)


@pytest.mark.parametrize("version", ["14", "19", "seventeen"])
def test_a_version_that_the_roles_do_not_know_is_refused_for_a_new_cluster_too(version):
    [told] = refusals(dict.fromkeys(NAMES, NEW), Wish(version, LEAST, (), ()))
    assert told == f"postgresql_version is {version}, and only 15, 16, 17, 18 are known here: choose one of them"


def test_data_that_somebody_else_made_is_refused_unless_it_is_meant():
    seen = {"db1": node(foreign=True), "db2": node(foreign=False), "db3": {**NEW, "foreign": True}}
    [told] = refusals(seen, WISH)
    assert told.startswith("db1, db3 have a PostgreSQL that this collection did not make. adopt_database.yml")
    assert refusals(seen, WISH._replace(adopts=True, passwords_before=())) == []


SORTED = {"collations": ["pt_BR.UTF-8"], "library": "glibc 2.36"}


def test_a_node_whose_library_sorts_otherwise_is_not_made_a_copy():
    seen = {
        "db1": node(writable=True, **SORTED),
        "db2": {**NEW, "library": "glibc 2.36"},
        "db3": {**NEW, "library": "glibc 2.41"},
    }
    [told] = refusals(seen, WISH)
    assert told.startswith(
        "databases sort by pt_BR.UTF-8 of glibc 2.36, and db3 has glibc 2.41: a copy would have wrong indexes there."
    )


@pytest.mark.parametrize(
    "seen",
    [
        # Sorted by code points.
        {"db1": node(writable=True, library="glibc 2.36", collations=[]), "db2": {**NEW, "library": "glibc 2.41"}},
        # As it runs already.
        {"db1": node(writable=True, **SORTED), "db2": node(library="glibc 2.41", collations=[])},
        {"db1": node(writable=True, **SORTED), "db2": {}},
        {"db1": {**NEW, "library": "glibc 2.36"}, "db2": {**NEW, "library": "glibc 2.41"}},
    ],
    ids=["nothing depends on it", "it is one already", "not in this run", "no data yet"],
)
def test_another_library_is_no_hindrance_where(seen):
    assert refusals(seen, WISH) == []


def test_a_node_without_a_locale_of_the_databases_is_not_made_a_copy():
    here = {"library": "glibc 2.41", "locales": ["de_DE.utf8", "pt_BR.UTF-8"]}
    seen = {
        "db1": node(writable=True, available_locales=["C", "pt_BR.utf8"], **here),
        "db2": {**NEW, "library": "glibc 2.41", "available_locales": ["C", "de_DE.utf8", "pt_BR.utf8"]},
        "db3": {**NEW, "library": "glibc 2.41", "available_locales": ["C", "C.utf8"]},
    }
    [told] = refusals(seen, WISH)
    assert told.startswith("db3 lacks the locale de_DE.utf8, pt_BR.UTF-8 of the databases, and would let nobody in")
