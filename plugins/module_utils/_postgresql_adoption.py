# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server that somebody else made may become the first node of a cluster: with its data as they are, and whatever would not go on named before."""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._stored_passwords import other_passwords

Json = t.Mapping[str, t.Any]

QUERY = r"""
select json_build_object(
  'version', current_setting('server_version_num')::int / 10000,
  'in_recovery', pg_is_in_recovery(),
  'port', current_setting('port')::int,
  'data_directory', current_setting('data_directory'),
  'configuration_file', current_setting('config_file'),
  'wal_level', current_setting('wal_level'),
  'timezone', current_setting('TimeZone'),
  'checksums', current_setting('data_checksums')::bool,
  'altered', (select coalesce(json_agg(distinct name), '[]') from pg_file_settings where sourcefile ~ '/postgresql\.auto\.conf$'),
  'libraries', (select coalesce(json_agg(one), '[]') from regexp_split_to_table(current_setting('shared_preload_libraries'), '\s*,\s*') as one
                where one <> ''),
  'archives', case when current_setting('archive_mode') = 'off' then ''
              else coalesce(nullif(current_setting('archive_command'), ''), current_setting('archive_library'), '') end,
  'tablespaces', (select coalesce(json_agg(spcname), '[]') from pg_tablespace where spcname not in ('pg_default', 'pg_global')),
  'databases', (select coalesce(json_object_agg(datname, pg_get_userbyid(datdba)), '{}') from pg_database where not datistemplate and datallowconn),
  'slots', (select coalesce(json_agg(slot_name), '[]') from pg_replication_slots),
  'sessions', (select coalesce(json_agg(json_build_object('user', usename, 'database', coalesce(datname, 'replication'), 'application', application_name,
                                                          'address', host(client_addr), 'tls', coalesce(ssl, false)) order by pid), '[]')
               from pg_stat_activity left join pg_stat_ssl using (pid)
               where backend_type in ('client backend', 'walsender') and pid <> pg_backend_pid()),
  'logins', (select coalesce(json_agg(rolname order by rolname), '[]') from pg_roles where rolcanlogin),
  'stored', (select coalesce(json_agg(json_build_object('name', rolname, 'stored', coalesce(rolpassword, ''))), '[]') from pg_authid),
  'settings', (select coalesce(json_object_agg(lower(name), current_setting(name)), '{}') from pg_settings where source = 'configuration file'))
"""
# Asked in every database: what is in them a standby never has, and a start as a standby empties them.
UNLOGGED = """
select coalesce(json_agg(oid::regclass::text order by oid::regclass::text), '[]') from pg_class where relpersistence = 'u' and relkind in ('r', 'p')
"""
# Where things are, and what the database is in, is as before or is said by the role itself.
_PLACES = ("config_file", "data_directory", "hba_file", "ident_file", "external_pid_file", "unix_socket_directories")
# Who looks after it, through the socket.
_ADMINISTRATORS = ("postgres", "escala_guard")
_UTC = ("etc/utc", "utc", "gmt", "etc/gmt")


class Host(t.NamedTuple):
    """What the server does not say of itself.

    `in_unit`: it runs in Debian's own unit, which the guard stops and starts. `is_moved`: its data directory is a link or a mount point, which cannot be
    renamed when a fresh copy takes its place. `unlogged`: the unlogged tables of each database.
    """

    in_unit: bool
    is_moved: bool
    unlogged: t.Mapping[str, t.Sequence[str]]


class Wish(t.NamedTuple):
    """What the server is to be as a node: by the inventory, and as the roles have it.

    `accounts` have a name, a password, the databases that they enter and the addresses or networks from which; `settings` are all that the role sets;
    `owners` are the databases'. `checksums`: whether its pages must have them.
    """

    version: int
    port: int
    data_directory: str
    configuration_file: str
    owners: t.Mapping[str, str]
    accounts: t.Sequence[Json]
    settings: Json
    checksums: bool = True
    sessions_may_end: bool = False


def refusals(seen: Json, host: Host, wish: Wish) -> t.List[str]:
    """Why it may not become one, each with the next step; none where it may."""
    return [
        *_not_this_server(seen, host, wish),
        *_set_otherwise(seen, wish),
        *_left_behind(seen, host, wish),
        *_shut_out(seen, wish),
    ]


def notes(seen: Json, wish: Wish) -> t.List[str]:
    """What is otherwise afterwards, and hinders nothing."""
    before = {name: value for name, value in seen["settings"].items() if name not in _PLACES}
    ours = {name.lower(): _text(value) for name, value in wish.settings.items()}
    ends = [f"{name} = {value or repr('')}" for name, value in sorted(before.items()) if name not in ours]
    changes = [
        f"{name} from {value} to {ours[name]}"
        for name, value in sorted(before.items())
        if ours.get(name, value) != value
    ]
    entered = {database for one in wish.accounts for database in one["databases"]}
    known = {*(one["name"] for one in wish.accounts), *_ADMINISTRATORS}
    said = {
        "Settings of its files end, and postgresql_settings may have them again": ends,
        "Settings of its files change, and postgresql_settings may keep them": changes,
        "Nobody may enter the databases any more, since no account of the inventory does": sorted(
            set(seen["databases"]) - entered - {"postgres"}
        ),
        "No account of the inventory are, and log in from nowhere": [
            name for name in seen["logins"] if name not in known
        ],
    }
    return [f"{what}: {', '.join(names)}" for what, names in said.items() if names]


