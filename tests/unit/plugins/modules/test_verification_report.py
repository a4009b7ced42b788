import json

from ansible_collections.escala.ha.plugins.module_utils._verdict import Check

CHECK = Check(1, "https_redirect", "Plain HTTP is redirected")
GOOD = CHECK.passes("301 to https")
BAD = CHECK.fails("answered 200; redirect it")


def options(folder, *verdicts):
    return {"platform": "production", "directory": str(folder), "verdicts": list(verdicts)}


def test_a_failed_verdict_is_reported_and_does_not_fail_the_task(run_module, tmp_path):
    result = run_module("verification_report", options(tmp_path, BAD))
    assert (result["passed"], result["changed"], result.get("failed", False)) == (False, False, False)
    assert result["lines"] == ["FAILED https_redirect: answered 200; redirect it"]
    assert "https_redirect" in result["msg"]
    assert json.loads((tmp_path / "report.json").read_text())["failed"] == ["https_redirect"]
    assert result["report_html"] == str(tmp_path / "report.html")


def test_writing_it_again_changes_nothing(run_module, tmp_path):
    for _again in range(2):
        assert run_module("verification_report", options(tmp_path, GOOD))["changed"] is False


def test_check_mode_writes_nothing(run_module, tmp_path):
    result = run_module("verification_report", options(tmp_path / "new", GOOD), check_mode=True)
    assert result["passed"] is True
    assert not (tmp_path / "new").exists()


def test_what_is_no_verdict_is_named(run_module, tmp_path):
    result = run_module("verification_report", options(tmp_path, {"name": "odd"}))
    assert result["failed"] is True
    assert "verdict 'odd' has the keys ['name']" in result["msg"]


def test_a_folder_that_cannot_be_made_is_one_line(run_module, tmp_path):
    (tmp_path / "file").write_text("")
    result = run_module("verification_report", options(tmp_path / "file" / "folder", GOOD))
    assert result["msg"].startswith("The report was not written: ")
