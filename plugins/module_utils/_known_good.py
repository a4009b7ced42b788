# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep a copy of what a service was made of when it was last seen well, and put it back."""

from __future__ import annotations

import filecmp
import os
import shutil
import typing as t


class NothingKeptError(Exception):
    """There is no copy to go back to."""


def keep(paths: t.Sequence[str], directory: str, replace: bool, check_mode: bool = False) -> t.List[str]:
    """Copy the paths into the directory, and return those whose copy was another or none."""
    _mend(directory)
    if os.path.isdir(directory) and not replace:
        return []
    changed = [path for path in paths if not _same(path, copy_of(directory, path))]
    if changed and not check_mode:
        draft, old = f"{directory}.new", f"{directory}.old"
        _remove(draft)
        os.makedirs(draft, mode=0o700)
        for path in paths:
            _copy(path, copy_of(draft, path))
        # Killed between the two, it has its old name: the next call takes that.
        if os.path.isdir(directory):
            os.rename(directory, old)
        os.rename(draft, directory)
        _remove(old)
    return changed


def restore(paths: t.Sequence[str], directory: str, check_mode: bool = False) -> t.List[str]:
    """Put the copies back, and return the paths that were another. They count as changed now, so what runs is older than they are."""
    _mend(directory)
    if not os.path.isdir(directory):
        raise NothingKeptError(f"{directory} does not exist, so nothing was ever seen well here")
    changed = [path for path in paths if not _same(path, copy_of(directory, path))]
    if not check_mode:
        for path in changed:
            _remove(path)
            _copy(copy_of(directory, path), path)
            if os.path.lexists(path):
                os.utime(path, follow_symlinks=False)
    return changed


def copy_of(directory: str, path: str) -> str:
    return os.path.join(directory, path.lstrip("/"))


def _mend(directory: str) -> None:
    """Finish what a call that was killed had begun."""
    if not os.path.isdir(directory) and os.path.isdir(f"{directory}.old"):
        os.rename(f"{directory}.old", directory)


def _same(one: str, other: str) -> bool:
    if not os.path.lexists(one) or not os.path.lexists(other):
        return os.path.lexists(one) == os.path.lexists(other)
    if os.path.islink(one) or os.path.islink(other):
        return os.path.islink(one) and os.path.islink(other) and os.readlink(one) == os.readlink(other)
    if _facts(one) != _facts(other):
        return False
    if os.path.isdir(one):
        names = sorted(os.listdir(one))
        return names == sorted(os.listdir(other)) and all(
            _same(os.path.join(one, name), os.path.join(other, name)) for name in names
        )
    return filecmp.cmp(one, other, shallow=False)


def _facts(path: str) -> t.Tuple[int, int, int]:
    found = os.lstat(path)
    return found.st_mode, found.st_uid, found.st_gid


def _copy(source: str, destination: str) -> None:
    """A copy with the same owners and modes; nothing where the source is not there."""
    if not os.path.lexists(source):
        return
    os.makedirs(os.path.dirname(destination), mode=0o755, exist_ok=True)
    if os.path.isdir(source) and not os.path.islink(source):
        os.makedirs(destination, mode=0o700)
        for name in os.listdir(source):
            _copy(os.path.join(source, name), os.path.join(destination, name))
    else:
        shutil.copy2(source, destination, follow_symlinks=False)
    found = os.lstat(source)
    os.chown(destination, found.st_uid, found.st_gid, follow_symlinks=False)
    if not os.path.islink(source):
        os.chmod(destination, found.st_mode & 0o7777)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
