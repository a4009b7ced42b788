import datetime
import json
import os
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.escala.ha.plugins.module_utils import _report
from ansible_collections.escala.ha.plugins.module_utils._verdict import Check

WHEN = datetime.datetime(2026, 2, 9, 12, 0, 5, tzinfo=datetime.timezone(datetime.timedelta(hours=-3)))
CERTIFICATE = Check(1, "certificate_valid", "The certificate is trusted")
GOOD = CERTIFICATE.passes("364 days left (limit 14)", days_left=364, names=["app.example.com"], trusted=True, none=None)
BAD = Check(1, "instances_ready_from_lb1", "Every instance is ready").fails(
    "1 of 4 not ready", instances={"a-1": "ready"}
)
EARLY = Check(0, "supported_os", "Every host runs a supported system").passes("5 hosts run Debian 13")


class Page(HTMLParser):
    """The text of a page, and every address that it would load or lead to."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.text, self.references, self.tags = [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.text.append(data)


def page_of(*verdicts):
    return Page(_report.as_html(_report.build("production", verdicts, WHEN)))


def test_the_data_counts_and_names_what_failed_in_the_order_of_the_etapas():
    report = _report.build("production", [GOOD, BAD, EARLY], WHEN)
    assert report["checked_at"] == "2026-02-09T15:00:05+00:00"
    assert (report["passed"], report["checks"], report["failed"]) == (False, 3, ["instances_ready_from_lb1"])
    assert [verdict["etapa"] for verdict in report["verdicts"]] == [0, 1, 1]
    assert json.loads(_report.as_json(report)) == report


@pytest.mark.parametrize(
    ("verdicts", "complaint"), [([], "nothing proven"), ([GOOD, GOOD], "more than one"), (["x"], "not str")]
)
def test_a_report_on_nothing_or_on_nonsense_is_refused(verdicts, complaint):
    with pytest.raises(ValueError, match=complaint):
        _report.build("production", verdicts, WHEN)


def test_the_page_says_at_its_head_what_failed_and_in_portuguese_what_to_do():
    text = "".join(page_of(GOOD, BAD).text)
    assert "1 of 2 checks failed" in text
    assert "1 de 2 verificações falhou" in text
    assert "O que fazer: " in text
    assert text.index("Every instance is ready") < text.index("Etapa 1")


def test_the_page_of_a_good_platform_gives_no_advice():
    text = "".join(page_of(GOOD, EARLY).text)
    assert "All 2 checks passed" in text
    assert "O que fazer" not in text
    assert "Antes das etapas" in text


def test_the_page_needs_no_other_file():
    page = page_of(GOOD, BAD)
    assert page.references == ["#instances_ready_from_lb1"]
    assert not {"script", "link", "img", "iframe"} & set(page.tags)


def test_evidence_is_written_for_people():
    text = "".join(page_of(GOOD, BAD).text)
    for shown in ("days left", "a-1: ready", "yes", "none"):
        assert shown in text


@given(st.text(min_size=1).filter(str.strip))
def test_no_text_of_a_check_can_become_markup(text):
    tags = Page(_report.as_html(_report.build(text, [CERTIFICATE.fails(text, seen=text)], WHEN))).tags
    assert tags == page_of(CERTIFICATE.fails("plain", seen="plain")).tags


def test_both_files_are_written_whole_and_nothing_else_is_left(tmp_path):
    folder = tmp_path / "new" / ".state"
    for _again in range(2):
        _report.write(str(folder), _report.build("production", [GOOD], WHEN))
    assert sorted(os.listdir(folder)) == ["report.html", "report.json"]
    assert json.loads((folder / "report.json").read_text())["passed"] is True
    assert (folder / "report.html").stat().st_mode & 0o777 == 0o644


def test_a_report_that_cannot_be_written_leaves_the_last_one(tmp_path, monkeypatch):
    _report.write(str(tmp_path), _report.build("production", [GOOD], WHEN))
    before = (tmp_path / "report.json").read_text()

    def full(*_arguments):
        raise OSError("No space left on device")

    monkeypatch.setattr(_report.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        _report.write(str(tmp_path), _report.build("production", [BAD], WHEN))
    assert (tmp_path / "report.json").read_text() == before
    assert sorted(os.listdir(tmp_path)) == ["report.html", "report.json"]
