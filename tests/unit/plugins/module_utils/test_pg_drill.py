import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.escala.ha.plugins.module_utils import _pg_drill as drill
from ansible_collections.escala.ha.plugins.module_utils._pg_drill import Kept, Limits, Mark, Try


def ledger(*moments, outcome="acknowledged", first=1):
    return [
        Try("ledger", number, moment - 0.01, moment, outcome, None, "" if outcome == "acknowledged" else "gone")
        for number, moment in enumerate(moments, start=first)
    ]


def node(name, *moments, outcome="acknowledged", writable=True):
    return [
        Try(name, number, moment - 0.02, moment, outcome, writable) for number, moment in enumerate(moments, start=1)
    ]


def every(step, begin, end):
    return [begin + step * number for number in range(int((end - begin) / step + 0.5) + 1)]


def everything(tries, place="pool"):
    return Kept(place, {(each.source, each.number) for each in tries if each.outcome == "acknowledged"})


def test_the_gap_goes_from_the_last_row_before_the_fault_to_the_first_after():
    tries = ledger(9.0, 9.9, 14.5, 14.6)
    gap = drill.longest_gap(tries, since=10.0, until=14.65)
    assert (gap.begin, gap.end, gap.recovered) == (9.9, 14.5, True)


def test_a_longer_gap_before_the_fault_is_not_of_the_fault():
    assert drill.longest_gap(ledger(1.0, 9.9, 11.0), since=10.0, until=11.1).seconds == pytest.approx(1.1)


def test_what_was_not_acknowledged_ends_no_gap():
    tries = ledger(9.9, 15.0) + ledger(12.0, outcome="indeterminate") + ledger(13.0, outcome="failed")
    assert drill.longest_gap(tries, since=10.0, until=15.1).seconds == pytest.approx(5.1)


def test_a_gap_that_nothing_ends_is_no_recovery():
    gap = drill.longest_gap(ledger(9.9), since=10.0, until=20.0)
    assert (gap.seconds, gap.recovered) == (pytest.approx(10.1), False)


def test_commits_of_a_node_are_one_time_of_writing_while_no_try_fits_between_them():
    spans = drill.writers(node("db1", *every(0.1, 1.0, 2.0), 2.9, 5.0))
    assert [[round(moment, 3) for moment in span] for span in spans["db1"]] == [[0.98, 2.9], [4.98, 5.0]]


def test_a_commit_stands_for_no_more_than_its_interval():
    slow = Try("db1", 1, 1.0, 1.9, "acknowledged", True)
    assert drill.writers([slow]) == {"db1": [(pytest.approx(1.8), 1.9)]}


def test_a_warned_commit_makes_no_writer_and_the_ledger_is_no_node():
    assert drill.writers(node("db1", 1.0, outcome="indeterminate") + ledger(1.0)) == {}


def test_a_failover_has_no_two_writers():
    tries = node("db1", *every(0.1, 1.0, 2.0)) + node("db2", *every(0.1, 5.0, 6.0))
    assert drill.two_at_once(drill.writers(tries)) == []


def test_two_that_acknowledge_in_turns_are_two_writers():
    tries = node("db1", 1.0, 1.4, 1.8) + node("db2", 1.2, 1.6)
    assert drill.seconds_of(drill.two_at_once(drill.writers(tries))) == pytest.approx(0.42)


def test_three_at_once_count_once():
    spans = {"db1": [(0.0, 4.0)], "db2": [(1.0, 3.0)], "db3": [(2.0, 5.0)]}
    assert drill.two_at_once(spans) == [(1.0, 4.0)]


@given(
    st.lists(
        st.tuples(st.sampled_from(["db1", "db2", "db3"]), st.integers(0, 100), st.integers(1, 20)),
        max_size=12,
    )
)
def test_two_at_once_is_what_counting_moment_by_moment_finds(drawn):
    cells = {}
    for name, begin, length in drawn:
        cells.setdefault(name, set()).update(range(begin, begin + length))
    spans = {name: [(float(cell), float(cell + 1)) for cell in sorted(found)] for name, found in cells.items()}
    expected = sum(sum(cell in found for found in cells.values()) > 1 for cell in range(130))
    assert drill.seconds_of(drill.two_at_once(spans)) == pytest.approx(expected)


