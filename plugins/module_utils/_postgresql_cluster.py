# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the data nodes of a cluster are now, and what that means for the next step: who begins, who is primary, who is restarted when."""

from __future__ import annotations

import glob
import json
import os
import re
import typing as t
import zlib

QUERY = """
select json_build_object(
  'writable', not pg_is_in_recovery(),
  'timeline', (select timeline_id from pg_control_checkpoint()),
  'streaming', exists (select from pg_stat_wal_receiver where status = 'streaming'),
  'standbys', (select coalesce(json_agg(application_name order by application_name), '[]') from pg_stat_replication
               where state = 'streaming'),
  'invalid_settings', (select coalesce(json_agg(name || ': ' || error order by name), '[]') from pg_file_settings
                       where error is not null and error <> 'setting could not be applied'),
  'pending_restart', (select coalesce(json_agg(name order by name), '[]') from pg_settings where pending_restart),
  'locales', (select coalesce(json_agg(distinct one), '[]') from pg_database cross join unnest(array[datcollate, datctype]) as one
              where one !~* '^(c|posix)(\\.|$)'),
  'collations', (select coalesce(json_agg(distinct case datlocprovider when 'i' then 'ICU' else datcollate end), '[]') from pg_database
                 where datlocprovider = 'i' or datlocprovider = 'c' and datcollate !~* '^(c|posix)(\\.|$)'))
"""
_NOT_RUNNING: t.Dict[str, t.Any] = {
    "running": False,
    "writable": False,
    "timeline": None,
    "streaming": False,
    "standbys": [],
    "invalid_settings": [],
    "pending_restart": [],
    "locales": [],
    "collations": [],
}
# A server that starts as a standby does not start with less of these than its primary had: how pg_controldata calls them, and the settings.
LEAST = {
    "max_connections setting": "max_connections",
    "max_worker_processes setting": "max_worker_processes",
    "max_wal_senders setting": "max_wal_senders",
    "max_prepared_xacts setting": "max_prepared_transactions",
    "max_locks_per_xact setting": "max_locks_per_transaction",
}
NEVER_BELOW_THE_PRIMARY = tuple(LEAST.values())
# Before a command that root has run as the system's user.
AS_POSTGRES = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"]
_NODE = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z")


class ClusterError(ValueError):
    """What the nodes are cannot be one cluster, or nobody may decide on it."""


def question(sql: str, port: int, user: str, database: str = "postgres") -> t.List[str]:
    """The command that asks the server of the host itself through its socket; the answer is one line."""
    options = ["--no-psqlrc", "--no-password", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]
    place = ["--host=/run/postgresql", f"--port={port}", f"--username={user}", f"--dbname={database}"]
    return ["psql", *options, *place, f"--command={sql}"]


def attempted(
    run: t.Callable[..., t.Tuple[int, str, str]], command: t.Sequence[str], **options: t.Any
) -> t.Tuple[int, str, str]:
    """Run a program; one that is not there is an answer too, as a shell would give it."""
    try:
        return run(command, **options)
    except OSError as error:
        return 127, "", str(error)


def controlled(text: str) -> t.Dict[str, str]:
    """What pg_controldata (in the C locale) wrote."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _colon, value in pairs if value}


def versions_beside(data_directory: str) -> t.Dict[str, str]:
    """The major versions of what data there is, by directory: here, and where Debian has the cluster of the same name of other versions."""
    here = os.path.normpath(data_directory)
    folder, name = os.path.split(here)
    others = os.path.join(glob.escape(os.path.dirname(folder)), "*", glob.escape(name))
    found = {}
    for directory in sorted({here, *glob.glob(others)}):
        marker = os.path.join(directory, "PG_VERSION")
        if os.path.exists(marker):
            with open(marker, encoding="ascii", errors="replace") as file:
                found[directory] = file.read().strip()
    return found


def observed(
    version: t.Optional[str], control: t.Tuple[int, str, str], answer: t.Tuple[int, str, str]
) -> t.Dict[str, t.Any]:
    """A node by its data directory's PG_VERSION (None: it has no data), pg_controldata and QUERY, both as (exit status, output, errors)."""
    if version is None:
        return {"data": False, "version": None, "system_identifier": None, "least": {}, **_NOT_RUNNING, "problem": None}
    found: t.Dict[str, t.Any] = {
        "data": True,
        "version": version.strip(),
        "system_identifier": None,
        "least": {},
        "problem": None,
    }
    if control[0] == 0:
        said = controlled(control[1])
        found["system_identifier"] = said.get("Database system identifier")
        found["least"] = {setting: int(said[name]) for name, setting in LEAST.items() if name in said}
    else:
        found["problem"] = f"pg_controldata: {control[2].strip() or control[0]}"
    if answer[0] != 0:
        return {**found, **_NOT_RUNNING}
    return {**found, "running": True, **json.loads(answer[1])}


