# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which major version of PostgreSQL the data nodes have: what is asked for, or what their distribution has itself."""

from __future__ import annotations

import typing as t

# By a distribution's name as preflight_info gives it.
PACKAGED = {"Debian 12": 15, "Debian 13": 17, "Ubuntu 24.04": 16}
# From 15 on a server says what it would not understand in pg_ident.conf, and pg_rewind takes the place of its configuration. Up to 18 the guard knows
# where in pg_control things are.
SUPPORTED = (15, 16, 17, 18)


class VersionError(ValueError):
    """The data nodes cannot have one version, or nobody knows which."""


class Node(t.NamedTuple):
    """A data node: the version that is asked for on it, and its distribution; None and nothing where that is not known."""

    name: str
    wanted: t.Optional[int]
    system: str = ""

    @property
    def version(self) -> t.Optional[int]:
        return PACKAGED.get(self.system) if self.wanted is None else self.wanted


def system_of(facts: t.Mapping[str, t.Any]) -> str:
    """A host's distribution by its facts, as PACKAGED calls it; nothing where they do not say."""
    name, release = (str(facts.get(key) or "") for key in ("distribution", "distribution_version"))
    # Debian counts its point releases behind the version, and Ubuntu has the month there.
    number = release if name == "Ubuntu" else str(facts.get("distribution_major_version") or release)
    return f"{name} {number}".strip()


def agreed(nodes: t.Iterable[Node]) -> int:
    """The one version of all nodes of which one is known; a node that is away, and on which none is asked for, has no say. Raises VersionError."""
    known: t.Dict[int, t.List[Node]] = {}
    unknown = []
    for node in nodes:
        if node.version is None:
            unknown.append(node)
        else:
            known.setdefault(node.version, []).append(node)
    if len(known) > 1:
        each = "; ".join(f"{version} on {_told(of)}" for version, of in known.items())
        raise VersionError(
            f"the data nodes would have different versions of PostgreSQL, and none could be a standby of another: {each}."
            " Set postgresql_version to one for all, with postgresql_install_from: pgdg where the distribution has another"
        )
    if not known:
        raise VersionError(
            f"postgresql_version is not set, and which one the distribution has is known of no data node: {_told(unknown)}; set it"
        )
    return next(iter(known))


def _told(nodes: t.Iterable[Node]) -> str:
    return ", ".join(f"{node.name} ({node.system or 'not seen'})" for node in nodes) or "there is none"
