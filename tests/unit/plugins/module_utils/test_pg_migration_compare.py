"""Rows of two servers are compared while they change: what is on its way is no difference, and what stays is one."""

import re

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pg_migration_compare as compare
from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import Answer
from ansible_collections.escala.ha.plugins.module_utils._pg_migration import MigrationError
from ansible_collections.escala.ha.plugins.module_utils._pg_switchover import Time


class World:
    """Two ends with a table of one bucket; `writes` happen one after each look at the end that serves."""

    def __init__(self, rows, copied=None, writes=()):
        self.rows, self.copied = dict(rows), dict(rows if copied is None else copied)
        self.writes = list(writes)
        self.follows = True
        self.now = 0.0
        self.looks = 0
        self.asked = []

    def compare(self):
        time = Time(lambda: self.now, self._sleep)
        return compare.compare(Session(self, "serving"), Session(self, "following"), "public.notes", time)

    def _sleep(self, seconds):
        self.now += seconds

    def write(self):
        if self.writes:
            key, value = self.writes.pop(0)
            self.rows[key] = value
            if self.follows:
                self.copied[key] = value


class Session:
    def __init__(self, world, side):
        self.world, self.side = world, side

    def execute(self, statement, values=(), *, limit_seconds):
        if "GROUP BY 1, 2" in statement:
            self.world.asked.append(values[0])
        return Answer(self._rows(statement), [])

    def _rows(self, statement):
        rows = self.world.rows if self.side == "serving" else self.world.copied
        if "format('ROW(" in statement:
            return [["ROW(t.id)::text"]]
        if "reltuples" in statement:
            return [["3"]]
        if "pg_logical_emit_message" in statement or "pg_current_wal_flush_lsn" in statement:
            return [["0/1"]]
        if "confirmed_flush_lsn" in statement:
            return [["t" if self.world.follows else "f"]]
        assert re.search(r"FROM ONLY public\.notes t", statement)
        self.world.looks += 1
        found = (
            [["0", str(len(rows)), str(hash(frozenset(rows.items())))]]
            if "sum(" in statement
            else [[key, value, "1"] for key, value in rows.items()]
        )
        if self.side == "serving":
            self.world.write()
        return found


ROWS = {"(1)": "a", "(2)": "b", "(3)": "c"}


def test_what_is_the_same_is_read_once_on_each_end():
    world = World(ROWS)
    found = world.compare()
    assert (found.same, found.rows, str(found), world.looks) == (True, 3, "public.notes: 3 rows, the same", 2)


def test_rows_that_change_all_the_time_are_no_difference():
    world = World(ROWS, writes=[("(1)", f"v{number}") for number in range(20)] + [("(9)", "new")])
    assert world.compare().same


@pytest.mark.parametrize(
    ("copied", "said"),
    [
        ({"(1)": "a", "(3)": "c"}, r"of 3 rows 1 missing \(\(2\)\)"),
        ({**ROWS, "(4)": "d"}, r"of 3 rows 1 too many \(\(4\)\)"),
        ({**ROWS, "(2)": "other"}, r"of 3 rows 1 different \(\(2\)\)"),
    ],
)
@pytest.mark.parametrize("writes", [[], [("(3)", f"v{number}") for number in range(20)]])
def test_what_differs_at_every_look_is_told_by_its_key(copied, said, writes):
    found = World(ROWS, copied, writes).compare()
    assert not found.same
    assert re.search(said, str(found))


def test_only_what_differed_is_looked_at_again():
    world = World(ROWS, {"(1)": "a", "(3)": "c"})
    assert not world.compare().same
    # The bucket on both ends, then the row.
    assert world.asked[:4] == ['{"0"}', '{"0"}', '{"(2)"}', '{"(2)"}']
    assert len(world.asked) == 2 * compare.LOOKS


def test_many_that_differ_are_not_looked_at_for_ever(monkeypatch):
    monkeypatch.setattr(compare, "_MANY", 1)
    world = World(ROWS, {"(1)": "a"})
    assert world.compare().missing == ("(2)", "(3)")
    assert len(world.asked) == 4


def test_an_end_that_does_not_catch_up_is_an_error_and_no_difference():
    world = World(ROWS)
    world.follows = False
    with pytest.raises(MigrationError, match="has not caught up with 0/1 within 300 s"):
        world.compare()


def test_rows_without_a_key_count_as_often_as_they_are_there():
    assert compare._left({("(1)", "a"): 2}, {("(1)", "a"): 1}) == {("(1)", "a")}
    assert compare._left({("(1)", "a"): 2}, {("(1)", "a"): 3}) == set()
