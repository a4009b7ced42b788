# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge a cluster by what was observed of it: one writer, one history, standbys that follow, and what a failover will need."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import (
    NodeState,
    state_from,
    synchronous_names,
)
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_config import slot_name
from ansible_collections.escala.ha.plugins.module_utils._postgresql_cluster import NEVER_BELOW_THE_PRIMARY
from ansible_collections.escala.ha.plugins.module_utils._postgresql_observed import Json
from ansible_collections.escala.ha.plugins.module_utils._postgresql_replication import Observation
from ansible_collections.escala.ha.plugins.module_utils._verdict import Check, Verdict

ANSWER = Check(
    3, "postgresql_nodes_answer", "Every data node of the database answers by TLS, with a certificate for its name"
)
PRIMARY = Check(3, "one_postgresql_primary", "Exactly one data node is the primary, and a standby confirms it")
CLUSTER = Check(
    3, "postgresql_one_history", "All data nodes have the same cluster's data and are on the primary's timeline"
)
# Of what receives WAL for the archive. It keeps no more than max_slot_wal_keep_size, and whether it is read is a question of backups, not of a failover.
ARCHIVE_SLOT = "escala_archive"
STREAMING = Check(3, "postgresql_standbys_stream", "Every standby streams from the primary, by TLS")
SYNCHRONOUS = Check(
    3, "postgresql_synchronous_commit", "A commit waits for as many standbys as one failure may take away"
)
LAG = Check(3, "postgresql_lag", "No standby is further behind the primary than allowed")
SLOTS = Check(3, "postgresql_slots", "Every standby has a slot on the primary, and no slot keeps WAL for nobody")
SETTINGS = Check(
    3, "postgresql_settings", "Every data node is set so that commits survive and a failed node can come back"
)
GUARDS = Check(3, "postgresql_guards_agree", "The guards of all nodes see one another and agree on the primary")
CERTIFICATES = Check(3, "postgresql_certificates", "No certificate of the database's nodes expires soon")

_DURABLE = {
    "data_checksums": ("on",),
    "fsync": ("on",),
    "full_page_writes": ("on",),
    "hot_standby": ("on",),
    "password_encryption": ("scram-sha-256",),
    "ssl": ("on",),
    "synchronous_commit": ("on", "remote_apply"),
    "wal_level": ("replica", "logical"),
    "wal_log_hints": ("on",),
}
# ANY 1 (db2,db3), 1 ("db-2"), or one name alone.
_SYNCHRONOUS_NAMES = re.compile(r'(?:(?:ANY |FIRST )?(?P<number>[0-9]+) ?\()?(?P<names>[A-Za-z0-9_., "-]+?)\)?')
# A server that starts anew by itself after a crash would be one behind its guard's back.
_WITH_GUARD = {"restart_after_crash": ("off",)}


class Limits(t.NamedTuple):
    """What a cluster is held to: bytes, seconds, how old the last word that one guard heard of another may be, and days."""

    lag_bytes: int
    lag_seconds: float
    guard_seconds: float
    certificate_days: int


def judge_answers(seen: Observation) -> Verdict:
    """Whether every data node could be asked, over TLS."""
    evidence = {name: _answer(node) for name, node in seen.nodes.items()}
    faults = [
        f"{name} does not answer: {node['problem']}" for name, node in seen.nodes.items() if not node["reachable"]
    ]
    faults += [
        f"{name} was reached without TLS" for name, node in seen.nodes.items() if node["reachable"] and not node["tls"]
    ]
    if faults:
        return ANSWER.fails(f"{'; '.join(faults)}. Bring it back, or put right what it says", **evidence)
    return ANSWER.passes(f"{_list(seen.nodes)} answer", **evidence)


def _answer(node: t.Mapping[str, t.Any]) -> Json:
    tls = node["tls"] or {}
    return {
        "address": node["address"],
        "answered_in_seconds": node["answered_in_seconds"],
        "tls": tls.get("version"),
        "problem": node["problem"],
    }


