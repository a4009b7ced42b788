"""Every way in which a cluster can be unwell fails the verdict that is about it, with the node's name in the reason."""

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _postgresql_checks as checks
from tests.unit.plugins.module_utils.postgresql_cluster import ADDRESSES, guard, seen

LIMITS = checks.Limits(16777216, 5.0, 2.0, 14)
ALL = {
    "answers": checks.judge_answers,
    "primary": checks.judge_primary,
    "history": checks.judge_history,
    "streaming": checks.judge_streaming,
    "synchronous": checks.judge_synchronous,
    "lag": lambda found: checks.judge_lag(found, LIMITS),
    "slots": checks.judge_slots,
    "settings": checks.judge_settings,
    "guards": lambda found: checks.judge_guards(found, LIMITS),
    "certificates": lambda found: checks.judge_certificates(found, LIMITS),
}


def every_guard(**changes):
    """The guards' words, each with what is said under its node's name."""
    return {name: guard(name, **changes.get(name, {})) for name in ADDRESSES}


def failed(found):
    return {name for name, judge in ALL.items() if not judge(found)["passed"]}


def changed(node, **changes):
    return lambda nodes: nodes[node].update(changes)


def promoted(node, timeline):
    """A standby that has become a primary of its own."""
    segment = f"{timeline:08X}000000000000000004"[:24]
    return changed(node, in_recovery=False, segment=segment, written="0/449D750", receiver=None, replayed=None)


def set_to(node, name, value):
    return lambda nodes: nodes[node]["settings"].update({name: value})


def receiver(node, **changes):
    return lambda nodes: nodes[node]["receiver"].update(changes)


def row(index, **changes):
    return lambda nodes: nodes["db1"]["standbys"][index].update(changes)


def slot(index, **changes):
    return lambda nodes: nodes["db1"]["slots"][index].update(changes)


def test_a_whole_cluster_passes():
    found = seen(guards=every_guard(), certified=True)
    assert failed(found) == set()


def test_one_node_alone_passes_what_is_about_others():
    found = seen()
    alone = found._replace(nodes={"db1": found.nodes["db1"]})
    assert checks.judge_streaming(alone)["passed"]
    assert checks.judge_lag(alone, LIMITS)["passed"]


@pytest.mark.parametrize(
    ("change", "judge", "reason"),
    [
        (promoted("db2", 3), "primary", "db1 (timeline 2) and db2 (timeline 3) are out of recovery at once"),
        (promoted("db3", 2), "primary", "db1 (timeline 2) and db3 (timeline 2)"),
        (changed("db3", system_identifier="7"), "history", "db3 has system identifier 7, db1 has 77"),
        (receiver("db3", received_tli=1), "history", "db3 has timeline 1, db1 has 2"),
        (changed("db3", version=160009), "history", "db3 is of version 160009, db1 of 170012"),
        (changed("db3", receiver=None), "streaming", "db3 streams from nobody"),
        (receiver("db3", sender_host="db2"), "streaming", "db3 streams from db2, and the primary is db1"),
        (receiver("db3", status="waiting"), "streaming", "db3 has a receiver that is waiting"),
        (
            row(1, application_name="walreceiver"),
            "streaming",
            "db3 is not among those that db1 sends to (db2, walreceiver)",
        ),
        (row(1, state="catchup"), "streaming", "db3 is in state catchup on db1"),
        (row(1, tls=None), "streaming", "db3 streams without TLS"),
        (receiver("db3", sslmode="require"), "streaming", "sslmode=require in place of verify-full"),
        (changed("db3", replay_paused=True), "streaming", "db3 has paused its replay"),
        (set_to("db3", "synchronous_standby_names", ""), "synchronous", "db3 has synchronous_standby_names ''"),
        (
            set_to("db1", "synchronous_standby_names", 'ANY 1 ("db1", "db2")'),
            "synchronous",
            """db1 has synchronous_standby_names 'ANY 1 ("db1", "db2")'; expected is 'ANY 1 ("db1", "db2", "db3")'""",
        ),
        (
            lambda nodes: [one.update(sync_state="async") for one in nodes["db1"]["standbys"]],
            "synchronous",
            "0 of 1 standbys can confirm a commit of db1",
        ),
        (changed("db1", written="0/8000000"), "lag", "db2 is 62269616 bytes"),
        (changed("db2", replayed=None), "lag", "how far db2 is behind is unknown"),
        (slot(0, active=False), "slots", "the slot db2 of db1 has no user and keeps 0 bytes"),
        (slot(0, wal_status="lost"), "slots", "the slot db2 of db1 has lost its WAL"),
        (slot(0, slot_name="db9"), "slots", "db1 has no slot db2"),
        (set_to("db2", "fsync", "off"), "settings", "db2 has fsync = off, expected is on"),
        (set_to("db2", "synchronous_commit", "local"), "settings", "expected is on or remote_apply"),
        (changed("db3", pending_restart=["max_connections"]), "settings", "db3 needs a restart for max_connections"),
        (changed("db3", tls=None), "answers", "db3 was reached without TLS"),
    ],
)
def test_what_is_unwell_fails_with_its_name(change, judge, reason):
    verdict = ALL[judge](seen(change))
    assert verdict["passed"] is False
    assert reason in verdict["reason"]


