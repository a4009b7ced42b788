# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a MinIO cluster may be, and what a node's disks say that it is already."""

from __future__ import annotations

import collections
import json
import os
import typing as t

# MinIO's largest erasure set. Below it all drives are one set, in the order in which they are named.
MOST_DRIVES = 16
_SHORTEST_PASSWORD = 8
_ALL_AT_ONCE = "run it for all nodes at once"

Volume = t.Dict[str, t.Any]
Seen = t.Mapping[str, t.Mapping[str, t.Any]]


class Wish(t.NamedTuple):
    """The cluster that is asked for; `parity` 0 leaves it to MinIO."""

    host: str
    nodes: t.Sequence[t.Mapping[str, str]]
    volumes: t.Sequence[str]
    parity: int
    password_length: int

    @property
    def names(self) -> t.List[str]:
        return [node["name"] for node in self.nodes]

    @property
    def drives(self) -> int:
        return len(self.nodes) * len(self.volumes)


def default_parity(drives: int) -> int:
    """How many drives of so many MinIO can lose without losing anything, where nothing is said."""
    for at_least, parity in ((8, 4), (6, 3), (4, 2), (2, 1)):
        if drives >= at_least:
            return parity
    return 0


def write_quorum(drives: int, parity: int) -> int:
    """How many drives must take a write: one more than hold the data, where two halves could each take another."""
    data = drives - parity
    return data + 1 if data == parity else data


def refusals(wish: Wish, seen: Seen) -> t.List[str]:
    """Why MinIO must not become this; `seen` has what minio_node_info found on each node that is in this run."""
    of_the_plan = list(_of_the_plan(wish))
    return of_the_plan or list(_of_the_disks(wish, seen))


def _of_the_plan(wish: Wish) -> t.Iterator[str]:
    nodes, volumes = len(wish.nodes), len(wish.volumes)
    for what, values in (("names", wish.names), ("addresses", [node["address"] for node in wish.nodes])):
        twice = [value for value, count in collections.Counter(values).items() if count > 1]
        if twice:
            yield f"minio_nodes has the {what} {', '.join(twice)} twice; name each node once"
    if wish.host not in wish.names:
        yield f"minio_nodes names {', '.join(wish.names) or 'nobody'}, and not {wish.host}; add it there or take it out of the play"
    if nodes == 2:
        yield "minio_nodes has 2 nodes: with one off the other would take no writes; name 1 node, or 4 and more"
    elif nodes == 3:
        yield "minio_nodes has 3 nodes: with one off nothing would be left over for a bad disk; name 1 node, or 4 and more"
    if not volumes:
        yield "minio_volumes is empty; name at least one folder"
    elif wish.drives > MOST_DRIVES:
        yield (
            f"{nodes} nodes with {volumes} of minio_volumes each are {wish.drives} drives, and the limit is {MOST_DRIVES}, one erasure set;"
            " name fewer"
        )
    elif nodes >= 4:
        yield from _of_the_parity(wish)
    if wish.password_length < _SHORTEST_PASSWORD:
        yield (
            f"minio_root_password has {wish.password_length} characters, and MinIO takes {_SHORTEST_PASSWORD} at least; make it longer"
        )


def _of_the_parity(wish: Wish) -> t.Iterator[str]:
    parity, lost = wish.parity or default_parity(wish.drives), len(wish.volumes)
    told = f"minio_parity is {parity} of {wish.drives} drives"
    if parity > wish.drives // 2:
        yield f"{told}, and the limit is half of them; set it to {wish.drives // 2} at most"
    elif wish.drives - lost < write_quorum(wish.drives, parity):
        yield (
            f"{told}, and a node that is off takes {lost}: the {wish.drives - lost} that are left would take no writes, which need"
            f" {write_quorum(wish.drives, parity)}; set minio_parity to {lost} or more, or leave it to its default"
        )


