# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What repmgr holds the cluster for, beside what it is, and every difference by name."""

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils import _repmgr
from ansible_collections.escala.ha.plugins.module_utils._pg_peers import Identity, Peer, State, read_states
from ansible_collections.escala.ha.plugins.module_utils._repmgr import Json, Local, Run

# It looks for slots by names of repmgr's own. The guard makes them, and calls them like the nodes.
_MISSING_SLOTS = "Missing physical replication slots"


def observe(options: t.Mapping[str, t.Any], run: Run) -> Json:
    """What repmgr_cluster_info returns; `run` runs a command and returns its exit status, output and errors. Raises nothing."""
    local, problem = _repmgr.attempt_local(options)
    if local is None:
        return {"nodes": [], "checks": [], "differences": [], "problem": problem}
    shown, problem = _shown(options["config_file"], run)
    status, output, errors = run(_repmgr.as_postgres(options["config_file"], "node", "check", "--csv"))
    checks = _repmgr.parse_node_check(output)
    if not checks:
        problem = problem or f"`repmgr node check` ended with {status}: {errors.strip()}"
    # It may print that all is well, and end with a WARNING.
    said = (
        [f"`repmgr node check` ended with {status}: {errors.strip()}"] if checks and status and errors.strip() else []
    )
    nodes = [_node(record, local, shown) for record in local.records]
    own = _own_name(options["config_file"])
    upstreams = _upstreams(local, own, _guards(options))
    for node in nodes:
        node["actual_upstream"] = upstreams.get(node["name"])
    return {
        "nodes": nodes,
        "checks": checks,
        "differences": differences(nodes, checks, list(options["nodes"])) + said,
        "problem": problem,
    }


def _shown(config_file: str, run: Run) -> t.Tuple[t.Dict[int, t.Tuple[bool, t.Optional[bool]]], t.Optional[str]]:
    # It ends with 25 when a node is not well, and prints what it knows all the same.
    status, output, errors = run(_repmgr.as_postgres(config_file, "cluster", "show", "--csv"))
    try:
        shown = _repmgr.parse_cluster_show(output)
    except ValueError as error:
        return {}, f"`repmgr cluster show` was not understood: {error}"
    return shown, None if shown else f"`repmgr cluster show` ended with {status}: {errors.strip()}"


def _node(record: t.Mapping[str, t.Any], local: Local, shown: t.Mapping[int, t.Tuple[bool, t.Optional[bool]]]) -> Json:
    names = {one["node_id"]: one["node_name"] for one in local.records}
    reachable, in_recovery = shown.get(record["node_id"], (None, None))
    return {
        "id": record["node_id"],
        "name": record["node_name"],
        "type": record["type"],
        "active": record["active"],
        "upstream": names.get(record["upstream_node_id"]),
        "location": record["location"],
        "priority": record["priority"],
        "conninfo": _repmgr.without_password(record["conninfo"]),
        "reachable": reachable,
        "in_recovery": in_recovery,
    }


def _own_name(config_file: str) -> t.Optional[str]:
    """The name of the node on which this runs."""
    try:
        with open(config_file, encoding="utf-8") as file:
            return _repmgr.parse_config(file.read()).get("node_name")
    except (OSError, ValueError):
        return None


def _guards(options: t.Mapping[str, t.Any]) -> t.Dict[str, State]:
    files = (options["ca_file"], options["guard_certificate_file"], options["guard_key_file"])
    if not all(files):
        return {}
    limit = options["request_timeout_seconds"]
    places = options["nodes"].items()
    peers = [Peer(name, str(one), options["guard_port"], Identity(*files), limit) for name, one in places]
    return {name: state for name, state in read_states(peers).items() if state}


def _upstreams(local: Local, own: t.Optional[str], guards: t.Mapping[str, State]) -> t.Dict[str, t.Optional[str]]:
    """From whom each node streams, as far as that can be seen from here: its guard knows, and the two ends of a stream do."""
    found: t.Dict[str, t.Optional[str]] = {
        name: state.get("upstream") if state.get("streaming") else None for name, state in guards.items()
    }
    for name in local.standbys:
        found[name] = own
    if own and local.upstream_host:
        found[own] = local.name_at(local.upstream_host) or local.upstream_host
    return found


def differences(nodes: t.Sequence[Json], checks: t.Sequence[Json], expected: t.Sequence[str]) -> t.List[str]:
    """What repmgr has otherwise than it is, and which of the `expected` data nodes it does not know."""
    found = [text for node in nodes for text in _of_node(node)]
    writers = [node["name"] for node in nodes if node["in_recovery"] is False]
    primaries = [node["name"] for node in nodes if node["type"] == "primary" and node["active"]]
    if len(writers) > 1:
        found.append(f"{' and '.join(writers)} are out of recovery at once")
    if nodes and len(primaries) != 1:
        found.append(f"repmgr has {' and '.join(primaries) or 'no node'} as active primary, expected is one")
    known = [node["name"] for node in nodes]
    found += [f"{name} is not registered" for name in expected if name not in known]
    if expected:
        found += [f"{name} is registered and no data node" for name in known if name not in expected]
    found += [
        f"`repmgr node check` says of {one['name'].lower()}: {one['status']} {one['detail']}".rstrip()
        for one in checks
        if one["status"] != "OK" and one["name"] != _MISSING_SLOTS
    ]
    return found


def _of_node(node: Json) -> t.Iterator[str]:
    name = node["name"]
    is_primary = node["type"] == "primary"
    if node["in_recovery"] is not None and node["in_recovery"] == is_primary:
        yield f"repmgr has {name} as {node['type']}, and it is {'a standby' if node['in_recovery'] else 'out of recovery'}"
    if node["reachable"] is False and node["active"]:
        yield f"repmgr has {name} as active, and it does not answer"
    if node["reachable"] and not node["active"]:
        yield f"repmgr has {name} as not active, and it answers"
    actual = node["actual_upstream"]
    if actual and node["in_recovery"] and actual != node["upstream"]:
        yield f"repmgr has {node['upstream'] or 'nobody'} as upstream of {name}, and it streams from {actual}"
