import pytest

from ansible_collections.escala.ha.plugins.module_utils._deployment import order, superseded

HOSTS = {"app1": ["app1-3001", "app1-3002"], "app2": ["app2-3001"], "app3": ["app3-3001"]}


def ready(**faults):
    names = [name for of_host in HOSTS.values() for name in of_host]
    told = {name: faults.get(name.replace("-", "_"), "ready") for name in names}
    return {"verdicts": [{"evidence": {"instances": told}}]}


def rotation(*drained, problem=None):
    names = [name for of_host in HOSTS.values() for name in of_host]
    backends = [{"name": name, "state": "drained" if name in drained else "up"} for name in names]
    return {"problem": problem, "backends": backends}


def test_hosts_that_are_well_go_as_they_come():
    assert order(HOSTS, {"lb1": ready()}, {"lb1": rotation()}) == ["app1", "app2", "app3"]


def test_the_host_that_is_not_well_goes_first_and_then_what_is_drained():
    readiness = {"lb1": ready(), "lb2": ready(app3_3001="answered 503")}
    assert order(HOSTS, readiness, {"lb1": rotation("app2-3001", "app3-3001")}) == ["app3", "app2", "app1"]


def test_two_hosts_that_are_not_well_are_both_named():
    readiness = {"lb1": ready(app1_3002="connection refused"), "lb2": ready(app3_3001="answered 503")}
    with pytest.raises(
        ValueError, match=r"app1 and app3 have .*app1-3002 connection refused \(seen from lb1\); app3-3001"
    ):
        order(HOSTS, readiness, {"lb1": rotation()})


def test_a_balancer_that_does_not_say_what_it_has_stops_it():
    with pytest.raises(ValueError, match="lb2: connection refused. Mend it first"):
        order(HOSTS, {"lb1": ready()}, {"lb1": rotation(), "lb2": rotation(problem="connection refused")})


def found(*names):
    return [{"path": name, "ctime": float(number)} for number, name in enumerate(names)]


@pytest.mark.parametrize(
    ("there", "kept", "needed", "gone"),
    [
        ("abcd", 3, "d", "a"),
        ("abcd", 3, "bd", "a"),
        ("abcd", 3, "ab", "c"),
        ("abcd", 1, "cd", "ab"),
        ("abcd", 1, "", "abc"),
        ("ab", 3, "b", ""),
        ("", 3, "b", ""),
    ],
)
def test_the_needed_and_the_newest_releases_stay(there, kept, needed, gone):
    assert superseded(found(*there), kept, needed) == list(gone)


def test_a_second_look_finds_nothing_more_to_remove():
    assert superseded(found("a", "b", "d"), 3, "b") == []