def _of_the_disks(wish: Wish, seen: Seen) -> t.Iterator[str]:
    here = seen.get(wish.host, {}).get("volumes", {})
    for path in wish.volumes:
        volume = here.get(path)
        if volume is None:
            yield f"{wish.host}: nothing is known of {path}; this is a fault of ours, please report it"
            continue
        if not volume["own_file_system"]:
            yield (
                f"{wish.host}: {path} is on the root file system: uploads that fill it would take the host down, and a disk that is not"
                " mounted would be taken for an empty one. Mount a disk of its own there, or name another folder in minio_volumes"
            )
        if volume["foreign"]:
            yield (
                f"{wish.host}: {path} holds what is not MinIO's: {', '.join(volume['foreign'])}. Move it away, or name an empty folder in"
                " minio_volumes"
            )
        yield from _of_the_pool(wish, path, volume)
    yield from _of_two_pools(seen)


def _of_the_pool(wish: Wish, path: str, volume: Volume) -> t.Iterator[str]:
    if volume["problem"]:
        yield f"{wish.host}: {path}/{FORMAT} cannot be read: {volume['problem']}. Bring the disk back from a backup, or empty it for MinIO to heal"
    if not volume["deployment"]:
        return
    told = f"{wish.host}: {path} is drive {volume['position'] + 1} of {volume['drives']} of a pool that has data"
    place = wish.names.index(wish.host) * len(wish.volumes) + list(wish.volumes).index(path)
    if volume["drives"] != wish.drives:
        yield (
            f"{told}, and minio_nodes and minio_volumes now name {wish.drives} drives. A pool keeps its size: put back what was taken out or"
            " added. To have another size, make a second platform and copy the buckets"
        )
    elif volume["position"] != place:
        yield (
            f"{told}, and would become drive {place + 1}, which MinIO refuses to use. Put minio_nodes and minio_volumes back in the order"
            " that they had; a host that replaces another takes its place in the list"
        )


def _of_two_pools(seen: Seen) -> t.Iterator[str]:
    pools: t.Dict[str, t.List[str]] = {}
    for name, node in seen.items():
        for path, volume in node.get("volumes", {}).items():
            if volume["deployment"]:
                pools.setdefault(volume["deployment"], []).append(f"{name}:{path}")
    if len(pools) > 1:
        said = "; ".join(f"{', '.join(drives)} of {deployment}" for deployment, drives in sorted(pools.items()))
        yield f"the disks are of different pools: {said}. Give MinIO those of one pool, and empty ones beside them"


FORMAT = ".minio.sys/format.json"
_NOBODYS = ("lost+found",)


def observed(path: str, root: str = "/") -> Volume:
    """What is at the path: on whose file system, what does not belong to MinIO, and of which pool it is."""
    try:
        found = sorted(name for name in os.listdir(path) if name not in _NOBODYS)
    except OSError:
        found = []
    made = os.path.exists(os.path.join(path, FORMAT))
    return {
        "own_file_system": os.stat(_nearest(path)).st_dev != os.stat(root).st_dev,
        # Beside its own folder MinIO has one for each bucket: they are only told from others' files before it has begun.
        "foreign": [] if made else [name for name in found if name != ".minio.sys"][:5],
        **(_pool(path) if made else _no_pool("")),
    }


def _nearest(path: str) -> str:
    while not os.path.exists(path):
        path = os.path.dirname(path) or "/"
    return path


def _no_pool(problem: str) -> Volume:
    return {"deployment": "", "drives": 0, "position": 0, "problem": problem}


def _pool(path: str) -> Volume:
    try:
        with open(os.path.join(path, FORMAT), encoding="utf-8") as file:
            said = json.load(file)
        drives = [drive for drives in said["xl"]["sets"] for drive in drives]
        return {
            "deployment": str(said["id"]),
            "drives": len(drives),
            "position": drives.index(said["xl"]["this"]),
            "problem": "",
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        return _no_pool(f"{type(error).__name__}: {error}")