def judge_primary(seen: Observation) -> Verdict:
    """Whether there is one writer, by the rule by which clients are routed, and nobody beside it."""
    evidence = {
        "claimants": seen.claimants,
        "primary": seen.primary,
        "timelines": {name: node["timeline"] for name, node in seen.nodes.items()},
    }
    if len(seen.claimants) > 1:
        told = " and ".join(f"{name} (timeline {seen.nodes[name]['timeline']})" for name in seen.claimants)
        return PRIMARY.fails(
            f"{told} are out of recovery at once. Read `escala-pg-guard status` on each; the older one must be fenced",
            **evidence,
        )
    if seen.primary is None:
        return PRIMARY.fails(f"{seen.reason}. Read `journalctl -u escala-pg-guard` on the data nodes", **evidence)
    return PRIMARY.passes(seen.reason, **evidence)


def judge_history(seen: Observation) -> Verdict:
    """Whether every node that answers has the primary's system identifier and timeline."""
    of = {name: node for name, node in seen.nodes.items() if node["reachable"]}
    evidence = {
        "system_identifiers": {name: node["system_identifier"] for name, node in of.items()},
        "timelines": {name: node["timeline"] for name, node in of.items()},
        "versions": {name: node["version"] for name, node in of.items()},
    }
    writer = seen.writer
    if writer is None:
        return CLUSTER.fails(f"there is no primary to compare with: {seen.reason}", **evidence)
    faults = [
        f"{name} has {what} {node[key]}, {seen.primary} has {writer[key]}"
        for name, node in of.items()
        for key, what in (("system_identifier", "system identifier"), ("timeline", "timeline"))
        if node[key] != writer[key]
    ]
    faults += [
        f"{name} is of version {node['version']}, {seen.primary} of {writer['version']}"
        for name, node in of.items()
        if (node["version"] or 0) // 10000 != (writer["version"] or 0) // 10000
    ]
    faults += [
        f"{name} could not be compared: {node['problem']}" for name, node in seen.nodes.items() if name not in of
    ]
    if faults:
        return CLUSTER.fails(
            f"{'; '.join(faults)}. The guard rewinds or clones what left the timeline; it leaves another cluster's data alone",
            **evidence,
        )
    return CLUSTER.passes(
        f"{_list(of)} have system identifier {writer['system_identifier']} and timeline {writer['timeline']}",
        **evidence,
    )


def judge_streaming(seen: Observation) -> Verdict:
    """Whether every other node streams from the primary, as both ends say, and encrypted."""
    evidence = {
        name: {"upstream": node["upstream"], "receiver": node["receiver"]} for name, node in seen.standbys.items()
    }
    writer = seen.writer
    if writer is None:
        return STREAMING.fails(f"there is no primary to stream from: {seen.reason}", **evidence)
    rows = {row["name"]: row for row in writer["standbys"]}
    faults = [
        f"{name} {fault}"
        for name, node in seen.standbys.items()
        if (fault := _stream_fault(seen, node, rows.get(name)))
    ]
    if faults:
        return STREAMING.fails(f"{'; '.join(faults)}. Read `escala-pg-guard status` there", **evidence)
    if not seen.standbys:
        return STREAMING.passes("there is no other data node", **evidence)
    return STREAMING.passes(f"{_list(seen.standbys)} stream from {seen.primary}", **evidence)


def _stream_fault(seen: Observation, node: Json, row: t.Optional[Json]) -> str:
    if not node["reachable"]:
        return f"does not answer: {node['problem']}"
    if not node["in_recovery"]:
        return "is out of recovery"
    receiver = node["receiver"]
    if receiver is None:
        return "streams from nobody"
    if node["upstream"] != seen.primary:
        return f"streams from {node['upstream']}, and the primary is {seen.primary}"
    if receiver["status"] != "streaming":
        return f"has a receiver that is {receiver['status']}"
    if row is None:
        return f"is not among those that {seen.primary} sends to ({_list(one['name'] for one in (seen.writer or {})['standbys'])})"
    if row["state"] != "streaming":
        return f"is in state {row['state']} on {seen.primary}"
    if not row["tls"] or receiver["sslmode"] != "verify-full":
        return f"streams {'with' if row['tls'] else 'without'} TLS, and with sslmode={receiver['sslmode']} in place of verify-full"
    return "has paused its replay" if node["replay_paused"] else ""


