from __future__ import annotations

import copy
import itertools
import struct
from typing import Any

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _storage_pair as pair

WHOLE = {
    "connection": "Connected",
    "role": "Secondary",
    "peer_role": "Primary",
    "disk": "UpToDate",
    "peer_disk": "UpToDate",
}
DOWN = dict.fromkeys(WHOLE)


def host(name: str, **other: Any) -> dict[str, Any]:
    """One host of a whole pair; nested values are merged."""
    seen: dict[str, Any] = {
        "name": name,
        "hostname": name,
        "device": {"path": "/dev/sdb", "is_block_device": True, "content": "drbd", "holds": "", "just_created": False},
        "replication": dict(WHOLE),
        "quorum": {"quorate": True, "device_votes": True, "votes": 3},
        "cluster": {
            "answers": True,
            "online": ["nas1", "nas2"],
            "promoted": "nas1",
            "resources": {"address": ["nas1"]},
            "failures": [],
            "maintenance": False,
        },
        "fencing": True,
        "made": True,
        "holds_address": name == "nas1",
        "restart_reason": "",
    }
    if name == "nas1":
        seen["replication"] |= {"role": "Primary", "peer_role": "Secondary"}
    for key, value in other.items():
        seen[key] = seen[key] | value if isinstance(value, dict) else value
    return seen


