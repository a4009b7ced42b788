"""What is named as the reason of a failure."""

import pytest

from tools.reasons import reasons

ANSIBLE = """TASK [Ask] ****
[ERROR]: Task failed: Action failed: web1: port 443 is in use
Origin: /somewhere/roles/a/tasks/main.yml:3:3

fatal: [web1]: FAILED! => {"changed": false}
"""


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param("one\ntwo\n\n", ["two"], id="the last line where nothing is known"),
        pytest.param(
            "tests/a.py::one FAILED [ 50%]\nFAILED tests/a.py::one - assert 1 == 2\nERROR tests/b.py::two\n1 failed in 1s\n",
            ["FAILED tests/a.py::one - assert 1 == 2", "ERROR tests/b.py::two"],
            id="pytest's summary",
        ),
        pytest.param("ok 1 - a\nnot ok 2 - b\n", ["not ok 2 - b"], id="node"),
        pytest.param(
            f"    - ok 1 - a\n    - not ok 2 - b\n{ANSIBLE}", ["not ok 2 - b"], id="node, as Ansible shows it"
        ),
        pytest.param(
            ANSIBLE,
            [
                "[ERROR]: Task failed: Action failed: web1: port 443 is in use Origin: /somewhere/roles/a/tasks/main.yml:3:3",
                'fatal: [web1]: FAILED! => {"changed": false}',
            ],
            id="Ansible",
        ),
        pytest.param(
            "CRITICAL Idempotence test failed because of the following tasks:\n* [web1] => Write it\nINFO end\n",
            ["CRITICAL Idempotence test failed because of the following tasks: * [web1] => Write it"],
            id="molecule",
        ),
    ],
)
def test_the_reason_is_what_the_tool_gave(log, expected):
    assert reasons(log) == expected


def test_many_reasons_are_counted():
    assert reasons("".join(f"FAILED tests/a.py::n{number}\n" for number in range(8)))[:2] == [
        "2 more, and",
        "FAILED tests/a.py::n2",
    ]


def test_a_long_reason_is_cut():
    (reason,) = reasons("x" * 1000)
    assert len(reason) == 300
    assert reason.endswith("...")
