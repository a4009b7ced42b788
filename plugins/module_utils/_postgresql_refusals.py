# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running cluster cannot become, or not for some of its nodes: found before anything is changed, since each would be felt much later."""

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._postgresql_cluster import least, primary, unseen
from ansible_collections.escala.ha.plugins.module_utils._postgresql_settings import rising
from ansible_collections.escala.ha.plugins.module_utils._postgresql_version import SUPPORTED

Nodes = t.Mapping[str, t.Mapping[str, t.Any]]
_ALL_AT_ONCE = (
    "Run on all data nodes at once, without --limit; one that is gone for ever is taken out of the inventory first"
)


class Wish(t.NamedTuple):
    """What a node is to have: the major version, its settings, and the lines of its password file, beside those that it has now.

    `adopts`: data that somebody else made is what the cluster begins with.
    """

    version: str
    settings: t.Mapping[str, t.Any]
    passwords: t.Sequence[str]
    passwords_before: t.Sequence[str]
    adopts: bool = False


def refusals(nodes: Nodes, wish: Wish) -> t.List[str]:
    """Why a node may not have what it is to have, one reason for each thing; none where it may.

    `nodes` are all data nodes by name, with an empty dictionary for one that is not in this run. Raises ClusterError for two writable nodes,
    and ValueError for a setting that is no number.
    """
    return [
        *_of_an_unknown_version(wish),
        *_of_another_version(nodes, wish),
        *_of_somebody_else(nodes, wish),
        *_sorted_otherwise(nodes),
        *_rising_for_some(nodes, wish),
        *_with_other_passwords(nodes, wish),
    ]


def _of_an_unknown_version(wish: Wish) -> t.Iterator[str]:
    """What a server of another version has in its files and says of itself, the guard might read wrongly."""
    known = [str(version) for version in SUPPORTED]
    if wish.version not in known:
        yield f"postgresql_version is {wish.version}, and only {', '.join(known)} are known here: choose one of them"


def _of_another_version(nodes: Nodes, wish: Wish) -> t.Iterator[str]:
    """Data of another version would be left behind without a guard, and an empty cluster begun beside it."""
    places: t.Dict[t.Tuple[str, str], t.List[str]] = {}
    for name, seen in nodes.items():
        for directory, version in (seen.get("versions") or {}).items():
            places.setdefault((version, directory), []).append(name)
    others = {place: names for place, names in places.items() if place[0] != wish.version}
    if not others:
        return
    told = "; ".join(
        f"{_several(names, 'has', 'have')} data of version {version} in {directory}"
        for (version, directory), names in others.items()
    )
    if len(others) == len(places):
        versions = " or ".join(dict.fromkeys(version for version, _directory in others))
        remedy = f"This playbook does no major upgrade: set postgresql_version back to {versions}, or move away what nobody uses"
    else:
        remedy = "A data node has one cluster: set postgresql_version to that of the one in use, and move the other one's folder away"
    yield f"{told}, and postgresql_version is {wish.version}. {remedy}"


def _of_somebody_else(nodes: Nodes, wish: Wish) -> t.Iterator[str]:
    """Whoever put it there would find another configuration, other accounts and a restart that nobody announced."""
    names = [name for name, seen in nodes.items() if seen.get("foreign")]
    if names and not wish.adopts:
        yield (
            f"{_several(names, 'has', 'have')} a PostgreSQL that this collection did not make. adopt_database.yml has an old server become the first node"
            " of a cluster; move away data and configuration that nobody uses"
        )


def _sorted_otherwise(nodes: Nodes) -> t.Iterator[str]:
    """A standby is a copy of the files. Its indexes are wrong where its library sorts otherwise, and nothing says so; without the locale nobody gets in."""
    having, new = _with_data(nodes), [name for name, seen in nodes.items() if seen.get("data") is False]
    collations = sorted({name for seen in having for name in seen.get("collations") or ()})
    libraries = sorted({seen["library"] for seen in having if seen.get("library")})
    others = [
        f"{name} has {nodes[name]['library']}" for name in new if nodes[name].get("library") not in (None, *libraries)
    ]
    if collations and libraries and others:
        yield (
            f"databases sort by {', '.join(collations)} of {' and '.join(libraries)}, and {', '.join(others)}: a copy would have wrong indexes there."
            " Take hosts of the same release, or have the data carried by migrate_database.yml, which builds them anew"
        )
    needed = sorted({name for seen in having for name in seen.get("locales") or ()})
    for name in new:
        available = {_plain(one) for one in nodes[name].get("available_locales") or ()}
        missing = [one for one in needed if _plain(one) not in available]
        if missing and available:
            yield f"{name} lacks the locale {', '.join(missing)} of the databases, and would let nobody in: generate it there (package locales)"


def _plain(locale: str) -> str:
    """`locale -a` writes them otherwise than they are named."""
    return locale.lower().replace("-", "")


def _with_data(nodes: Nodes) -> t.List[t.Mapping[str, t.Any]]:
    return [seen for seen in nodes.values() if seen.get("data")]


def _rising_for_some(nodes: Nodes, wish: Wish) -> t.Iterator[str]:
    """A node that has less than its primary follows it no more, and everything looks well until it is needed."""
    away, before = unseen(nodes), least(nodes)
    for name, value in rising(wish.settings, before).items() if away else ():
        yield (
            f"{name} is to rise from {before[name]} to {value}, and {_several(away, 'is', 'are')} not in this run: a standby with less than"
            f" its primary stops its replay, and is neither promoted nor started. {_ALL_AT_ONCE}"
        )


def _with_other_passwords(nodes: Nodes, wish: Wish) -> t.Iterator[str]:
    """A node and a primary that do not have the same passwords go on until one connects to the other, and then never again."""
    # One that is only to become a node has entered no other.
    if wish.adopts or not _with_data(nodes) or set(wish.passwords) <= set(wish.passwords_before):
        return
    told, away = "the passwords by which nodes enter each other are to change", unseen(nodes)
    # Where there was no file at all, a node that is made anew gets the passwords that the others have.
    if away and (wish.passwords_before or primary(nodes) is None):
        yield (
            f"{told}, and {_several(away, 'is', 'are')} not in this run: whoever has others than the primary can neither stream from it nor"
            f" copy it. {_ALL_AT_ONCE}"
        )
    elif primary(nodes) is None:
        yield (
            f"{told}, and no node is primary now, which must have them before the others do: see escala-pg-guard status, and run again when"
            " there is one"
        )


def _several(names: t.Sequence[str], one: str, more: str) -> str:
    return f"{', '.join(names)} {one if len(names) == 1 else more}"
