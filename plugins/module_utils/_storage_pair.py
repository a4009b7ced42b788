# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pair of storage servers is: what its parts say, and what follows from that.

Everything here takes text or observations and returns a verdict with words; storage_pair_info has them read on the hosts.
"""

from __future__ import annotations

import re
import struct
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.escala.ha.plugins.module_utils._verdict import Check, Verdict

PAIR = Check(2, "storage_pair_whole", "Either of the two storage servers may fail, and the other takes over")

Observation = t.Mapping[str, t.Any]
Observations = t.Mapping[str, Observation]

# DRBD's own block at the end of a device, big-endian: its size, four generations' identifiers, the device's, one reserved, flags, a magic number.
METADATA_BYTES = 4096
_METADATA = struct.Struct(">Q4QQQII")
_MAGICS = (0x83740267 + 4, 0x83740267 + 5)
# What drbdmeta gives a device whose data nobody has vouched for.
_JUST_CREATED = 4

_PROC_DRBD = re.compile(r"^\s*(\d+): cs:(\w+)(?: ro:(\w+)/(\w+) ds:(\w+)/(\w+))?", re.MULTILINE)
_PROMOTED = ("Promoted", "Master")


def metadata(block: bytes) -> t.Optional[t.Dict[str, t.Any]]:
    """What DRBD has written at the end of a device, None where it has not."""
    fields = _METADATA.unpack_from(block)
    if fields[-1] not in _MAGICS:
        return None
    # The last bit of the current identifier says whether the host was primary.
    return {"just_created": fields[1] & ~1 == _JUST_CREATED}


def content(has_metadata: bool, signatures: str, is_blank: bool) -> t.Tuple[str, str]:
    """What a device holds, `drbd`, `empty` or `foreign`, and which words of it to show.

    `signatures` is what `blkid --probe --output export` writes, `is_blank` whether its first and last MiB are zeros.
    """
    if has_metadata:
        return "drbd", ""
    said = dict(line.partition("=")[::2] for line in signatures.splitlines())
    for key, words in (("TYPE", "a {0}"), ("PTTYPE", "a partition table ({0})")):
        if said.get(key):
            return "foreign", words.format(said[key])
    return ("empty", "") if is_blank else ("foreign", "bytes that are no file system this host knows")


def replication(proc_drbd: str, minor: int = 0) -> t.Dict[str, t.Any]:
    """What /proc/drbd says of a device; all is None where it is not configured."""
    keys = ("connection", "role", "peer_role", "disk", "peer_disk")
    for found in _PROC_DRBD.finditer(proc_drbd):
        if int(found[1]) == minor and found[2] != "Unconfigured":
            return dict(zip(keys, found.groups()[1:]))
    return dict.fromkeys(keys)


def quorum(shown: str) -> t.Dict[str, t.Any]:
    """What `corosync-quorumtool -s` says; nothing where corosync does not run."""
    fields = {name.strip(): value.strip() for name, value in (line.partition(":")[::2] for line in shown.splitlines())}
    flags = fields.get("Flags", "").split()
    # A vote of the third host: "A,V,NMW" is alive, has voted, is not the node's master.
    device = re.search(r"^\s*\d+\s+\d+\s+(\w+),(\w+),\w+\s+.*\(local\)", shown, re.MULTILINE)
    return {
        "quorate": "Quorate" in flags,
        "device_votes": bool(device and device[1] == "A" and device[2] == "V"),
        "votes": int(fields.get("Total votes") or 0),
    }


def cluster(crm_mon: str) -> t.Dict[str, t.Any]:
    """What `crm_mon --output-as=xml` says: the nodes that are online, where each resource runs, who is promoted, what failed."""
    try:
        root = ET.fromstring(crm_mon)  # noqa: S314  what the cluster's own program wrote
    except ET.ParseError:
        return {"answers": False, "online": [], "promoted": None, "resources": {}, "failures": [], "maintenance": False}
    online = [
        node.get("name", "")
        for node in root.findall("./nodes/node")
        if node.get("online") == "true" and node.get("unclean") != "true" and node.get("pending") != "true"
    ]
    resources: t.Dict[str, t.List[str]] = {}
    promoted = None
    for resource in root.iter("resource"):
        hosts = resources.setdefault(resource.get("id", ""), [])
        if resource.get("role") in ("Stopped", "Starting") or resource.get("active") != "true":
            continue
        names = [node.get("name", "") for node in resource.findall("node")]
        hosts += names
        if resource.get("role") in _PROMOTED and names:
            promoted = names[0]
    failures = [
        f"{failure.get('op_key') or failure.get('task')} on {failure.get('node')}: "
        f"{failure.get('exitreason') or failure.get('exitstatus')}"
        for failure in root.findall("./failures/failure")
    ]
    options = root.find("./summary/cluster_options")
    return {
        "answers": root.find("./nodes/node") is not None,
        "online": sorted(online),
        "promoted": promoted,
        "resources": {name: sorted(hosts) for name, hosts in resources.items()},
        "failures": failures,
        "maintenance": options is not None and options.get("maintenance-mode") == "true",
    }


def is_made(cib: str, resource: str) -> bool:
    """Whether the cluster's configuration has the replicated device already."""
    try:
        root = ET.fromstring(cib)  # noqa: S314  what the cluster itself wrote
    except ET.ParseError:
        return False
    pairs = root.iterfind("./configuration/resources//instance_attributes/nvpair")
    return any(pair.get("name") == "drbd_resource" and pair.get("value") == resource for pair in pairs)


