# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the kernel's NFS server runs with what its configuration says."""

from __future__ import annotations

import typing as t


def differences(shown: str, wanted: t.Mapping[str, t.Any]) -> t.List[str]:
    """In what the files of /proc/fs/nfsd, as `grep --with-filename` shows them, are not what is wanted of each."""
    said = dict(line.partition(":")[::2] for line in shown.splitlines())
    absent = sorted(set(wanted) - set(said))
    if absent:
        raise ValueError(f"the kernel's answer lacks {', '.join(absent)}")
    return [
        f"{name} is {said[name]} and should be {value}"
        for name, value in wanted.items()
        if said[name].split() != str(value).split()
    ]
