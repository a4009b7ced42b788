# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What it takes for repmgr to know a node as it is, or not at all: the record there is, the one there should be, and the command between."""

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils import _repmgr
from ansible_collections.escala.ha.plugins.module_utils._repmgr import Json, Local, Run

_KEYS = ("node_id", "node_name", "type", "active", "upstream", "conninfo", "location", "priority", "slot_name")
# What repmgr takes for yes.
_TRUE = ("1", "on", "t", "true", "y", "yes")
# How long to wait for the record, written on the primary, to arrive on the standby.
_SYNC_SECONDS = 15


class NodeError(Exception):
    """Why a node cannot be registered or unregistered."""


class Plan(t.NamedTuple):
    """The words for repmgr, empty where nothing is to be done, and the record before and after."""

    words: t.List[str]
    before: Json
    after: Json


def plan(options: t.Mapping[str, t.Any], config: t.Mapping[str, str], local: Local) -> Plan:
    """What is to be done, from repmgr.conf and the node's own server. Raises NodeError."""
    name = options["name"]
    record = local.record(name)
    before = _shown(record, local) if record else {}
    if options["state"] == "unregistered":
        if not record:
            return Plan([], {}, {})
        kind = "primary" if record["type"] == "primary" else "standby"
        return Plan([kind, "unregister", f"--node-id={record['node_id']}"], before, {})
    wanted = _wanted(options, config, local)
    if record and _same(before, wanted):
        return Plan([], before, before)
    taken = next((one["node_name"] for one in local.records if one["node_id"] == wanted["node_id"]), name)
    if taken != name:
        raise NodeError(
            f"the id {wanted['node_id']} of {name} is already that of {taken}; give each node an id of its own"
        )
    force = ["--force"] if record else []
    if wanted["type"] == "primary":
        return Plan(["primary", "register", *force], before, wanted)
    upstream = local.record(wanted["upstream"])
    words = ["standby", "register", *force, f"--upstream-node-id={(upstream or {})['node_id']}"]
    return Plan([*words, f"--wait-sync={_SYNC_SECONDS}"], before, wanted)


def _wanted(options: t.Mapping[str, t.Any], config: t.Mapping[str, str], local: Local) -> Json:
    name, path = options["name"], options["config_file"]
    try:
        number = int(config["node_id"])
        own, info = config["node_name"], config["conninfo"]
    except (KeyError, ValueError) as error:
        raise NodeError(f"{path} must have a whole number as node_id, node_name and conninfo: {error}") from error
    if own != name:
        raise NodeError(f"{path} is of {own}: a node is registered on its own host, {name} therefore on another")
    upstream = _upstream(options["upstream"], local) if local.in_recovery else None
    return {
        "node_id": number,
        "node_name": name,
        "type": "standby" if local.in_recovery else "primary",
        "active": True,
        "upstream": upstream,
        "conninfo": _repmgr.without_password(info),
        "location": config.get("location", "default"),
        "priority": int(config.get("priority", "100")),
        "slot_name": f"repmgr_slot_{number}" if config.get("use_replication_slots", "") in _TRUE else None,
    }


def _upstream(named: t.Optional[str], local: Local) -> str:
    """The registered node from which this standby streams: the one that was named, the one it streams from, or the primary."""
    primary = next((one["node_name"] for one in local.records if one["type"] == "primary" and one["active"]), None)
    found = named or local.name_at(local.upstream_host) or primary
    if found is None or local.record(found) is None:
        raise NodeError(
            f"the upstream {found or local.upstream_host or 'of this standby'} is not registered here; register it first,"
            " and see that this standby streams"
        )
    return str(found)


def _shown(record: t.Mapping[str, t.Any], local: Local) -> Json:
    names = {one["node_id"]: one["node_name"] for one in local.records}
    shown = {**record, "upstream": names.get(record["upstream_node_id"])}
    shown["conninfo"] = _repmgr.without_password(record["conninfo"])
    return {key: shown[key] for key in _KEYS}


def _same(before: Json, wanted: Json) -> bool:
    """Whether a record says what is wanted; the order of the words in a connection string says nothing."""
    parsed = [{**one, "conninfo": _repmgr.parse_conninfo(one["conninfo"])} for one in (before, wanted)]
    return parsed[0] == parsed[1]


def carry_out(
    options: t.Mapping[str, t.Any], planned: Plan, run: Run, read: t.Callable[[], Local], config: t.Mapping[str, str]
) -> Plan:
    """Run what was planned and see that it is done; raises NodeError with what repmgr says, SessionError where the server goes away."""
    words = _repmgr.as_postgres(options["config_file"], *planned.words)
    status, _output, errors = run(words)
    if status != 0:
        raise NodeError(
            f"`repmgr {' '.join(planned.words)}` ended with {status}: {_repmgr.without_password(errors.strip())}"
        )
    left = plan(options, config, read())
    if left.words:
        raise NodeError(
            f"`repmgr {' '.join(planned.words)}` succeeded, and its record is not as it should be: {left.before}"
        )
    return left