FIVE = (
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_wal_senders",
    "max_worker_processes",
)


def each_has(name, values):
    return lambda nodes: [nodes[node]["settings"].update({name: value}) for node, value in values.items()]


@pytest.mark.parametrize("name", FIVE)
@pytest.mark.parametrize("standby", ["db2", "db3"])
def test_a_standby_with_less_than_its_primary_fails_with_both_names(name, standby):
    change = each_has(name, {"db1": "300", "db2": "300", "db3": "300", standby: "200"})
    verdict = checks.judge_settings(seen(change))
    assert not verdict["passed"]
    assert f"{standby} has {name} = 200, and db1 as its primary 300: with less it stops" in verdict["reason"]
    assert verdict["evidence"][standby][name] == "200"


@pytest.mark.parametrize("name", FIVE)
def test_a_standby_may_have_more_than_its_primary_and_numbers_are_not_compared_as_texts(name):
    assert checks.judge_settings(seen(each_has(name, {"db1": "90", "db2": "100", "db3": "1000"})))["passed"]
    # Which of them would be a standby's is not known without a primary.
    change = each_has(name, {"db2": "200", "db3": "300"})
    assert checks.judge_settings(seen(change, away=("db1",)))["passed"]


def test_a_standby_that_does_not_answer_is_no_matter_of_its_settings():
    assert checks.judge_settings(seen(set_to("db1", "max_connections", "900"), away=("db2", "db3")))["passed"]


def test_data_without_checksums_pass_only_where_an_operator_does_without():
    none = each_has("data_checksums", dict.fromkeys(("db1", "db2", "db3"), "off"))
    assert "db1 has data_checksums = off, expected is on" in checks.judge_settings(seen(none))["reason"]
    verdict = checks.judge_settings(seen(none), checksums=False)
    assert verdict["passed"]
    assert "need no checksums, as postgresql_checksums says" in verdict["reason"]
    durable = each_has("wal_log_hints", {"db1": "off"})
    assert not checks.judge_settings(seen(durable), checksums=False)["passed"]


def test_a_slot_that_is_left_on_a_standby_is_found():
    def change(nodes):
        nodes["db3"]["slots"] = [{**nodes["db1"]["slots"][0], "active": False, "restart_lsn": "0/3000000"}]

    assert "the slot db2 of db3 has no user and keeps 21616464 bytes" in checks.judge_slots(seen(change))["reason"]


def test_a_standby_that_is_away_fails_what_is_about_it_and_not_the_rest():
    assert failed(seen(away=("db3",), guards=every_guard(), certified=True)) == {
        "answers",
        "history",
        "streaming",
        "lag",
    }


def test_without_a_primary_nothing_that_needs_one_passes():
    found = seen(away=("db1",), guards=every_guard(), certified=True)
    assert failed(found) == set(ALL) - {"settings", "certificates"}
    assert "no node says that it is a writable primary" in checks.judge_primary(found)["reason"]


def test_where_nobody_answers_nothing_passes():
    assert failed(seen(away=tuple(ADDRESSES))) == set(ALL)


def test_an_automatic_restart_is_only_wrong_beside_a_guard():
    def change(nodes):
        nodes["db1"]["settings"]["restart_after_crash"] = "on"

    assert checks.judge_settings(seen(change))["passed"]
    assert not checks.judge_settings(seen(change, certified=True))["passed"]


def test_who_goes_on_alone_is_not_whole():
    expected = 'ANY 1 ("db1", "db2")'

    def change(nodes):
        for node in nodes.values():
            node["settings"]["synchronous_standby_names"] = expected

    degraded = {"quorum": {"version": [2, 1], "out": ["db3"]}}
    verdict = checks.judge_synchronous(seen(change, guards=every_guard(db1=degraded)))
    assert verdict["passed"] is False
    assert "goes on without db3" in verdict["reason"]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"db2": {"sees": {"db1": 0.2, "db3": None}}}, "the guard of db2 hears db3 not at all"),
        ({"db2": {"sees": {"db1": 0.2, "db3": 2.5}}}, "the guard of db2 hears db3 last 2.5 s ago (limit 2 s)"),
        ({"db2": {"sees": {}}}, "the guard of db2 hears db1 not at all"),
        ({"db2": {"role": "primary", "writable": True}}, "the guard of db2 says that it is primary, writable"),
        (
            {"db1": {"writable": False, "reason": "alone"}},
            "the guard of db1 says that it is primary, not writable: alone",
        ),
        ({"db3": {"joined": False}}, "the guard of db3 says that its data does not count yet"),
        ({"db3": {"timeline": 1}}, "the guard of db3 says timeline 1, its server 2"),
        ({"db3": {"format": 2}}, "the guard of db3 was not understood: this state has format 2"),
    ],
)
def test_what_a_guard_says_otherwise_is_found(said, reason):
    verdict = checks.judge_guards(seen(guards=every_guard(**said), certified=True), LIMITS)
    assert verdict["passed"] is False
    assert reason in verdict["reason"]


