import json
import time

STATE = {"address": "192.0.2.100", "since": 90.0, "state": "one", "reason": "lb1 holds it", "holders": []}


def test_what_the_witness_wrote_is_returned_with_its_age(run_module, tmp_path):
    path = tmp_path / "state.json"
    path.write_text(json.dumps({**STATE, "checked_at": time.time() - 3}))
    result = run_module("virtual_ip_witness_info", {"path": str(path)})
    assert (result["state"], result["changed"], result["problem"]) == ("one", False, None)
    assert 3 <= result["age_seconds"] < 30


def test_an_absent_witness_does_not_fail(run_module):
    result = run_module("virtual_ip_witness_info", {"path": "/nowhere/state.json"})
    assert result.get("failed", False) is False
    assert result["state"] is None
    assert "could not be read" in result["problem"]
