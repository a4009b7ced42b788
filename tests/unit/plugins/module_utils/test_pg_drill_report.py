import json
from xml.etree import ElementTree

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pg_drill_report as page
from ansible_collections.escala.ha.plugins.module_utils._pg_drill import Kept, Limits, Mark, Try, analyse, judge


def tries():
    moments = [0.05 * number for number in range(41)] + [6.0 + 0.05 * number for number in range(41)]
    made = [Try("ledger", number, at, at + 0.01, "acknowledged") for number, at in enumerate(moments)]
    made.append(Try("ledger", 900, 3.0, 4.0, "indeterminate", None, "no answer <script>"))
    made += [Try("db1", number, at, at + 0.01, "acknowledged", True) for number, at in enumerate(moments[:41])]
    return made + [Try("db2", number, at, at + 0.01, "acknowledged", True) for number, at in enumerate(moments[41:])]


@pytest.fixture
def report():
    every = tries()
    rows = {(each.source, each.number) for each in every if each.outcome == "acknowledged"}
    return analyse("db1 & its power", every, [Mark(2.0, "power off")], [Kept("the pool", rows)])


def test_lines_for_a_terminal_begin_with_the_figures(report):
    lines = page.as_text(report, judge(report, Limits(10)))
    assert lines[1] == "RTO 4 s: no row was acknowledged from 2.01 s to 6.01 s"
    assert lines[2] == "RPO 0 of 82 acknowledged rows lost (1 more without a certain answer, 0 refused)"
    assert "db1 was a writer from 0 s to 2.01 s" in lines
    assert "ok     drill_rto: no row was acknowledged for 4 s of at most 10 s" in lines


def test_the_picture_has_a_row_for_each_and_shows_the_gap(report):
    drawn = ElementTree.fromstring(page.timeline(report))  # noqa: S314  (our own picture)
    kinds = [each.get("class") for each in drawn.iter() if each.tag == "rect"]
    assert kinds.count("gap") == 1
    assert kinds.count("writes") == 4
    assert [each.text for each in drawn.iter("text")][:3] == ["ledger", "db1", "db2"]


def test_the_page_shows_nothing_as_markup_that_is_text(report):
    text = page.as_html(report, judge(report, Limits(3)))
    assert "<title>FAILED: failover drill, db1 &amp; its power</title>" in text
    assert "<script>" not in text


@pytest.mark.parametrize(("length", "last", "count"), [(0.5, 0.5, 2), (8.06, 8, 9), (95, 90, 10), (590, 540, 10)])
def test_numbers_below_the_picture_can_be_read(length, last, count):
    found = page.ticks(length)
    assert (found[-1], len(found)) == (last, count)


def test_all_three_are_written_side_by_side(report, tmp_path):
    files = page.write(str(tmp_path), report, judge(report, Limits(10)))
    assert sorted(files) == ["html", "json", "text"]
    read = json.loads((tmp_path / "report.json").read_text())
    assert (read["passed"], read["rto_seconds"]) == (True, 4.0)
    assert (tmp_path / "report.txt").read_text().startswith("db1 & its power: measured for ")
