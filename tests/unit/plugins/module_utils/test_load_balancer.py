from itertools import cycle

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _load_balancer
from ansible_collections.escala.ha.plugins.module_utils._http import Response
from ansible_collections.escala.ha.plugins.module_utils._load_balancer import Answers

ALL = ["app1-3001", "app1-3002", "app2-3001"]


def served_by(name):
    return Response(200, {"x-served-by": name}, b"")


def in_turn(*answers):
    turn = cycle(answers)

    def request():
        answer = next(turn)
        if isinstance(answer, OSError):
            raise answer
        return answer

    return request


def test_round_robin_over_all_instances_passes():
    verdict = _load_balancer.check_rotation(in_turn(*map(served_by, ALL)), ALL, 20)
    assert verdict["passed"]
    assert verdict["evidence"]["answered_by"] == {"app1-3001": 7, "app1-3002": 7, "app2-3001": 6}


def test_many_instances_get_two_rounds():
    names = [f"app{number}-3001" for number in range(30)]
    assert _load_balancer.check_rotation(in_turn(*map(served_by, names)), names, 20)["evidence"]["requests"] == 60


def test_an_instance_that_never_answers_is_named():
    verdict = _load_balancer.check_rotation(in_turn(served_by("app1-3001"), served_by("app2-3001")), ALL, 10)
    assert not verdict["passed"]
    assert verdict["reason"].startswith("app1-3002 answered none of 10 requests")


def test_an_instance_that_nobody_expects_is_named():
    verdict = _load_balancer.check_rotation(in_turn(*map(served_by, [*ALL, "legacy"])), ALL, 10)
    assert verdict["reason"].startswith("legacy answered and is not in the inventory")


def test_one_failed_request_fails_the_check():
    answers = in_turn(*map(served_by, ALL), Response(502, {}, b""))
    verdict = _load_balancer.check_rotation(answers, ALL, 8)
    assert verdict["reason"].startswith("2 of 8 requests failed (status 502 (2)), limit is 0")


def test_nobody_there_is_found_out_after_three_requests():
    answers = _load_balancer.collect(in_turn(ConnectionRefusedError()), 20)
    assert answers == Answers({}, ["connection refused"] * 3)


def test_scattered_failures_do_not_end_the_round():
    assert _load_balancer.collect(in_turn(TimeoutError(), served_by("app1-3001")), 20).total == 20


def test_expecting_no_instance_does_not_pass():
    assert not _load_balancer.check_rotation(in_turn(served_by("app1-3001")), [], 3)["passed"]


def test_every_balancer_must_serve_the_one_that_stands_by_too():
    good, bad = in_turn(served_by("app1-3001")), in_turn(ConnectionRefusedError())
    assert _load_balancer.check_balancers({"lb1": good, "lb2": good})["passed"]
    verdict = _load_balancer.check_balancers({"lb1": good, "lb2": bad})
    assert not verdict["passed"]
    assert "1 of 2 balancers do not serve (lb2: connection refused)" in verdict["reason"]


@pytest.mark.parametrize(
    ("status", "location", "passed"),
    [
        (301, "https://app.example.com/x", True),
        (308, "https://app.example.com/x", True),
        (301, "https://app.example.com/", False),
        (301, "http://app.example.com/x", False),
        (301, "https://192.0.2.100/x", False),
        (200, "", False),
        (301, "", False),
    ],
)
def test_only_a_redirect_to_the_same_path_by_the_public_name_passes(status, location, passed):
    answer = Response(status, {"location": location} if location else {}, b"")
    assert _load_balancer.judge_redirect(answer, "https://app.example.com/x")["passed"] is passed