def judge_synchronous(seen: Observation) -> Verdict:
    """Whether commits wait for the standbys that the rules say, on whichever node becomes primary."""
    expected = synchronous_names(seen.rules, seen.quorum)
    needed = seen.rules.sizes(seen.quorum).synchronous
    names = {
        name: _setting(node, "synchronous_standby_names") for name, node in seen.nodes.items() if node["reachable"]
    }
    writer = seen.writer
    waiting = {row["name"]: row["sync_state"] for row in (writer or {"standbys": []})["standbys"]}
    evidence: Json = {
        "expected": expected,
        "synchronous_standby_names": names,
        "standbys_needed": needed,
        "sync_states": waiting,
    }
    evidence["out_of_the_quorum"] = list(seen.quorum.out)
    if writer is None:
        return SYNCHRONOUS.fails(f"there is no primary whose commits could wait: {seen.reason}", **evidence)
    if seen.by_patroni:
        # It names them on the primary only, and never the primary itself.
        evidence["expected"] = expected = f"ANY {needed} of the standbys, as Patroni writes it"
        faults = _not_by_patroni(names.get(seen.primary or "") or "", needed, seen.standbys)
    else:
        faults = [
            f"{name} has synchronous_standby_names {value!r}" for name, value in names.items() if value != expected
        ]
    confirming = [name for name, state in waiting.items() if state in ("sync", "quorum") and name in seen.nodes]
    if len(confirming) < needed:
        faults.append(f"{len(confirming)} of {needed} standbys can confirm a commit of {seen.primary}")
    if faults:
        return SYNCHRONOUS.fails(f"{'; '.join(faults)}; expected is {expected!r}", **evidence)
    if seen.quorum.out:
        return SYNCHRONOUS.fails(
            f"the cluster goes on without {_list(seen.quorum.out)}, taken out of its quorum: {expected!r}."
            " A node is let in again when it is back and has everything",
            **evidence,
        )
    told = f"{expected}, confirmed by {_list(confirming)}" if needed else "one data node confirms its commits itself"
    return SYNCHRONOUS.passes(told, **evidence)


def _not_by_patroni(names: str, needed: int, standbys: t.Container[str]) -> t.List[str]:
    """What keeps the primary's synchronous_standby_names from having a commit wait for as many of its standbys as it must."""
    found = _SYNCHRONOUS_NAMES.fullmatch(names.strip())
    if not found:
        return [f"the primary has synchronous_standby_names {names!r}"]
    listed = [name.strip().strip('"') for name in found["names"].split(",")]
    strangers = [name for name in listed if name not in standbys]
    if strangers:
        return [f"the primary would wait for {_list(strangers)}, which is none of its standbys: {names!r}"]
    if int(found["number"] or 1) < needed:
        return [f"a commit waits for {found['number'] or 1} standbys, and must for {needed}: {names!r}"]
    return []