@pytest.mark.parametrize(
    ("days", "passed", "reason"),
    [
        ({}, True, "at least 300 days left on db1, db2, db3 (limit 14)"),
        ({"db2": 14}, True, "at least 14 days left on db1, db2, db3 (limit 14)"),
        ({"db2": 13, "db3": -1}, False, "db2 has 13 days left (limit 14); db3 has -1 days left (limit 14). Run renew"),
    ],
)
def test_a_certificate_that_ends_soon_is_found_before_it_has(days, passed, reason):
    verdict = checks.judge_certificates(seen(guards=every_guard(), certified=True, days_left=days), LIMITS)
    assert verdict["passed"] is passed
    assert reason in verdict["reason"]


def test_who_shows_no_certificate_is_not_taken_for_one_whose_certificate_lasts():
    assert not checks.judge_certificates(seen(certified=True), LIMITS)["passed"]
    one = checks.judge_certificates(seen(guards={"db1": guard("db1")}, certified=True), LIMITS)
    assert (one["passed"], one["reason"]) == (True, "at least 300 days left on db1 (limit 14)")


def test_a_witness_is_heard_and_hears():
    witness = guard(
        "app1", role="witness", writable=False, joined=False, timeline=0, sees=dict.fromkeys(ADDRESSES, 0.1)
    )
    heard = {name: {"sees": {**guard(name)["sees"], "app1": 0.1}} for name in ADDRESSES}
    whole = seen(guards={**every_guard(**heard), "app1": witness}, certified=True, witnesses=("app1",))
    assert checks.judge_guards(whole, LIMITS)["passed"]
    silent = seen(guards=every_guard(**heard), certified=True, witnesses=("app1",))
    assert "the guard of app1 does not answer" in checks.judge_guards(silent, LIMITS)["reason"]


def by_patroni(names):
    """The verdict on a cluster that Patroni leads, whose primary has these names and whose standbys have none."""

    def change(nodes):
        for name, node in nodes.items():
            node["settings"]["synchronous_standby_names"] = names if name == "db1" else ""

    told = {name: guard(name, decided_by="patroni") for name in ("db1", "db2", "db3")}
    return checks.judge_synchronous(seen(change, guards=told))


@pytest.mark.parametrize("names", ["ANY 1 (db2,db3)", "ANY 1 (db2, db3)", 'ANY 2 ("db2", "db3")', "db3", '1 ("db2")'])
def test_patroni_names_whom_commits_wait_for_on_the_primary_alone(names):
    assert by_patroni(names)["passed"]


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ("", "the primary has synchronous_standby_names ''"),
        ("*", "the primary has synchronous_standby_names '*'"),
        ("ANY 1 (db2,escala_archive)", "would wait for escala_archive, which is none of its standbys"),
        ("ANY 1 (db1,db2)", "would wait for db1, which is none of its standbys"),
        ("ANY 0 (db2,db3)", "a commit waits for 0 standbys, and must for 1"),
    ],
)
def test_a_commit_that_patroni_has_wait_for_nobody_of_the_cluster_is_a_fault(names, why):
    verdict = by_patroni(names)
    assert not verdict["passed"]
    assert why in verdict["reason"]


@pytest.mark.parametrize(("decided_by", "passed"), [("patroni", True), ("guard", False)])
def test_a_standby_of_patroni_s_keeps_slots_for_the_others_and_one_of_ours_does_not(decided_by, passed):
    def change(nodes):
        slot = {**nodes["db1"]["slots"][0], "slot_name": "db3", "active": False, "wal_status": "reserved"}
        nodes["db2"]["slots"] = [slot]

    told = {name: guard(name, decided_by=decided_by) for name in ("db1", "db2", "db3")}
    assert checks.judge_slots(seen(change, guards=told))["passed"] is passed


def test_nobody_s_slot_is_a_fault_beside_patroni_too():
    def change(nodes):
        nodes["db2"]["slots"] = [{**nodes["db1"]["slots"][0], "slot_name": "former", "active": False}]

    told = {name: guard(name, decided_by="patroni") for name in ("db1", "db2", "db3")}
    assert "the slot former of db2 has no user" in checks.judge_slots(seen(change, guards=told))["reason"]