def both(first: dict[str, Any] | None = None, second: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    return {"nas1": host("nas1", **(first or {})), "nas2": host("nas2", **(second or {}))}


def new(**other: Any) -> dict[str, Any]:
    """What is different on a host of a pair that is being made."""
    replication = {"role": "Secondary", "peer_role": "Secondary"} | other.pop("replication", {})
    return {"made": False, "holds_address": False, "replication": replication} | other


# DRBD's block


@pytest.mark.parametrize(("current", "just_created"), [(4, True), (5, True), (0x9A3F, False), (0, False)])
@pytest.mark.parametrize("magic", [0x8374026B, 0x8374026C])
def test_a_device_of_drbds_is_known_by_its_block(current: int, just_created: bool, magic: int) -> None:
    block = struct.pack(">Q4QQQII", 8388608, current, 0, 0, 0, 7, 0, 0, magic) + bytes(4032)
    assert pair.metadata(block) == {"just_created": just_created}


@pytest.mark.parametrize("block", [bytes(4096), b"\xff" * 4096])
def test_other_bytes_are_not_drbds(block: bytes) -> None:
    assert pair.metadata(block) is None


@pytest.mark.parametrize(
    ("has_metadata", "signatures", "is_blank", "expected"),
    [
        (True, "", False, ("drbd", "")),
        (True, "TYPE=ext4", False, ("drbd", "")),
        (False, "", True, ("empty", "")),
        (False, "DEVNAME=/dev/sdb\nTYPE=ext4\nUSAGE=filesystem\n", True, ("foreign", "a ext4")),
        (False, "PTTYPE=gpt\n", False, ("foreign", "a partition table (gpt)")),
        (False, "", False, ("foreign", "bytes that are no file system this host knows")),
    ],
)
def test_what_a_device_holds(has_metadata: bool, signatures: str, is_blank: bool, expected: tuple[str, str]) -> None:
    assert pair.content(has_metadata, signatures, is_blank) == expected


# What programs say

PROC_DRBD = """version: 8.4.11 (api:1/proto:86-101)
srcversion: 1234567890ABCDEF

 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----
    ns:132 nr:0 dw:132 dr:2101 al:3 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:0
 1: cs:WFConnection ro:Secondary/Unknown ds:Inconsistent/DUnknown C r-----
"""


def test_the_kernel_says_how_a_device_is_replicated() -> None:
    assert pair.replication(PROC_DRBD) == WHOLE | {"role": "Primary", "peer_role": "Secondary"}
    assert pair.replication(PROC_DRBD, minor=1)["disk"] == "Inconsistent"


@pytest.mark.parametrize("text", ["", "version: 8.4.11 (api:1/proto:86-101)\n", " 0: cs:Unconfigured\n"])
def test_a_device_that_is_not_up_says_nothing(text: str) -> None:
    assert pair.replication(text) == DOWN


QUORUM = """Quorum information
------------------
Nodes:            2
Ring ID:          1.8
Quorate:          Yes

Votequorum information
----------------------
Expected votes:   3
Highest expected: 3
Total votes:      3
Quorum:           2
Flags:            Quorate Qdevice

Membership information
----------------------
    Nodeid      Votes    Qdevice Name
         1          1    A,V,NMW nas1 (local)
         2          1    A,V,NMW nas2
         0          1            Qdevice
"""


def test_a_host_says_whether_it_has_quorum_and_the_third_hosts_vote() -> None:
    assert pair.quorum(QUORUM) == {"quorate": True, "device_votes": True, "votes": 3}


@pytest.mark.parametrize("flags", ["A,NV,NMW", "NA,V,NMW", "NR"])
def test_a_vote_that_is_not_given_is_none(flags: str) -> None:
    text = QUORUM.replace("A,V,NMW nas1", f"{flags} nas1").replace("Quorate Qdevice", "Qdevice")
    assert pair.quorum(text) == {"quorate": False, "device_votes": False, "votes": 3}


def test_without_corosync_there_is_no_quorum() -> None:
    assert pair.quorum("Cannot initialize CFG service") == {"quorate": False, "device_votes": False, "votes": 0}


CRM_MON = """<pacemaker-result api-version="2.38" request="crm_mon --output-as=xml --one-shot">
  <summary><cluster_options stonith-enabled="true" maintenance-mode="false"/></summary>
  <nodes>
    <node name="nas1" id="1" online="true" unclean="false" pending="false"/>
    <node name="nas2" id="2" online="true" unclean="false" pending="false"/>
  </nodes>
  <resources>
    <clone id="replication">
      <resource id="replica" role="Promoted" active="true"><node name="nas2" id="2"/></resource>
      <resource id="replica" role="Unpromoted" active="true"><node name="nas1" id="1"/></resource>
    </clone>
    <group id="shared_storage">
      <resource id="file_system" role="Started" active="true"><node name="nas2" id="2"/></resource>
      <resource id="address" role="Stopped" active="false"/>
    </group>
  </resources>
  <failures><failure op_key="address_monitor_10000" node="nas2" exitstatus="not running" exitreason=""/></failures>
</pacemaker-result>
"""


def test_the_cluster_says_what_runs_where() -> None:
    assert pair.cluster(CRM_MON) == {
        "answers": True,
        "online": ["nas1", "nas2"],
        "promoted": "nas2",
        "resources": {"replica": ["nas1", "nas2"], "file_system": ["nas2"], "address": []},
        "failures": ["address_monitor_10000 on nas2: not running"],
        "maintenance": False,
    }


@pytest.mark.parametrize(
    "attribute", ['online="false"', 'online="true" unclean="true"', 'online="true" pending="true"']
)
def test_a_host_that_is_not_wholly_there_is_not_online(attribute: str) -> None:
    assert pair.cluster(
        CRM_MON.replace('name="nas1" id="1" online="true" unclean="false" pending="false"', f'name="nas1" {attribute}')
    )["online"] == ["nas2"]


def test_maintenance_is_seen() -> None:
    assert pair.cluster(CRM_MON.replace('maintenance-mode="false"', 'maintenance-mode="true"'))["maintenance"]


@pytest.mark.parametrize("text", ["", "crm_mon: Connection to cluster failed", "<pacemaker-result/>"])
def test_a_cluster_that_does_not_answer(text: str) -> None:
    assert not pair.cluster(text)["answers"]


CIB = """<cib><configuration><resources><clone id="replication"><primitive id="replica"><instance_attributes id="p">
<nvpair id="n" name="drbd_resource" value="uploads"/></instance_attributes></primitive></clone></resources></configuration></cib>"""


@pytest.mark.parametrize(
    ("text", "made"), [(CIB, True), (CIB.replace("uploads", "other"), False), ("", False), ("<cib/>", False)]
)
def test_whether_the_cluster_has_the_device(text: str, made: bool) -> None:
    assert pair.is_made(text, "uploads") is made


@pytest.mark.parametrize(
    ("identities", "device", "is_hardware"),
    [
        ({}, None, False),
        ({"/dev/watchdog0": "Software Watchdog\n"}, "/dev/watchdog0", False),
        ({"/dev/watchdog0": "i6300ESB timer\n"}, "/dev/watchdog0", True),
        ({"/dev/watchdog0": "Software Watchdog\n", "/dev/watchdog1": "iTCO_wdt\n"}, "/dev/watchdog1", True),
    ],
)
def test_hardware_comes_before_the_kernels_own_timer(
    identities: dict[str, str], device: str | None, is_hardware: bool
) -> None:
    assert pair.watchdog(identities) == {"device": device, "is_hardware": is_hardware}


# What must not become a pair


@pytest.mark.parametrize(("first", "second"), [*itertools.product(["empty", "drbd"], repeat=2)])
def test_empty_devices_and_drbds_own_may_become_a_pair(first: str, second: str) -> None:
    assert pair.refusals(both(new(device={"content": first}), new(device={"content": second}))) == []


def test_data_are_never_overwritten() -> None:
    (refusal,) = pair.refusals(both(None, {"device": {"content": "foreign", "holds": "a ext4"}}))
    assert refusal.startswith("nas2: /dev/sdb holds a ext4")
    assert "blkdiscard" in refusal


def test_a_device_that_is_none_is_refused() -> None:
    (refusal,) = pair.refusals(both({"device": {"is_block_device": False, "content": None}}))
    assert "nas1: share_volume_device is /dev/sdb" in refusal


def test_a_host_bears_the_name_that_the_cluster_knows() -> None:
    (refusal,) = pair.refusals(both({"hostname": "debian"}))
    assert "nas1 calls itself debian" in refusal


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True), (True, True)])
def test_a_pair_that_had_uploads_is_not_begun_anew(first: bool, second: bool) -> None:
    empty = {"device": {"content": "empty"}}
    (refusal,) = pair.refusals(both(empty | {"made": first}, empty | {"made": second}))
    assert "nas1 and nas2 have empty devices" in refusal


