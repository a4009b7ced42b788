"""The two modules of the preflight: one looks and one judges, and neither fails on what is bad."""

import socket

KNOWN = {"values": {}, "sealed": [], "problems": {}, "defaults": {}, "observed": None, "absent": "unreachable"}


def test_a_look_changes_nothing_and_fails_on_nothing(run_module):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        options = {
            "paths": ["/", "/not/there/yet"],
            "names": ["localhost"],
            "ports": [port],
            "reach": [{"name": "self", "address": "127.0.0.1", "port": port}],
            "virtual_address": "192.0.2.100",
            "interface": "not-there",
            "timeout_seconds": 1,
        }
        seen = run_module("preflight_info", options, check_mode=True)
    assert (seen["changed"], seen.get("failed", False)) == (False, False)
    assert [disk["path"] for disk in seen["disks"]] == ["/", "/not/there/yet"]
    assert [one["port"] for one in seen["listeners"]] == [port]
    assert seen["reach"][0]["problem"] is None
    assert seen["virtual_address"]["answers"] == []
    assert seen["memory_mib"] > 0


def test_faults_are_returned_and_do_not_fail_the_task(run_module, tmp_path):
    certificate = tmp_path / "edge.crt"
    certificate.write_text("nonsense")
    files = {"edge_certificate_file": "/vaulted.crt", "edge_certificate_key_file": str(tmp_path / "missing.key")}
    host = {**KNOWN, "values": {"edge_certificate_source": "files", **files}}
    result = run_module(
        "preflight_check",
        {
            "groups": {"load_balancers": ["lb1"]},
            "hosts": {"lb1": host},
            "systems": {"load_balancers": ["Debian 13"]},
            "opened": {"/vaulted.crt": str(certificate)},
        },
    )
    assert (result["changed"], result.get("failed", False), result["hints"]) == (False, False, [])
    assert any("the controller cannot read it: No such file" in fault for fault in result["faults"])
    assert any("cannot be entered by ssh" in fault for fault in result["faults"])
    assert not any("vaulted.crt" in fault for fault in result["faults"])
