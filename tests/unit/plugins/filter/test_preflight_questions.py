from __future__ import annotations

from ansible_collections.escala.ha.plugins.filter.preflight_questions import FilterModule


def test_what_is_known_of_the_hosts_becomes_what_they_are_asked():
    known = {
        "values": {"app_ports": [3001]},
        "sealed": [],
        "problems": {},
        "defaults": {"preflight_minimum_free_mib": {"/": 1}},
        "observed": None,
        "absent": "it was not asked",
    }
    found = FilterModule().filters()["preflight_questions"]({"app1": known}, {"app_servers": ["app1"]})
    assert (found["app1"]["ports"], found["app1"]["paths"]) == ([3001], ["/"])
