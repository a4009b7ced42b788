# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role pg_guard wrote for the guard of a node."""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import Rules
from ansible_collections.escala.ha.plugins.module_utils._pg_peers import Identity

PATH = "/etc/escala/pg-guard.json"
MEMORY_DIRECTORY = "/var/lib/escala-pg-guard"
CONTROL_SOCKET = "/run/escala-pg-guard/control.sock"


class Timings(t.NamedTuple):
    """In seconds, by the monotonic clock."""

    heartbeat_seconds: float = 0.4
    request_timeout_seconds: float = 1.0
    primary_silent_seconds: float = 2.5
    primary_fresh_seconds: float = 2.0
    alone_seconds: float = 4.0
    hung_seconds: float = 3.0
    stand_delay_seconds: float = 1.0
    tick_seconds: float = 0.2
    probe_seconds: float = 1.0


class PostgreSQL(t.NamedTuple):
    """The cluster in Debian's layout, and how standbys enter their primary."""

    version: int
    cluster: str
    port: int
    data_directory: str
    configuration_file: str
    binaries: str
    unit: str
    user: str
    socket_directory: str
    guard_role: str
    replication_user: str
    password_file: str
    ca_file: str


class Config(t.NamedTuple):
    """Everything the daemon is told. A witness has no PostgreSQL; addresses are by the nodes' names, in the order in which they stand."""

    node: str
    data_nodes: t.Dict[str, str]
    witnesses: t.Dict[str, str]
    listen_address: str
    port: int
    identity: Identity
    timings: Timings
    postgresql: t.Optional[PostgreSQL]
    automatic: bool
    continue_alone: bool
    catalogue_database: t.Optional[str]
    # Of others than standbys, such as what receives WAL for an archive: a new primary has them before anybody asks.
    extra_slots: t.Sequence[str] = ()
    # Where this node's Patroni listens, which decides then, and the guard only says what it sees; None where the guard decides.
    port_of_patroni: t.Optional[int] = None

    @property
    def addresses(self) -> t.Dict[str, str]:
        return {**self.data_nodes, **self.witnesses}

    @property
    def peers(self) -> t.Dict[str, str]:
        """The addresses of all others."""
        return {name: address for name, address in self.addresses.items() if name != self.node}

    @property
    def here(self) -> PostgreSQL:
        """The node's PostgreSQL; raises ValueError on a witness."""
        if self.postgresql is None:
            raise ValueError(f"{self.node} is a witness and has no PostgreSQL")
        return self.postgresql


def config_from(text: str) -> Config:
    """The configuration in JSON; raises ValueError that says what is wrong with it."""
    values = known(Config, "the configuration", json.loads(text))
    postgresql = values["postgresql"]
    config = Config(
        **{
            **values,
            "identity": Identity(**known(Identity, "identity", values["identity"])),
            "timings": Timings(**known(Timings, "timings", values["timings"])),
            "postgresql": postgresql and PostgreSQL(**known(PostgreSQL, "postgresql", postgresql)),
        }
    )
    if config.node not in config.addresses:
        raise ValueError(f"{config.node} is neither among the data nodes nor among the witnesses")
    if (config.node in config.data_nodes) != (config.postgresql is not None):
        raise ValueError(f"{config.node} must have PostgreSQL exactly when it is a data node")
    if set(config.data_nodes) & set(config.witnesses):
        raise ValueError("a node is either a data node or a witness")
    slots = [slot_name(node) for node in config.data_nodes]
    if len(set(slots)) != len(slots):
        raise ValueError(f"two nodes would share a replication slot: {', '.join(slots)}")
    if set(slots) & set(config.extra_slots):
        raise ValueError(
            f"extra_slots has a node's own slot: {', '.join(sorted(set(slots) & set(config.extra_slots)))}"
        )
    return config


def read_config(path: str = "") -> Config:
    """Raises OSError and ValueError."""
    with open(path or os.environ.get("ESCALA_PG_GUARD_CONFIG", PATH), encoding="utf-8") as file:
        return config_from(file.read())


def rules_of(config: Config) -> Rules:
    """The rules that all nodes of this configuration share."""
    timings = config.timings
    return Rules(
        nodes=tuple(config.data_nodes),
        witnesses=tuple(config.witnesses),
        automatic=config.automatic,
        fresh_seconds=timings.primary_fresh_seconds,
        silent_seconds=timings.primary_silent_seconds,
        alone_seconds=timings.alone_seconds,
        hung_seconds=timings.hung_seconds,
        stand_delay_seconds=timings.stand_delay_seconds,
    )


def slot_name(node: str) -> str:
    """The name of a node's replication slot, which takes neither dashes nor capitals."""
    return node.lower().replace("-", "_").replace(".", "_")


def known(kind: t.Any, name: str, values: t.Any) -> t.Dict[str, t.Any]:
    """The values of a NamedTuple's fields from an object in JSON; raises ValueError where one is missing that has no default.

    Keys that this version does not know are left out: an update brings the code and its configuration one after the other, and what is started in
    between must run. For the same reason a field that is added later has a default.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{name} must be an object")
    missing = [field for field in kind._fields if field not in values and field not in kind._field_defaults]
    if missing:
        raise ValueError(f"{name} lacks {', '.join(missing)}")
    return {key: value for key, value in values.items() if key in kind._fields}
