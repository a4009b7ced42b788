# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may enter a database from where, and with what: the rules of pg_hba.conf from accounts and addresses, the lines of a password file."""

from __future__ import annotations

import typing as t

try:
    import netaddr
except ImportError:  # The filter says so.
    HAS_NETADDR = False
else:
    HAS_NETADDR = True


class Rule(t.NamedTuple):
    """One line: who may enter which database from which network."""

    database: str
    user: str
    network: str

    def __str__(self) -> str:
        return f"hostssl {self.database:<12} {self.user:<16} {self.network:<18} scram-sha-256"


def rules(accounts: t.Sequence[t.Mapping[str, t.Any]]) -> t.List[Rule]:
    """A rule for each account, database and network, and none for anybody else. Raises ValueError for what is no address.

    An account has `name`, `databases` and `addresses` (addresses or networks). Neighbouring addresses become one network.
    """
    found = []
    for account in accounts:
        networks = _merged(account["name"], account.get("addresses") or ())
        for database in account["databases"]:
            found += [Rule(_word(database), _word(account["name"]), network) for network in networks]
    return found


def password_line(account: str, password: str) -> str:
    """An account's line in a password file of libpq's, for any server and any database."""
    escaped = [part.replace("\\", "\\\\").replace(":", "\\:") for part in (account, password)]
    return f"*:*:*:{escaped[0]}:{escaped[1]}"


def _merged(account: str, addresses: t.Iterable[t.Any]) -> t.List[str]:
    networks = []
    for address in addresses:
        try:
            network = netaddr.IPNetwork(str(address))
        except (netaddr.AddrFormatError, ValueError) as error:
            raise ValueError(
                f"{account} may come from {address!r}, which is neither an address nor a network"
            ) from error
        if network.prefixlen == 0:
            raise ValueError(
                f"{account} may come from {address!r}, which is everywhere; name the networks that it comes from"
            )
        networks.append(network.cidr)
    return [str(network) for network in netaddr.cidr_merge(networks)]


def _word(name: str) -> str:
    """A name as pg_hba.conf takes it: in quotes no name is a keyword, but `replication` must stay one."""
    if not name or any(character in name for character in '"\n,'):
        raise ValueError(f"{name!r} cannot be a name in pg_hba.conf")
    return name if name == "replication" or (name.replace("_", "").isalnum() and name not in _KEYWORDS) else f'"{name}"'


_KEYWORDS = ("all", "sameuser", "samerole", "samegroup")
