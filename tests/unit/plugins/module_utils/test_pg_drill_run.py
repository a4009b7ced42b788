import json
import threading

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pg_drill_run as run
from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import Answer, SessionError
from ansible_collections.escala.ha.plugins.module_utils._pg_drill import Kept, Limits, Try, line_of


class Time:
    def __init__(self):
        self.now = 0.0

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Database:
    """Keeps the rows that are written, and is reached by every way."""

    def __init__(self):
        self.rows = set()

    def connect(self, limit_seconds):
        return self

    def execute(self, statement, values=(), *, limit_seconds):
        if "INSERT INTO escala_probe.ledger" in statement:
            self.rows.add(("ledger", values[1]))
        elif "INSERT INTO escala_probe.detector" in statement:
            self.rows.add((values[1], values[2]))
        elif statement.startswith("SELECT $2"):
            return Answer([[source, str(number)] for source, number in sorted(self.rows)], [])
        return Answer([["f"]], [])

    def close(self):
        pass


def away(limit_seconds):
    raise SessionError("connection", "connection refused")


def ledger(*moments, outcome="acknowledged"):
    return [Try("ledger", number, at, at + 0.01, outcome) for number, at in enumerate(moments)]


def rows_every_50_ms(begin, count=40):
    return ledger(*(begin + 0.05 * number for number in range(count)))


def test_rows_one_after_the_other_settle_it():
    assert run.settled(rows_every_50_ms(10), since=9)


@pytest.mark.parametrize(
    "tries",
    [
        rows_every_50_ms(10, count=39),
        rows_every_50_ms(8.9),
        rows_every_50_ms(10) + ledger(13.0, outcome="failed"),
        [],
    ],
)
def test_fewer_or_older_or_others_do_not(tries):
    assert not run.settled(tries, since=9)


def written(directory, tries):
    (directory / "log.jsonl").write_text("".join(line_of(each) for each in tries))


def test_the_wait_ends_with_the_measurement_or_its_time(tmp_path):
    passing = Time()
    assert not run.wait_settled(str(tmp_path), 0.0, 5.0, passing.clock, passing.sleep)
    assert passing.now == pytest.approx(5.2, abs=0.3)
    (tmp_path / "ended").write_text("")
    assert not run.wait_settled(str(tmp_path), 0.0, 500.0, passing.clock, passing.sleep)
    written(tmp_path, rows_every_50_ms(1))
    assert run.wait_settled(str(tmp_path), 0.5, 5.0, passing.clock, passing.sleep)


def test_marks_are_noted_in_their_order(tmp_path):
    times = iter([7.0, 5.0])
    for what in ("second", "first"):
        run.mark(str(tmp_path), what, lambda: next(times))
    assert [each.what for each in run.read(str(tmp_path))[1]] == ["first", "second"]


def test_a_place_is_looked_at_until_it_has_every_row():
    passing, late = Time(), Database()

    def sleep(seconds):
        passing.sleep(seconds)
        if passing.now > 3:
            late.rows = {("ledger", 0)}

    kept, gone = run.look_everywhere(
        "run", run.Ways(late.connect, {"db1": away}), ledger(1.0), 5.0, passing.clock, sleep
    )
    assert kept == [Kept("the pool", {("ledger", 0)})]
    assert gone == {"db1": "connection refused"}
    assert passing.now == pytest.approx(5.2, abs=0.3)


def test_what_never_came_is_found_as_it_was_seen_last():
    passing = Time()
    kept, gone = run.look_everywhere(
        "run", run.Ways(Database().connect, {}), ledger(1.0), 5.0, passing.clock, passing.sleep
    )
    assert (kept, gone) == ([Kept("the pool", set())], {})


def test_a_measurement_that_does_not_end_is_said_to(tmp_path):
    passing = Time()
    with pytest.raises(OSError, match="did not end within 3 s"):
        run.stop(str(tmp_path), 3.0, passing.clock, passing.sleep)