def _not_this_server(seen: Json, host: Host, wish: Wish) -> t.Iterator[str]:
    if seen["in_recovery"]:
        yield "it is a standby: name its primary"
    if seen["version"] != wish.version:
        yield f"it is PostgreSQL {seen['version']}, and postgresql_version {wish.version}: set that to {seen['version']}"
    if seen["port"] != wish.port:
        yield f"it listens on port {seen['port']}, and postgresql_port is {wish.port}: set that to {seen['port']}"
    for what in ("data_directory", "configuration_file"):
        if seen[what] != getattr(wish, what):
            yield (
                f"its {what} is {seen[what]}, and must be where Debian has it, {getattr(wish, what)}: move it there, or have its data carried by"
                " migrate_database.yml"
            )
    if host.is_moved:
        yield f"{seen['data_directory']} is a link or a mount point, and a fresh copy could not take its place: mount the folder above it instead"
    if not host.in_unit:
        yield (
            f"it does not run in the unit postgresql@{wish.version}-main: end whatever runs it instead, so that nothing starts it again, and start that unit"
        )
    if wish.checksums and not seen["checksums"]:
        yield (
            "its data has no checksums, by which damage is noticed, and neither would its copies: pg_checksums --enable, for which it must be stopped, or"
            " postgresql_checksums: false for all nodes"
        )
    if seen["wal_level"] == "minimal":
        yield "its wal_level is minimal, and what was written so starts as no standby: set it to replica there, and restart it once"


def _set_otherwise(seen: Json, wish: Wish) -> t.Iterator[str]:
    if seen["altered"]:
        yield (
            f"ALTER SYSTEM has set {_names(seen['altered'])}, which would count more than the inventory: put into postgresql_settings what is to stay,"
            " and ALTER SYSTEM RESET ALL"
        )
    missing = set(seen["libraries"]) - {
        one.strip() for one in str(wish.settings.get("shared_preload_libraries", "")).split(",")
    }
    if missing:
        yield f"it has loaded {_names(missing)}: add that to shared_preload_libraries in postgresql_settings, and see that every node has the package"
    zone = str(wish.settings.get("timezone", ""))
    if seen["timezone"].lower() != zone.lower() and {seen["timezone"].lower(), zone.lower()} - set(_UTC):
        yield (
            f"its timezone is {seen['timezone']}, and would be {zone}, which changes what now() writes into columns without one: put it into"
            " postgresql_settings, or change it there first"
        )
    if seen["archives"] and not wish.settings.get("archive_command"):
        yield (
            f"it archives its WAL by {seen['archives']!r}, which would end: name a host in backup_servers (docs/backup.md), or put archive_mode and"
            " archive_command into postgresql_settings"
        )


def _left_behind(seen: Json, host: Host, wish: Wish) -> t.Iterator[str]:
    unlogged = [f"{table} in {database}" for database, tables in host.unlogged.items() for table in tables]
    if unlogged:
        yield f"unlogged tables are emptied by every failover, and by this: {_names(unlogged)}. ALTER TABLE ... SET LOGGED, or drop them"
    if seen["tablespaces"]:
        yield f"it has the tablespaces {_names(seen['tablespaces'])}: a copy has no place for them. Move what is in them to pg_default"
    if seen["slots"]:
        yield f"it has the replication slots {_names(seen['slots'])}, which no standby would have: drop them, and whoever reads them follows the cluster"
    for database, owner in wish.owners.items():
        if database not in seen["databases"]:
            yield f"it has no database {database}, which is the application's"
        elif seen["databases"][database] != owner:
            yield (
                f"its database {database} belongs to {seen['databases'][database]}, and would be {owner}'s: ALTER DATABASE {database} OWNER TO {owner}"
            )


def _shut_out(seen: Json, wish: Wish) -> t.Iterator[str]:
    wrong = other_passwords([one for one in wish.accounts if one["name"] in seen["logins"]], seen["stored"])
    if wrong:
        yield f"it knows {_names(wrong)} with another password than the inventory has: put the server's there, for clients would be locked out otherwise"
    others = sorted({_told(one) for one in seen["sessions"] if not _may_enter(one, wish)})
    if others and not wish.sessions_may_end:
        yield (
            f"who is connected would be shut out: {', '.join(others)}. Only the inventory's accounts enter, from its hosts and by TLS: end these, or run"
            " with adopt_database_sessions_may_end=true"
        )


def _may_enter(session: Json, wish: Wish) -> bool:
    if session["address"] is None:
        return session["user"] in _ADMINISTRATORS
    address = ipaddress.ip_address(session["address"])
    return bool(session["tls"]) and any(
        session["user"] == one["name"]
        and session["database"] in one["databases"]
        and any(address in ipaddress.ip_network(network, strict=False) for network in one["addresses"])
        for one in wish.accounts
    )


def _told(session: Json) -> str:
    place = session["address"] or "its own socket"
    without = " without TLS" if session["address"] and not session["tls"] else ""
    return f"{session['user']} of {session['application'] or 'no name'} in {session['database']} from {place}{without}"


def _text(value: t.Any) -> str:
    return ("off", "on")[value] if isinstance(value, bool) else str(value)


def _names(names: t.Iterable[str]) -> str:
    return ", ".join(sorted(names))
