from ansible_collections.escala.ha.plugins.modules import virtual_ip_info


def test_the_loopback_address_is_held_by_every_host(run_module):
    result = run_module("virtual_ip_info", {"address": "127.0.0.1"})
    assert (result["holds"], result["interface"], result["changed"]) == (True, "lo", False)


def test_another_address_is_not(run_module):
    assert run_module("virtual_ip_info", {"address": "192.0.2.100"})["holds"] is False


def test_a_host_without_the_program_does_not_fail(run_module, monkeypatch):
    monkeypatch.setattr(virtual_ip_info, "LIST_ADDRESSES", ("/nowhere/ip",))
    result = run_module("virtual_ip_info", {"address": "192.0.2.100"})
    assert result.get("failed", False) is False
    assert result["holds"] is None
    assert "could not be listed" in result["problem"]