def watchdog(identities: t.Mapping[str, str]) -> t.Dict[str, t.Any]:
    """The watchdog to use of those that a host has, by device and by what each says that it is: hardware before the kernel's own timer."""
    hardware = sorted(device for device, identity in identities.items() if identity.strip() != "Software Watchdog")
    software = sorted(set(identities) - set(hardware))
    return {"device": next(iter(hardware + software), None), "is_hardware": bool(hardware)}


def refusals(observations: Observations) -> t.List[str]:
    """What must be put right before anything is written to either device."""
    found = []
    for host, seen in observations.items():
        device = seen["device"]
        if seen["hostname"] != seen["name"]:
            found.append(
                f"{host} calls itself {seen['hostname']} (uname -n), and the cluster would know it as {seen['name']};"
                " give it that name with hostnamectl, or rename it in the inventory"
            )
        if not device["is_block_device"]:
            found.append(
                f"{host}: share_volume_device is {device['path']}, which is no block device there;"
                " attach an empty disk and name it by /dev/disk/by-id"
            )
        elif device["content"] == "foreign":
            found.append(
                f"{host}: {device['path']} holds {device['holds']}, and the pair takes only an empty device or one that is DRBD's already;"
                f" name another one, or, if nobody needs what is there: blkdiscard --zeroout {device['path']}"
            )
    blank = [host for host, seen in observations.items() if seen["device"]["content"] == "empty"]
    if not found and len(blank) == len(observations) and any(seen["made"] for seen in observations.values()):
        found.append(
            f"{' and '.join(blank)} have empty devices, and their cluster already had uploads on them:"
            " bring a disk of theirs back, or, to begin without those uploads, remove /var/lib/pacemaker/cib on both"
        )
    return found


class Step(t.NamedTuple):
    """What the first creation of the pair takes next: `do` is wait, vouch, make or nothing; `host` does it."""

    do: str
    host: t.Optional[str]
    reason: str


def next_step(observations: Observations) -> Step:
    """Say how the replicated device gets from two devices with DRBD's metadata to one file system, wherever an earlier run ended."""
    if any(seen["made"] for seen in observations.values()):
        return Step("nothing", None, "the cluster has it")
    states = {host: seen["replication"] for host, seen in observations.items()}
    apart = [host for host, state in states.items() if not _is_linked(state)]
    if apart:
        words = ", ".join(f"{host} is {states[host]['connection'] or 'not up'}" for host in apart)
        return Step("wait", None, f"the devices are not connected ({words})")
    current = [host for host, state in states.items() if state["disk"] == "UpToDate"]
    if current:
        primary = [host for host in current if states[host]["role"] == "Primary"]
        return Step("make", (primary or current)[0], "it has current data")
    if all(seen["device"]["just_created"] for seen in observations.values()):
        return Step(
            "vouch", next(iter(observations)), "both devices are new, and neither has anything that the other lacks"
        )
    disks = ", ".join(f"{host} is {state['disk']}" for host, state in states.items())
    return Step("wait", None, f"neither device has current data ({disks})")


