import threading

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _application
from ansible_collections.escala.ha.plugins.module_utils._application import Instance
from ansible_collections.escala.ha.plugins.module_utils._http import Response

ONE = Instance("app1-3001", "192.0.2.21", 3001)
TWO = Instance("app2-3001", "192.0.2.22", 3001)
CHECK = _application.readiness_check("lb1")


def ready(name):
    return Response(200, {"x-served-by": name}, b"")


def test_the_place_of_the_observer_keeps_the_verdicts_apart():
    assert CHECK.name == "instances_ready_from_lb1"
    assert CHECK.title.endswith("seen from lb1")
    assert _application.readiness_check("LB-2.example").name == "instances_ready_from_lb_2_example"
    assert _application.readiness_check("").name == "instances_ready"


def test_all_ready_passes():
    verdict = _application.judge_readiness(CHECK, {ONE: ready("app1-3001"), TWO: ready("app2-3001")})
    assert verdict["passed"]
    assert verdict["evidence"] == {"instances": {"app1-3001": "ready", "app2-3001": "ready"}}


def test_an_instance_that_says_no_name_is_taken_at_its_address():
    assert _application.judge_readiness(CHECK, {ONE: Response(204, {}, b"")})["passed"]


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Response(503, {}, b""), "answered 503"),
        (Response(302, {}, b""), "answered 302"),
        (ready("app9-3001"), "answered as app9-3001"),
        (ConnectionRefusedError(), "connection refused"),
        (TimeoutError(), "no answer in time"),
    ],
)
def test_an_instance_that_is_not_ready_fails_with_its_name_address_and_fault(answer, fault):
    verdict = _application.judge_readiness(CHECK, {ONE: answer, TWO: ready("app2-3001")})
    assert not verdict["passed"]
    assert f"1 of 2 instances not ready: app1-3001 (192.0.2.21:3001) {fault};" in verdict["reason"]


def test_no_instance_at_all_does_not_pass():
    assert not _application.judge_readiness(CHECK, {})["passed"]


def test_all_are_asked_at_once():
    everyone_is_here = threading.Barrier(2)

    def probe(instance):
        everyone_is_here.wait(timeout=10)
        if instance == TWO:
            raise ConnectionResetError
        return ready(instance.name)

    verdict = _application.check_readiness(CHECK, [ONE, TWO], probe)
    assert verdict["evidence"]["instances"] == {"app1-3001": "ready", "app2-3001": "connection reset"}