def test_nodes_that_do_not_answer_fail_the_drill():
    assert not run.rejoined({"db2": "refused"}, 60)["passed"]
    assert run.rejoined({}, 60)["passed"]


def test_a_drill_from_its_beginning_to_its_report(tmp_path):
    database, directory = Database(), str(tmp_path / "drill")
    found = run.Ways(database.connect, {"db1": database.connect})
    measuring = threading.Thread(target=run.measure, args=(directory, found, 60.0, 1.0), daemon=True)
    measuring.start()
    assert run.wait_settled(directory, 0.0, 20.0)
    run.mark(directory, "nothing broken")
    concluded = run.conclude(directory, "nothing", found, Limits(rto_seconds=5), run.Patience(0.5, 20.0, 5.0))
    measuring.join(5)
    assert [each["name"] for each in concluded["verdicts"] if not each["passed"]] == []
    assert json.loads((tmp_path / "drill/report.json").read_text())["rpo_rows"] == 0
    assert concluded["report"]["rto_seconds"] < 5


def test_a_drill_without_a_fault_is_not_judged(tmp_path):
    with pytest.raises(ValueError, match="no fault is noted"):
        run.conclude(str(tmp_path), "x", run.Ways(away, {}), Limits(), run.Patience(0, 1, 1))


def test_a_fault_lasts_from_when_it_is_in_force_and_that_is_later_than_its_mark(tmp_path, monkeypatch):
    """What comes when it ends, as a second writer may, was measured only where the host that suffers it was reached at once."""
    passing, waited = Time(), []

    class EnoughSeenError(Exception):
        pass

    def wait_settled(directory, since, *_unused):
        waited.append((since, passing.now))
        raise EnoughSeenError

    run.mark(str(tmp_path), "db1: isolated", passing.clock)
    passing.now = 7.0
    monkeypatch.setattr(run, "wait_settled", wait_settled)
    with pytest.raises(EnoughSeenError):
        run.conclude(
            str(tmp_path), "x", run.Ways(away, {}), Limits(), run.Patience(20, 1, 1), passing.clock, passing.sleep
        )
    assert waited == [(27.0, pytest.approx(27.0, abs=0.3))]


OPTIONS = {
    "pool_address": "192.0.2.21",
    "pool_port": 6432,
    "nodes": {"db1": "192.0.2.31"},
    "node_port": 5432,
    "database": "app",
    "user": "escala_probe",
    "password": "x",
    "password_file": None,
    "ca_file": "/ca.pem",
}


def test_every_way_verifies_whom_it_leads_to(monkeypatch):
    made = []
    monkeypatch.setattr(run, "Session", lambda info, limit: made.append((info, limit)))
    found = run.ways(OPTIONS)
    found.pool(1.0)
    found.nodes["db1"](2.0)
    assert [limit for _, limit in made] == [1.0, 2.0]
    assert all("sslmode='verify-full' sslrootcert='/ca.pem'" in info for info, _ in made)
    assert "host='192.0.2.21' port='6432'" in made[0][0]
    assert "host='192.0.2.31' port='5432'" in made[1][0]


def steady(directory, passing, settle_seconds=0.0):
    options = {**OPTIONS, "state": "steady", "directory": str(directory), "settle_seconds": settle_seconds}
    return run.act(options, passing.clock, passing.sleep)


def test_a_drill_that_is_not_steady_says_what_was_tried_last(tmp_path):
    written(tmp_path, [Try("ledger", 1, 1.0, 1.1, "failed", None, "no such database")])
    with pytest.raises(ValueError, match="no such database"):
        steady(tmp_path, Time())