def _is_linked(state: Observation) -> bool:
    return state["connection"] == "Connected" or str(state["connection"]).startswith(("Sync", "Paused"))


def faults(observations: Observations, unseen: t.Iterable[str] = ()) -> t.List[str]:
    """What keeps the pair from being whole, each with what to do; nothing where either host may fail."""
    found = [f"{host} could not be asked; bring it back" for host in unseen]
    for host, seen in observations.items():
        found += [f"{host}: {fault}" for fault in _faults_of_host(seen, observations)]
    serving = [host for host, seen in observations.items() if seen["holds_address"]]
    if len(serving) > 1:
        found.insert(
            0,
            f"{' and '.join(serving)} hold the shared address at the same time; power one of them off, and read both journals",
        )
    elif not serving and not unseen:
        found.insert(0, "neither host holds the shared address, so nobody serves; `crm_mon -1rf` says what failed")
    primaries = [host for host, seen in observations.items() if seen["replication"]["role"] == "Primary"]
    if len(primaries) > 1:
        found.insert(
            0,
            f"{' and '.join(primaries)} are primary at the same time; power one of them off, and read docs/shared-mount.md",
        )
    return list(dict.fromkeys(found))


def _faults_of_host(seen: Observation, observations: Observations) -> t.Iterator[str]:
    members = seen["cluster"]
    if not members["answers"]:
        yield "pacemaker does not answer; see `systemctl status corosync sbd pacemaker`"
        return
    away = sorted({other["name"] for other in observations.values()} - set(members["online"]))
    if away:
        yield f"it does not see {', '.join(away)} in the cluster; see whether UDP 5405 passes between them"
    if members["maintenance"]:
        yield "the cluster is in maintenance mode and moves nothing; `crm_attribute --name maintenance-mode --delete` ends that"
    yield from _faults_of_quorum(seen)
    yield from _faults_of_replication(seen["replication"])
    for failure in members["failures"]:
        yield f"{failure}; once its cause is gone, `crm_resource --cleanup` forgets it"


def _faults_of_quorum(seen: Observation) -> t.Iterator[str]:
    if not seen["quorum"]["quorate"]:
        yield "it has no quorum; see whether it reaches the other server and the quorum host"
    if not seen["quorum"]["device_votes"]:
        yield "the quorum host gives no vote here, so a single further fault ends the service; see `corosync-qdevice-tool -s`"
    if not seen["fencing"]:
        yield "sbd does not run, so nobody resets it when it has no quorum; see `systemctl status sbd`"


def _faults_of_replication(state: Observation) -> t.Iterator[str]:
    if state["connection"] == "StandAlone":
        yield (
            "DRBD has given up its connection, as after a split brain; nothing was thrown away, and whose data count is for you to say:"
            " docs/shared-mount.md"
        )
    elif state["connection"] is None:
        yield "DRBD's device is not up; `crm_mon -1rf` says why"
    elif state["connection"] != "Connected":
        yield f"DRBD is {state['connection']}, its disk {state['disk']}; wait until it is connected and UpToDate"
    elif (state["disk"], state["peer_disk"]) != ("UpToDate", "UpToDate"):
        yield f"DRBD's disk is {state['disk']} and the other's {state['peer_disk']}; both have to be UpToDate"


def judge_pair(results: t.Mapping[str, t.Mapping[str, t.Any]]) -> Verdict:
    """Whether a pair is whole, by what storage_pair_info returned on each host, also where it failed or nobody could enter."""
    seen = {host: result for host, result in results.items() if "replication" in result}
    found = faults(seen, [host for host in results if host not in seen])
    evidence = {
        host: {key: result[key] for key in ("replication", "quorum", "cluster", "fencing", "holds_address")}
        for host, result in seen.items()
    }
    if found:
        return PAIR.fails("; ".join(found), **evidence)
    serving, waiting = sorted(seen, key=lambda host: not seen[host]["holds_address"])
    return PAIR.passes(
        f"{serving} serves and {waiting} has all that it has; both have quorum, the third host's vote and a watchdog",
        **evidence,
    )