def test_only_acknowledged_rows_can_be_lost_those_of_the_detector_too():
    tries = ledger(1.0, 1.1) + ledger(1.2, outcome="indeterminate", first=3) + node("db1", 1.0)
    assert drill.lost(tries, Kept("pool", {("ledger", 1)})) == [("db1", 1), ("ledger", 2)]


def a_failover():
    tries = ledger(*every(0.05, 1.0, 3.0), *every(0.05, 8.0, 10.0))
    tries += ledger(5.0, outcome="indeterminate", first=200)
    return tries + node("db1", *every(0.1, 1.0, 3.0)) + node("db2", *every(0.1, 7.5, 10.0))


def report_of(tries, kept=None, since=3.02):
    marks = [Mark(since, "db1 powered off")]
    return drill.analyse("power off", tries, marks, [kept or everything(tries)])


def test_a_report_says_it_all():
    report = report_of(a_failover())
    assert report["rto_seconds"] == pytest.approx(5.0)
    assert (report["recovered"], report["rpo_rows"], report["double_writer_seconds"]) == (True, 0, 0)
    assert report["gap_seconds"] == [2.02, 7.02]
    assert report["ledger"] == {"acknowledged": 82, "indeterminate": 1, "failed": 0}
    assert report["ledger_errors"] == [{"at_seconds": 4.02, "why": "gone", "times": 1}]
    assert report["nodes"] == ["db1", "db2"]
    assert report["marks"] == [{"at_seconds": 2.04, "what": "db1 powered off"}]


def test_the_place_with_most_rows_missing_is_what_counts():
    tries = a_failover()
    whole = everything(tries)
    lacking = Kept("db3", whole.rows - {("ledger", 7), ("ledger", 8)})
    report = drill.analyse("x", tries, [Mark(3.0, "x")], [whole, lacking])
    assert report["rpo_rows"] == 2
    assert report["lost"] == {"pool": [], "db3": ["ledger 7", "ledger 8"]}


def test_nothing_is_said_of_losses_when_nobody_looked():
    with pytest.raises(ValueError, match="nobody looked"):
        drill.analyse("x", a_failover(), [], [])


def test_a_ledger_that_never_began_measures_nothing():
    tries = ledger(1.0, outcome="failed")
    with pytest.raises(ValueError, match="acknowledged no row before the fault; the last try said: gone"):
        report_of(tries)


def names_of_failed(report, limits):
    return [verdict["name"] for verdict in drill.judge(report, limits) if not verdict["passed"]]


def test_what_is_within_its_limits_passes():
    assert names_of_failed(report_of(a_failover()), Limits(rto_seconds=10)) == []


def test_each_limit_has_a_verdict_of_its_own():
    tries = [*a_failover(), *node("db1", 7.6, 7.8)]
    report = report_of(tries, Kept("pool", frozenset()))
    assert names_of_failed(report, Limits(rto_seconds=4.9)) == ["drill_rto", "drill_rpo", "drill_double_writers"]


def test_what_has_no_limit_is_not_judged():
    assert drill.judge(report_of(a_failover(), Kept("pool", frozenset())), Limits(None, None, None)) == []


def test_a_platform_that_does_not_come_back_fails_without_a_limit_too():
    tries = [each for each in a_failover() if each.source != "ledger" or each.ended < 4]
    assert names_of_failed(report_of(tries), Limits(None, None, None)) == ["drill_rto"]


@pytest.mark.parametrize(("count", "p95"), [(1, 1), (19, 19), (20, 19), (40, 38)])
def test_p95_is_what_19_of_20_do_not_exceed(count, p95):
    assert drill.percentiles(range(1, count + 1)) == {"p50": (count + 1) / 2, "p95": p95, "max": count}


def test_no_values_have_no_percentiles():
    with pytest.raises(ValueError, match="no values"):
        drill.percentiles([])


def test_a_log_is_read_as_it_was_written_without_the_line_that_is_being_written():
    tries, mark = ledger(2.0, 1.0), Mark(1.5, "fault")
    lines = [drill.line_of(each) for each in [*tries, mark]]
    assert drill.parsed([*lines, lines[0][:20]]) == (tries[::-1], [mark])


@pytest.mark.parametrize("line", ["{}\n", "x\n", "[]\n"])
def test_a_log_of_something_else_is_refused(line):
    with pytest.raises(ValueError, match="neither a try nor a mark"):
        drill.parsed([line])