def test_one_new_disk_in_a_pair_gets_what_the_other_has() -> None:
    assert pair.refusals(both({"device": {"content": "empty"}})) == []


# How a pair is made, wherever a run ended


def step(first: dict[str, Any], second: dict[str, Any]) -> tuple[str, str | None]:
    return pair.next_step(both(first, second))[:2]


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True), (True, True)])
def test_what_the_cluster_has_is_left_to_it(first: bool, second: bool) -> None:
    assert step(new() | {"made": first}, new() | {"made": second}) == ("nothing", None)


@pytest.mark.parametrize("connection", [None, "StandAlone", "WFConnection", "Unconnected", "Timeout", "NetworkFailure"])
@pytest.mark.parametrize("which", [0, 1])
def test_devices_that_are_not_connected_are_waited_for(connection: str | None, which: int) -> None:
    hosts = [new(), new()]
    hosts[which]["replication"]["connection"] = connection
    assert step(*hosts) == ("wait", None)


BLANK = {"replication": {"disk": "Inconsistent", "peer_disk": "Inconsistent"}, "device": {"just_created": True}}


def test_two_new_devices_need_no_synchronization() -> None:
    assert step(new(**copy.deepcopy(BLANK)), new(**copy.deepcopy(BLANK))) == ("vouch", "nas1")


@pytest.mark.parametrize("which", [0, 1])
def test_a_device_that_is_not_new_is_never_vouched_for(which: int) -> None:
    hosts = [new(**copy.deepcopy(BLANK)), new(**copy.deepcopy(BLANK))]
    hosts[which]["device"]["just_created"] = False
    assert step(*hosts) == ("wait", None)


def test_the_file_system_is_made_where_the_data_are_current() -> None:
    assert step(new(), new()) == ("make", "nas1")
    assert step(
        new(replication={"disk": "Inconsistent", "connection": "SyncTarget"}),
        new(replication={"connection": "SyncSource"}),
    ) == ("make", "nas2")


def test_a_run_that_ended_on_a_primary_goes_on_there() -> None:
    assert step(new(), new(replication={"role": "Primary"})) == ("make", "nas2")


# Whether the pair is whole


def test_a_whole_pair_has_no_faults() -> None:
    assert pair.faults(both()) == []


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"cluster": {"answers": False}}, "pacemaker does not answer"),
        ({"cluster": {"online": ["nas2"]}}, "it does not see nas1"),
        ({"quorum": {"quorate": False}}, "it has no quorum"),
        ({"quorum": {"device_votes": False}}, "gives no vote"),
        ({"fencing": False}, "sbd does not run"),
        ({"cluster": {"maintenance": True}}, "maintenance mode"),
        ({"replication": {"connection": "StandAlone"}}, "given up its connection"),
        ({"replication": DOWN}, "not up"),
        ({"replication": {"connection": "WFConnection"}}, "is WFConnection"),
        ({"replication": {"connection": "SyncTarget", "disk": "Inconsistent"}}, "is SyncTarget"),
        ({"replication": {"disk": "Inconsistent"}}, "disk is Inconsistent"),
        ({"replication": {"peer_disk": "Outdated"}}, "the other's Outdated"),
        ({"cluster": {"failures": ["file_system_start_0 on nas2: error"]}}, "file_system_start_0"),
    ],
)
def test_each_fault_has_its_words(other: dict[str, Any], words: str) -> None:
    (fault,) = pair.faults(both(None, other))
    assert fault.startswith("nas2: ")
    assert words in fault


def test_two_that_serve_are_the_first_fault() -> None:
    found = pair.faults(both(None, {"holds_address": True, "replication": {"role": "Primary"}}))
    assert [fault.split(" at the same time")[0] for fault in found] == [
        "nas1 and nas2 are primary",
        "nas1 and nas2 hold the shared address",
    ]


def test_nobody_who_serves_is_a_fault() -> None:
    assert pair.faults(both({"holds_address": False}))[0].startswith("neither host holds the shared address")


def test_a_host_that_gives_no_answer_is_a_fault_and_not_a_proof_that_nobody_serves() -> None:
    assert pair.faults({"nas2": host("nas2")}, ["nas1"]) == ["nas1 could not be asked; bring it back"]