def judge_lag(seen: Observation, limits: Limits) -> Verdict:
    """Whether every standby has replayed nearly what the primary has written."""
    evidence: Json = {
        "lags": {
            name: {"bytes": node["lag_bytes"], "seconds": node["lag_seconds"]} for name, node in seen.standbys.items()
        },
        "limit_bytes": limits.lag_bytes,
        "limit_seconds": limits.lag_seconds,
    }
    if seen.writer is None:
        return LAG.fails(f"there is no primary to be behind of: {seen.reason}", **evidence)
    faults = []
    for name, node in seen.standbys.items():
        if node["lag_bytes"] is None or node["lag_seconds"] is None:
            faults.append(f"how far {name} is behind is unknown: {node['problem'] or 'nothing was replayed yet'}")
        elif node["lag_bytes"] > limits.lag_bytes or node["lag_seconds"] > limits.lag_seconds:
            faults.append(
                f"{name} is {node['lag_bytes']} bytes and {node['lag_seconds']:g} s behind,"
                f" limits are {limits.lag_bytes} bytes and {limits.lag_seconds:g} s"
            )
    if faults:
        return LAG.fails(
            f"{'; '.join(faults)}. See its load, its disk, and long queries that hold replay up", **evidence
        )
    worst = max((node["lag_seconds"] for node in seen.standbys.values()), default=0.0)
    return LAG.passes(f"at most {worst:g} s behind (limit {limits.lag_seconds:g} s)", **evidence)


def judge_slots(seen: Observation) -> Verdict:
    """Whether the primary keeps WAL for each other node, and nobody keeps it for one that does not fetch it."""
    evidence = {
        name: {slot["name"]: slot for slot in node["slots"]} for name, node in seen.nodes.items() if node["reachable"]
    }
    writer = seen.writer
    if writer is None:
        return SLOTS.fails(f"there is no primary to have slots: {seen.reason}", **evidence)
    there = {slot["name"] for slot in writer["slots"]}
    wanted = [slot_name(name) for name in seen.standbys]
    # Patroni has every standby keep WAL for the others, in case it becomes primary.
    kept_by_patroni = {slot_name(name) for name in seen.nodes} if seen.by_patroni else set()
    faults = [f"{seen.primary} has no slot {slot}" for slot in wanted if slot not in there]
    for name, node in seen.nodes.items():
        for slot in node["slots"]:
            if slot["wal_status"] == "lost":
                faults.append(f"the slot {slot['name']} of {name} has lost its WAL")
            elif name != seen.primary and slot["name"] in kept_by_patroni:
                continue
            elif not slot["active"] and not slot["temporary"] and slot["name"] != ARCHIVE_SLOT:
                faults.append(
                    f"the slot {slot['name']} of {name} has no user and keeps {slot['retained_bytes']} bytes of WAL"
                )
    if faults:
        return SLOTS.fails(
            f"{'; '.join(faults)}. The guard makes and drops those of data nodes; others are dropped by hand",
            **evidence,
        )
    return SLOTS.passes(f"{_list(wanted)} on {seen.primary}, each in use" if wanted else "none is needed", **evidence)


def judge_settings(seen: Observation, checksums: bool = True) -> Verdict:
    """Whether each node that answers has what durability and a rejoin need, so that any of them may become primary.

    `checksums`: whether its pages must have them, which those of an adopted server may lack.
    """
    expected = {**_DURABLE, **(_WITH_GUARD if seen.guards else {})}
    if not checksums:
        del expected["data_checksums"]
    of = {name: node for name, node in seen.nodes.items() if node["reachable"]}
    shown = (*expected, *NEVER_BELOW_THE_PRIMARY)
    evidence = {name: {key: _setting(node, key) for key in shown} for name, node in of.items()}
    faults = [
        f"{name} has {key} = {_setting(node, key)}, expected is {' or '.join(wanted)}"
        for name, node in of.items()
        for key, wanted in expected.items()
        if _setting(node, key) not in wanted
    ]
    faults += [
        f"{name} needs a restart for {_list(node['pending_restart'])}"
        for name, node in of.items()
        if node["pending_restart"]
    ]
    faults += _below_the_primary(seen)
    if not of:
        faults = ["no data node answers"]
    if faults:
        return SETTINGS.fails(f"{'; '.join(faults)}. Run playbooks/etapa_3_postgresql.yml", **evidence)
    have = "have checksums and" if checksums else "need no checksums, as postgresql_checksums says, and"
    return SETTINGS.passes(f"{_list(of)} {have} write every commit to disk", **evidence)


