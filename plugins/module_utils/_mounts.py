# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is mounted where, as the kernel tells it. Nobody touches the mounted path for that, which would wait for a server that is away."""

from __future__ import annotations

import re
import typing as t

_ESCAPED = re.compile(r"\\([0-7]{3})")


class Mount(t.NamedTuple):
    """One mount; `options` are those of the mount and of its file system together."""

    type: str
    source: str
    options: t.Tuple[str, ...]


def mounts_at(mountinfo: str, path: str) -> t.List[Mount]:
    """What is mounted at the path, the one that is seen last, out of the text of /proc/self/mountinfo."""
    found = []
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields, behind = before.split(), after.split(maxsplit=2)
        if not separator or len(fields) < 6 or len(behind) < 3:
            raise ValueError(f"this is no line of mountinfo: {line!r}")
        if _plain(fields[4]) == path:
            options = dict.fromkeys(fields[5].split(",") + behind[2].split(","))
            found.append(Mount(behind[0], _plain(behind[1]), tuple(map(_plain, options))))
    return found


def differences(mounts: t.Sequence[Mount], source: str, options: t.Iterable[str]) -> t.List[str]:
    """In what the file system that is mounted is not the one that should be. An automount that waits is not one, and nothing mounted differs in nothing."""
    mounted = [mount for mount in mounts if mount.type != "autofs"]
    if not mounted:
        return []
    seen = mounted[-1]
    found = [] if seen.source == source else [f"{seen.source} is mounted there and not {source}"]
    found += [f"it is mounted without {option}" for option in options if option not in seen.options]
    if len(mounted) > 1:
        found.append(f"{len(mounted)} file systems are mounted there, one over the other")
    return found


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), text)
