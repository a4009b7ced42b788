"""How figures are kept and shown."""

import json

import pytest

from tests.lab import measurements
from tests.lab.measurements import Series, page, record, recorded


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(measurements, "FOLDER", tmp_path / "measurements")
    monkeypatch.setattr(measurements, "_begun", set())
    return tmp_path / "measurements"


def test_a_figure_is_printed_and_kept_with_its_limits(capsys, folder):
    record("outage", 0.6123, "s", 2.0, median_limit=1.0, what="no client served for")
    assert capsys.readouterr().out == "measured: no client served for: 0.612 s\n"
    kept = json.loads((folder / "outage_nginx.json").read_text())
    assert (kept["values"], kept["limit"], kept["unit"]) == ([0.6123], 2.0, "s")
    assert kept["command"] == "pytest tests/unit/lab/test_measurements.py"


def test_the_same_figure_again_makes_a_series():
    for value in (0.5, 0.7, 0.9):
        record("outage", value, "s", 2.0, what="no client served for")
    series = recorded()["outage_nginx"]
    assert series.values == [0.5, 0.7, 0.9]
    assert series.median == 0.7


def test_the_first_figure_of_a_run_puts_that_series_older_figures_away_and_no_other_series(folder):
    record("outage", 0.5, "s", what="no client served for")
    record("stall", 0.4, "s", what="no write for", of="repmgr")
    measurements._begun.clear()
    record("outage", 0.6, "s", what="no client served for")
    found = recorded()
    assert found["outage_nginx"].values == [0.6]
    assert (found["stall_repmgr"].what, found["stall_repmgr"].values) == ("repmgr: no write for", [0.4])


def test_the_95th_percentile_is_a_value_that_19_of_20_do_not_exceed():
    def series(values):
        return Series("x", "s", None, None, "pytest", values)

    assert series([float(number) for number in range(20)]).p95 == 18
    assert series([1.0, 3.0, 2.0]).p95 == 3.0


@pytest.mark.parametrize(
    ("values", "within"), [([0.5, 1.9], False), ([0.5, 0.6, 1.9], True), ([0.5, 0.6, 2.1], False), ([0.9], True)]
)
def test_a_series_keeps_its_limits_when_both_median_and_maximum_do(values, within):
    assert Series("x", "s", 2.0, 1.0, "pytest", values).within_limits is within


def test_a_line_for_the_terminal_shows_the_limits_and_a_miss():
    assert str(Series("a", "s", 2.0, 1.0, "pytest", [0.5])) == "a: 0.500 s (limit 1 p50, 2 max)"
    assert (
        str(Series("a", "s", 2.0, None, "pytest", [0.5, 2.5]))
        == "a: p50 1.500, p95 2.500, max 2.500 of 2 s (limit 2 max): MISSED"
    )
    assert str(Series("a", "requests", None, None, "pytest", [20000])) == "a: 20000 requests"


def test_the_page_has_a_row_for_each_series_and_says_which_missed():
    good = Series("requests that failed", "requests", 0, None, "pytest a.py", [0, 0], "2026-02-09")
    bad = Series("no client served for", "s", 2.0, 1.0, "pytest b.py", [0.5, 2.5], "2026-02-09")
    text = page([good, bad], "2 cores")
    assert "| requests that failed | `pytest a.py` | 2 | 0 | 0 | 0 | requests | 0 max | yes | 2026-02-09 |" in text
    assert (
        "| no client served for | `pytest b.py` | 2 | 1.500 | 2.500 | 2.500 | s | 1 p50, 2 max | **no** | 2026-02-09 |"
        in text
    )
    assert text.endswith("|\n")


def test_the_machine_is_described_without_its_name():
    assert "cores" in measurements.machine()


def test_the_page_keeps_what_was_not_measured_again_and_replaces_what_was():
    def series(what, value):
        return Series(what, "s", 2.0, None, "pytest tests/lab/test_a.py", [value], "2026-11-25")

    before = page([series("nginx: a", 0.5), series("repmgr: b", 0.6)], "2 cores")
    after = page([series("repmgr: b", 0.7), series("repmgr: c", 0.8)], "2 cores", before)
    rows = [line.split(" | ")[0] for line in after.splitlines() if " | yes | " in line]
    assert rows == ["| nginx: a", "| repmgr: b", "| repmgr: c"]
    assert "0.600" not in after
    assert after.count("| What |") == 1
    assert page([], "2 cores", after) == after