def _below_the_primary(seen: Observation) -> t.Iterator[str]:
    """Which standbys have less of something than their primary: it cannot be seen on one of them alone, and not while all goes well."""
    writer = seen.writer
    if writer is None:
        return
    for key in NEVER_BELOW_THE_PRIMARY:
        needed = _setting(writer, key)
        for name, node in seen.standbys.items():
            value = _setting(node, key)
            if value is not None and needed is not None and int(value) < int(needed):
                yield (
                    f"{name} has {key} = {value}, and {seen.primary} as its primary {needed}: with less it stops its replay, and is neither"
                    " promoted nor started"
                )


def judge_guards(seen: Observation, limits: Limits) -> Verdict:
    """Whether every guard answers, has heard every other just now, and says of its node what the node says of itself."""
    told: t.Dict[str, NodeState] = {}
    faults = []
    for name, node in {**seen.nodes, **seen.witnesses}.items():
        if node["guard"] is None:
            faults.append(f"the guard of {name} does not answer: {node['guard_problem']}")
            continue
        try:
            told[name] = state_from(node["guard"])
        except ValueError as error:
            faults.append(f"the guard of {name} was not understood: {error}")
    evidence: Json = {
        name: {"role": one.role, "timeline": one.timeline, "sees": dict(one.sees), "reason": one.reason}
        for name, one in told.items()
    }
    evidence["limit_seconds"] = limits.guard_seconds
    for name, state in told.items():
        faults += _guard_faults(seen, name, state, limits.guard_seconds)
    if faults:
        return GUARDS.fails(f"{'; '.join(faults)}. Read `journalctl -u escala-pg-guard` there", **evidence)
    return GUARDS.passes(f"{_list(told)} see one another, and that {seen.primary} is the primary", **evidence)


def _guard_faults(seen: Observation, name: str, state: NodeState, limit_seconds: float) -> t.Iterator[str]:
    for other in (*seen.rules.nodes, *seen.rules.witnesses):
        age = state.sees.get(other)
        if other != name and (age is None or age > limit_seconds):
            ago = "not at all" if age is None else f"last {age:g} s ago (limit {limit_seconds:g} s)"
            yield f"the guard of {name} hears {other} {ago}"
    if name in seen.witnesses:
        return
    if state.is_writer != (name == seen.primary):
        yield f"the guard of {name} says that it is {state.role}, {'writable' if state.writable else 'not writable'}: {state.reason}"
    elif not state.joined:
        yield f"the guard of {name} says that its data does not count yet: {state.reason}"
    timeline = seen.nodes[name]["timeline"]
    if timeline is not None and state.timeline != timeline:
        yield f"the guard of {name} says timeline {state.timeline}, its server {timeline}"


def judge_certificates(seen: Observation, limits: Limits) -> Verdict:
    """Whether what the nodes showed lasts: the server and its guard have one certificate, which both the standbys and the poolers verify."""
    days = {
        name: node["certificate_days_left"]
        for name, node in {**seen.nodes, **seen.witnesses}.items()
        if node["certificate_days_left"] is not None
    }
    evidence: Json = {"days_left": days, "days_left_limit": limits.certificate_days}
    faults = [
        f"{name} has {left} days left (limit {limits.certificate_days})"
        for name, left in days.items()
        if left < limits.certificate_days
    ]
    if not days:
        return CERTIFICATES.fails("no guard showed one, see whether they answer", **evidence)
    if faults:
        return CERTIFICATES.fails(
            f"{'; '.join(faults)}. Run renew_certificates.yml, and see that its timer runs", **evidence
        )
    return CERTIFICATES.passes(
        f"at least {min(days.values())} days left on {_list(days)} (limit {limits.certificate_days})", **evidence
    )


def _setting(node: t.Mapping[str, t.Any], name: str) -> t.Optional[str]:
    value = node["settings"].get(name)
    return None if value is None else str(value)


def _list(names: t.Iterable[str]) -> str:
    return ", ".join(names)