def test_rows_of_an_earlier_drill_do_not_make_this_one_steady(tmp_path):
    passing = Time()
    passing.now = 100.0
    written(tmp_path, [*rows_every_50_ms(50), Try("ledger", 41, 60.0, 60.1, "failed", None, "of the earlier one")])
    with pytest.raises(ValueError, match="within 5 s, and none was tried"):
        steady(tmp_path, passing, 5.0)
    written(tmp_path, rows_every_50_ms(50))
    with pytest.raises(ValueError, match="none was tried"):
        steady(tmp_path, passing, 5.0)

    def sleep(seconds):
        passing.now += seconds
        if passing.now > 115:
            written(tmp_path, rows_every_50_ms(113))

    options = {**OPTIONS, "state": "steady", "directory": str(tmp_path), "settle_seconds": 30.0}
    assert run.act(options, passing.clock, sleep)["msg"] == "rows are acknowledged one after the other"
    assert passing.now == pytest.approx(115.2, abs=0.3)


def left_by_an_earlier_drill(directory):
    """Fill a folder with a whole drill, long over."""
    directory.mkdir()
    written(directory, rows_every_50_ms(1))
    run.mark(str(directory), "the earlier fault", lambda: 2.0)
    for name in ("run", "ended"):
        (directory / name).write_text("earlier")
    for name in ("stop", "report.json"):
        (directory / name).write_text("")


def test_a_folder_is_cleared_of_all_but_the_report(tmp_path):
    left_by_an_earlier_drill(tmp_path / "drill")
    for _time in range(2):
        run.act({**OPTIONS, "state": "cleared", "directory": str(tmp_path / "drill")})
        assert [each.name for each in (tmp_path / "drill").iterdir()] == ["report.json"]
    run.act({**OPTIONS, "state": "cleared", "directory": str(tmp_path / "not there")})


def test_a_drill_in_the_folder_of_an_earlier_one_is_about_its_own_fault(tmp_path, monkeypatch):
    database, directory = Database(), tmp_path / "drill"
    found = run.Ways(database.connect, {"db1": database.connect})
    monkeypatch.setattr(run, "ways", lambda options: found)
    options = {**OPTIONS, "directory": str(directory), "settle_seconds": 20.0}
    left_by_an_earlier_drill(directory)
    run.act({**options, "state": "cleared"})
    begun = threading.Event()

    def measure():
        begun.wait(5)
        run.measure(str(directory), found, 60.0, 1.0)

    # What measures comes late: only once somebody waits for it.
    measuring = threading.Thread(target=measure, daemon=True)
    measuring.start()
    run.act({**options, "state": "steady"}, sleep=lambda seconds: begun.set() or measuring.join(seconds))
    run.act({**options, "state": "marked", "what": "this one's fault"})
    limits = {"rto_seconds": None, "rpo_rows": 0, "double_writer_seconds": 0}
    concluded = run.act(
        {**options, "state": "concluded", "what": "this", "lasts_seconds": 0.5, "rejoin_seconds": 5, **limits}
    )
    measuring.join(5)
    assert [each["what"] for each in concluded["report"]["marks"]] == ["this one's fault"]
    assert concluded["passed"]


def test_a_measurement_that_was_left_alone_does_not_end_another_in_its_folder(tmp_path):
    database, directory = Database(), tmp_path / "drill"
    found = run.Ways(database.connect, {})
    measuring = threading.Thread(target=run.measure, args=(str(directory), found, 60.0, 1.0), daemon=True)
    measuring.start()
    assert run.wait_settled(str(directory), 0.0, 20.0)
    run.clear(str(directory))
    (directory / "run").write_text("another")
    (directory / "stop").write_text("")
    measuring.join(10)
    assert not measuring.is_alive()
    assert not (directory / "ended").exists()


def test_nodes_are_waited_for_until_each_has_answered_or_the_time_is_over():
    passing, calls = Time(), []

    def late(limit_seconds):
        calls.append(passing.now)
        return Database() if passing.now > 3 else away(limit_seconds)

    run.wait_answers(run.Ways(away, {"db1": late, "db2": Database().connect}), 10.0, passing.clock, passing.sleep)
    assert passing.now == pytest.approx(3.2, abs=0.3)
    run.wait_answers(run.Ways(away, {"db1": away}), 5.0, passing.clock, passing.sleep)
    assert passing.now == pytest.approx(8.4, abs=0.5)
