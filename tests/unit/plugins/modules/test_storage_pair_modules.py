import pytest

WANTED = """<cib><configuration>
<crm_config><cluster_property_set id="o"><nvpair id="o-s" name="stonith-enabled" value="true"/></cluster_property_set></crm_config>
<resources><primitive id="address" class="ocf" provider="heartbeat" type="IPaddr2"/></resources>
</configuration></cib>"""
EMPTY = '<cib epoch="1"><configuration><crm_config/><resources/></configuration></cib>'


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    """Put programs on the path that stand for a cluster's: what it is configured with, and a note of each patch."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    patches = tmp_path / "patches"

    def configured(cib):
        (tmp_path / "cib.xml").write_text(cib)
        (folder / "cibadmin").write_text(
            f'#!/bin/sh\ncase "$1" in\n--query) cat {tmp_path}/cib.xml ;;\n--patch) cat "$3" >> {patches} ;;\nesac\n'
        )
        (folder / "crm_diff").write_text('#!/bin/sh\ncat "$4"\nexit 1\n')
        for program in folder.iterdir():
            program.chmod(0o755)
        return patches

    return configured


@pytest.fixture
def wanted(tmp_path):
    path = tmp_path / "wanted.xml"
    path.write_text(WANTED)
    return {"path": str(path)}


def test_what_is_lacking_is_put_in_by_one_patch(run_module, cluster, wanted):
    patches = cluster(EMPTY)
    result = run_module("pacemaker_configuration", wanted)
    assert (result["changed"], result["changes"]) == (True, ["stonith-enabled", "address"])
    assert patches.read_text().count("IPaddr2") == 1


def test_check_mode_says_so_and_changes_nothing(run_module, cluster, wanted):
    patches = cluster(EMPTY)
    result = run_module("pacemaker_configuration", wanted, check_mode=True)
    assert result["changed"] is True
    assert [part["header"] for part in result["diff"]] == ["stonith-enabled", "address"]
    assert not patches.exists()


def test_what_is_so_already_stays(run_module, cluster, wanted):
    patches = cluster(WANTED)
    result = run_module("pacemaker_configuration", wanted)
    assert (result["changed"], result["changes"]) == (False, [])
    assert not patches.exists()


def test_without_a_cluster_nothing_is_changed_and_a_check_goes_through(run_module, monkeypatch, tmp_path, wanted):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_module("pacemaker_configuration", wanted)["msg"].startswith("the cluster does not answer")
    assert run_module("pacemaker_configuration", wanted, check_mode=True)["changed"] is True


def test_a_file_that_is_none_is_said(run_module, cluster, tmp_path):
    cluster(EMPTY)
    (tmp_path / "other").write_text("no xml")
    assert "no cluster configuration" in run_module("pacemaker_configuration", {"path": str(tmp_path / "other")})["msg"]


def test_a_host_without_any_of_it_is_observed(run_module, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run_module("storage_pair_info", {"name": "nas1", "device": "/dev/none", "address": "192.0.2.50"})
    assert result["changed"] is False
    assert result["cluster"]["answers"] is False
    assert result["device"]["is_block_device"] is False
