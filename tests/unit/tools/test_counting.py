import pytest

from tools.counting import Counts, node_tests, one_check, preparation, pytest_tests, sanity_tests

PYTEST_LOG = """\
tests/lab/test_a.py::test_x PASSED
=========================== short test summary info ============================
FAILED tests/lab/test_a.py::test_y - assert 3 failed in 4.00s
============== 1 failed, 5 passed, 2 skipped, 1 warning in 12.34s ==============
"""


def test_every_result_of_pytest_is_counted():
    assert pytest_tests(PYTEST_LOG, succeeded=False) == Counts(5, 1, 2)


def test_several_runs_of_pytest_in_one_log_are_added_up():
    log = "2 passed in 0.10s\nmolecule goes on\n=== 3 passed, 1 skipped in 61.00s (0:01:01) ===\n"
    assert pytest_tests(log, succeeded=True) == Counts(5, 0, 1)


@pytest.mark.parametrize(
    ("log", "succeeded"),
    [
        pytest.param("no tests ran in 0.01s\n", True, id="nothing was collected"),
        pytest.param("", True, id="nothing was printed"),
        pytest.param("1 skipped in 0.01s\n", True, id="all was skipped"),
        pytest.param("2 passed in 0.01s\n", False, id="it passed and yet exited with an error"),
    ],
)
def test_a_step_of_tests_that_proves_nothing_has_failed(log, succeeded):
    assert pytest_tests(log, succeeded).failed == 1


def test_errors_and_unexpected_passes_are_failures_and_expected_failures_are_not():
    assert pytest_tests("= 1 passed, 1 error, 2 errors, 1 xpassed, 4 xfailed in 1.00s =\n", succeeded=False) == Counts(
        1, 4, 4
    )


def test_a_linter_is_one_test_and_a_preparation_is_none():
    assert [one_check("", good) for good in (True, False)] == [Counts(passed=1), Counts(failed=1)]
    assert [preparation("", good) for good in (True, False)] == [Counts(), Counts(failed=1)]


SANITY_LOG = 'Running sanity test "pep8"\nRunning sanity test "import" on Python 3.11\nRunning sanity test "pylint"\n'


@pytest.mark.parametrize(
    ("log", "succeeded", "counts"),
    [
        pytest.param(SANITY_LOG, True, Counts(3), id="all well"),
        pytest.param(
            SANITY_LOG + "FATAL: The 2 sanity test(s) listed below (out of 3) failed.\n",
            False,
            Counts(1, 2),
            id="two failed",
        ),
        pytest.param(SANITY_LOG, False, Counts(2, 1), id="it broke off"),
        pytest.param("WARNING: All targets skipped.\n", True, Counts(0, 1), id="nothing was looked at"),
    ],
)
def test_sanity_tests_are_counted_as_they_begin(log, succeeded, counts):
    assert sanity_tests(log, succeeded) == counts


def test_the_closing_line_names_skipped_tests_only_where_there_are_some():
    assert str(Counts(3, 1)) == "3 passed, 1 failed"
    assert str(Counts(3, 0) + Counts(1, 0, 2)) == "4 passed, 0 failed, 2 skipped"


def test_every_run_of_nodes_tests_in_a_log_is_counted():
    log = "- '# tests 41'\n- '# pass 40'\n- '# fail 1'\n- '# skipped 0'\nmore\n- '# pass 13'\n- '# fail 0'\n"
    assert node_tests(log, succeeded=False) == Counts(53, 1)


@pytest.mark.parametrize(("log", "succeeded"), [("", True), ("# pass 0\n# fail 0\n", True), ("# pass 3\n", False)])
def test_node_tests_that_prove_nothing_have_failed(log, succeeded):
    assert node_tests(log, succeeded).failed == 1