def unseen(nodes: t.Mapping[str, t.Mapping[str, t.Any]]) -> t.List[str]:
    """The nodes of which nothing is known: they are not in this run."""
    return [name for name, seen in nodes.items() if seen.get("data") is None]


def beginner(nodes: t.Mapping[str, t.Mapping[str, t.Any]]) -> t.Optional[str]:
    """The node that makes a new cluster, None where there is one already. Raises ClusterError where that cannot be known.

    `nodes` are all data nodes by name, in their order: only when each of them was seen, and none has data, is there no cluster to be lost.
    """
    unknown = unseen(nodes)
    with_data = {name: seen for name, seen in nodes.items() if seen.get("data")}
    identifiers = {name: seen["system_identifier"] for name, seen in with_data.items() if seen["system_identifier"]}
    if len(set(identifiers.values())) > 1:
        each = ", ".join(f"{name} has {identifier}" for name, identifier in identifiers.items())
        raise ClusterError(
            f"the data directories belong to different clusters by their system identifiers ({each});"
            " nothing was touched; move away the data that does not belong here"
        )
    if with_data:
        return None
    if unknown:
        raise ClusterError(
            f"no node that answers has data, and {', '.join(unknown)} could not be observed and may have some;"
            " bring it back, or take it out of the inventory if it is gone for ever"
        )
    if not nodes:
        raise ClusterError("the cluster has no node")
    return next(iter(nodes))


def primary(nodes: t.Mapping[str, t.Mapping[str, t.Any]]) -> t.Optional[str]:
    """The writable node, None while there is none. Raises ClusterError when there are two."""
    writable = [name for name, seen in nodes.items() if seen.get("writable")]
    if len(writable) > 1:
        raise ClusterError(
            f"{' and '.join(writable)} are writable at once; see what the guards say: escala-pg-guard status"
        )
    return writable[0] if writable else None


def restarts(nodes: t.Mapping[str, t.Mapping[str, t.Any]]) -> t.List[str]:
    """Who needs a restart for a setting: standbys before the primary, so that only one move of the primary is felt."""
    pending = [name for name, seen in nodes.items() if seen.get("pending_restart")]
    return sorted(pending, key=lambda name: name == primary(nodes))


def least(nodes: t.Mapping[str, t.Mapping[str, t.Any]]) -> t.Dict[str, int]:
    """Below what some settings must not go: a node that starts as a standby, as all do, would not start with less than the cluster had so far."""
    found: t.Dict[str, int] = {}
    for seen in nodes.values():
        for name, value in (seen.get("least") or {}).items():
            found[name] = max(value, found.get(name, value))
    return found


def named(hosts: t.Iterable[t.Tuple[str, str, t.Any]]) -> t.List[t.Dict[str, t.Any]]:
    """Nodes from hosts, addresses and numbers, by the first part of the host's name. Raises ClusterError for what cannot be a node's name or number.

    Without one, None, a node's number comes from its name alone, so that it stays when others come and go: what the name ends in, or a sum of the name.
    """
    found: t.List[t.Dict[str, t.Any]] = [
        {
            "name": name,
            "id": _number(name) if number is None else _given(host, number),
            "host": host,
            "address": address,
        }
        for name, host, address, number in (
            (host.partition(".")[0], host, address, number) for host, address, number in hosts
        )
    ]
    taken: t.Dict[t.Union[int, str], str] = {}
    for node in found:
        name, host = node["name"], node["host"]
        if not _NODE.match(name):
            raise ClusterError(
                f"{host} would be the node {name!r}, and a node's name is letters in lower case, digits and hyphens"
            )
        # Slots know no hyphen.
        for key in (name.replace("-", "_"), node["id"]):
            if key in taken:
                remedy = (
                    "give the one that is new another postgresql_node_id"
                    if key == node["id"]
                    else "name them differently"
                )
                raise ClusterError(f"{host} and {taken[key]} would be the same node {key}; {remedy}")
            taken[key] = host
    return found


def _given(host: str, number: t.Any) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", str(number)):
        raise ClusterError(f"postgresql_node_id of {host} is {number!r}; it must be a whole number from 1 to 999999999")
    return int(number)


def _number(name: str) -> int:
    digits = re.search(r"[1-9][0-9]{0,8}\Z", name)
    return int(digits[0]) if digits else zlib.crc32(name.encode()) & 0x7FFFFFFF
