# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""repmgr's metadata and what its tool prints, read into plain data. Runs on a data node, since the tool does."""

from __future__ import annotations

import json
import re
import shlex
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import Session, SessionError, conninfo

# The options that the modules repmgr_cluster_info and repmgr_node share.
ARGUMENTS: t.Dict[str, t.Dict[str, t.Any]] = {
    "config_file": {"type": "path", "default": "/etc/repmgr.conf"},
    "database": {"type": "str", "default": "repmgr"},
    "user": {"type": "str", "default": "escala_guard"},
    "socket_directory": {"type": "path", "default": "/run/postgresql"},
    "port": {"type": "int", "default": 5432},
    "request_timeout_seconds": {"type": "float", "default": 3},
}
# repmgr asks all nodes one after the other, each for as long as connect_timeout in its conninfo says.
_TOOL_SECONDS = 60
_LOCAL = """
SELECT json_build_object('in_recovery', pg_is_in_recovery(), 'has_metadata', to_regclass('repmgr.nodes') IS NOT NULL,
 'upstream_host', (SELECT sender_host FROM pg_stat_wal_receiver WHERE status = 'streaming'),
 'standbys', (SELECT coalesce(json_agg(application_name ORDER BY application_name), '[]') FROM pg_stat_replication WHERE state = 'streaming'))
"""
_NODES = "SELECT coalesce(json_agg(to_jsonb(n) ORDER BY node_id), '[]') FROM repmgr.nodes n"
_PASSWORD = re.compile(r"(\bpassword\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)")

Json = t.Dict[str, t.Any]
Run = t.Callable[[t.Sequence[str]], t.Tuple[int, str, str]]


class Local(t.NamedTuple):
    """The node's own server: whether it is a standby, the host it streams from, who streams from it, and its copy of repmgr's metadata."""

    in_recovery: bool
    upstream_host: t.Optional[str]
    standbys: t.List[str]
    records: t.List[Json]

    def record(self, name: str) -> t.Optional[Json]:
        """The record of a node, None where it has none."""
        return next((one for one in self.records if one["node_name"] == name), None)

    def name_at(self, host: t.Optional[str]) -> t.Optional[str]:
        """The registered node with this name or address, None where it is nobody's."""
        for one in self.records:
            place = parse_conninfo(one["conninfo"])
            if host and host in (one["node_name"], place.get("host"), place.get("hostaddr")):
                return str(one["node_name"])
        return None


def read_local(options: t.Mapping[str, t.Any]) -> Local:
    """Ask through the unix socket; raises SessionError."""
    limit = options["request_timeout_seconds"]
    info = conninfo(
        host=options["socket_directory"],
        port=options["port"],
        dbname=options["database"],
        user=options["user"],
        application_name="escala-repmgr",
    )
    session = Session(info, limit)
    try:
        found = json.loads(session.execute(_LOCAL, limit_seconds=limit).rows[0][0] or "{}")
        records = session.execute(_NODES, limit_seconds=limit).rows[0][0] if found["has_metadata"] else None
    finally:
        session.close()
    return Local(found["in_recovery"], found["upstream_host"], found["standbys"], json.loads(records or "[]"))


def as_postgres(config_file: str, *words: str) -> t.List[str]:
    """The command that runs repmgr as the user of the server, with an end to it; no secret is in it."""
    # libpq looks for files in the home of HOME, which must not be that of root; without a language all texts are English.
    drop = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--reset-env", "--"]
    return ["timeout", "--kill-after=5", str(_TOOL_SECONDS), *drop, "repmgr", f"--config-file={config_file}", *words]


def parse_config(text: str) -> t.Dict[str, str]:
    """repmgr.conf by its keys; raises ValueError that names a line that is none."""
    found = {}
    for line in text.splitlines():
        words = line.strip()
        if not words or words.startswith("#"):
            continue
        key, equals, value = words.partition("=")
        if not equals:
            raise ValueError(f"{line!r} is no line of repmgr.conf")
        value = value.strip()
        quoted = re.fullmatch(r"'((?:[^']|'')*)'\s*(?:#.*)?", value)
        found[key.strip()] = quoted[1].replace("''", "'") if quoted else value.partition("#")[0].strip()
    return found


def parse_conninfo(text: str) -> t.Dict[str, str]:
    """A connection string by its keys; what is no pair is left out."""
    try:
        pairs = [word.partition("=") for word in shlex.split(re.sub(r"\s*=\s*", "=", text))]
    except ValueError:
        return {}
    return {key: value for key, equals, value in pairs if equals}


def without_password(text: str) -> str:
    """A connection string that may be shown."""
    return _PASSWORD.sub(r"\1********", text)


def parse_cluster_show(text: str) -> t.Dict[int, t.Tuple[bool, t.Optional[bool]]]:
    """What `repmgr cluster show --csv` prints: whether a node answers and, where that is known, whether it is in recovery, by its id.

    Raises ValueError for a line that is none.
    """
    found: t.Dict[int, t.Tuple[bool, t.Optional[bool]]] = {}
    for line in text.split():
        numbers = [int(word) for word in line.split(",")]
        if len(numbers) != 3:
            raise ValueError(f"{line!r} is no line of `repmgr cluster show --csv`")
        number, connection, recovery = numbers
        found[number] = (connection == 0, None if recovery < 0 else recovery == 1)
    return found


def parse_node_check(text: str) -> t.List[Json]:
    """What `repmgr node check --csv` prints: the checks with their status and what it says beside it.

    repmgr quotes every field and escapes no quote inside one, so this is not read as CSV.
    """
    found = []
    for line in text.splitlines():
        words = line.strip()[1:-1].split('","')
        if len(words) >= 2 and words[0] not in ("Node name", "Node ID"):
            found.append({"name": words[0], "status": words[1], "detail": ", ".join(words[2:])})
    return found


def attempt_local(options: t.Mapping[str, t.Any]) -> t.Tuple[t.Optional[Local], t.Optional[str]]:
    """The node's own server, or why it said nothing."""
    try:
        return read_local(options), None
    except SessionError as error:
        return None, f"PostgreSQL does not answer through {options['socket_directory']}: {error}"
