# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage as a directory: what it is mounted from, how much is free, and the files of one run of the check."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._mounts import Mount, mounts_at
from ansible_collections.escala.ha.plugins.module_utils._shared_storage_round import Json, StorageError

FOLDER = ".escala-check"
_MIB = 1024 * 1024
# What a run that was cut off left there is in nobody's way, and is taken away by a later one.
_LEFT_BEHIND_SECONDS = 900
_FIRST_NAMES = 5
NOBODY = 65534


def mount_of(path: str, mountinfo: str) -> t.Tuple[str, Mount]:
    """Where the mount is that a path is on, and what it is: of several in one place the last counts."""
    place = path
    while True:
        found = mounts_at(mountinfo, place)
        if found:
            return place, found[-1]
        if place == "/":
            raise StorageError("error", f"nothing is mounted above {path}; see /proc/self/mountinfo")
        place = os.path.dirname(place)


def observe_directory(path: str, mountinfo: str = "/proc/self/mountinfo") -> Json:
    """What a path is on. May hang as long as the storage does; raises StorageError."""
    with told(path):
        # Looking into it is what has an automount do its work.
        names = _first_names(path)
        place = os.path.realpath(path)
        # Not isdir(), to which what may not be looked at is no directory: so is a share of SMB's whose folder is somebody else's.
        if not stat.S_ISDIR(os.stat(place).st_mode):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        space = os.statvfs(place)
    with open(mountinfo, encoding="utf-8") as file:
        point, mount = mount_of(place, file.read())
    return {
        "mount": {"point": point, **mount._asdict()},
        "mounted": point != "/",
        "is_mount_point": point == place,
        "read_only": bool(space.f_flag & os.ST_RDONLY),
        "capacity_mib": space.f_blocks * space.f_frsize // _MIB,
        "free_mib": space.f_bavail * space.f_frsize // _MIB,
        "free_percent": _percent(space.f_bavail, space.f_blocks),
        # CIFS and some others count none.
        "inodes": space.f_files or None,
        "inodes_free": space.f_favail if space.f_files else None,
        "inodes_free_percent": _percent(space.f_favail, space.f_files),
        "first_names": names,
    }


def _first_names(path: str) -> t.Optional[t.List[str]]:
    """What is in it, without the lost+found of a disk of its own; None where only its user may see that."""
    try:
        names = os.listdir(path)
    except PermissionError:
        return None
    return sorted(set(names) - {"lost+found", FOLDER})[:_FIRST_NAMES]


def _percent(part: int, whole: int) -> t.Optional[float]:
    return round(100 * part / whole, 1) if whole else None


@contextlib.contextmanager
def told(path: str) -> t.Iterator[None]:
    """Errors of the file system, in words."""
    try:
        yield
    except OSError as error:
        raise problem_with(path, error) from error


def problem_with(path: str, error: OSError) -> StorageError:
    """What an error of the system means for a directory that is shared, and what to do."""
    known = _WORDS.get(error.errno or 0)
    if known is None:
        return StorageError("error", f"{path}: {error.strerror or error}; see `dmesg` on the host")
    kind, words, remedy = known
    return StorageError(kind, f"{path} {words} ({errno.errorcode[error.errno or 0]}){_whose(path, kind)}; {remedy}")


def _whose(path: str, kind: str) -> str:
    """Whose a path is that may not be used, as far as that can be seen."""
    if kind != "unwritable":
        return ""
    try:
        seen = os.stat(path)
    except OSError:
        return f", and this user is {os.geteuid()}"
    owner = "nobody" if seen.st_uid == NOBODY else seen.st_uid
    return f": it belongs to user {owner} with the mode {seen.st_mode & 0o7777:04o}, and this user is {os.geteuid()}"


_ACCESS = (
    "unwritable",
    "may not be written or read by this user",
    "give it to the application's user on the server, by the same number on every host",
)
_FULL = "is full, or its quota is used up"
_AWAY = ("away", "is on a server that does not answer", "see whether the storage server runs and can be reached")
_WORDS: t.Dict[int, t.Tuple[str, str, str]] = {
    errno.EACCES: _ACCESS,
    errno.EPERM: _ACCESS,
    errno.ENOSPC: ("full", _FULL, "free some, or enlarge the volume on the server"),
    errno.EDQUOT: ("full", _FULL, "raise the quota on the server"),
    errno.ESTALE: (
        "stale",
        "has a stale handle: the server has another directory there than the one that was mounted",
        "unmount it on this host, and look into it again, which mounts it anew",
    ),
    errno.EROFS: ("read_only", "is mounted read-only", "see `dmesg` and the export, and mount it for writing"),
    errno.ENOENT: ("missing", "is not there", "create it, or mount what belongs there"),
    errno.ENOTDIR: ("missing", "is no directory", "set the path of a directory"),
    errno.ENODEV: _AWAY,
    errno.EHOSTDOWN: _AWAY,
    errno.EHOSTUNREACH: _AWAY,
    errno.ETIMEDOUT: _AWAY,
    errno.ECONNREFUSED: _AWAY,
    errno.ENOTCONN: _AWAY,
    errno.EIO: (
        "error",
        "gives an error of input or output",
        "see `dmesg` here, and the log and the disks of the storage server",
    ),
    errno.ENOLCK: (
        "lockless",
        "takes no locks",
        "see that the server's lock service runs, and the mount options have no nolock",
    ),
    errno.EOPNOTSUPP: ("lockless", "takes no locks", "mount it with a version of its protocol that has them"),
}


class Directory:
    """The files of one run, below a hidden folder. Run it as the user that the application runs as."""

    pause_seconds = 0.05
    is_directory = True

    def __init__(self, path: str, run: str) -> None:
        self._above = os.path.join(path, FOLDER)
        self._folder = os.path.join(self._above, run)
        self._lock: t.Optional[int] = None
        # Whose each file is, as it is seen here.
        self.owners: t.Dict[str, int] = {}

    def begin(self) -> None:
        for folder in (self._above, self._folder):
            with told(os.path.dirname(folder)), contextlib.suppress(FileExistsError):
                os.mkdir(folder, 0o750)
        now = os.stat(self._folder).st_mtime
        for run in self._names_in(self._above):
            folder = os.path.join(self._above, run)
            with contextlib.suppress(OSError):
                if now - os.stat(folder).st_mtime > _LEFT_BEHIND_SECONDS:
                    for name in os.listdir(folder):
                        os.unlink(os.path.join(folder, name))
                    os.rmdir(folder)

    def names(self) -> t.Set[str]:
        return set(self._names_in(self._folder))

    @staticmethod
    def _names_in(folder: str) -> t.List[str]:
        with told(folder):
            try:
                # Opening a directory is what has a client of NFS ask whether it has changed.
                return os.listdir(folder)
            except FileNotFoundError:
                return []

    def put(self, name: str, content: bytes) -> None:
        self._write(name, content)

    def appear(self, name: str, content: bytes) -> None:
        part = f".{name}.part"
        self._write(part, content)
        with told(self._folder):
            os.rename(os.path.join(self._folder, part), os.path.join(self._folder, name))
            self._sync_folder()

    def _write(self, name: str, content: bytes) -> None:
        with told(self._folder):
            file = os.open(os.path.join(self._folder, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
            try:
                view = memoryview(content)
                while view:
                    view = view[os.write(file, view) :]
                os.fsync(file)
                self.owners[name] = os.fstat(file).st_uid
            finally:
                os.close(file)

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # CIFS knows no such thing, and has written it.
            with contextlib.suppress(OSError):
                os.fsync(folder)
        finally:
            os.close(folder)

    def get(self, name: str) -> bytes:
        with told(self._folder), open(os.path.join(self._folder, name), "rb") as file:
            self.owners[name] = os.fstat(file.fileno()).st_uid
            return file.read()

    def remove(self, name: str) -> None:
        for path in (os.path.join(self._folder, f".{name}.part"), os.path.join(self._folder, name)):
            with told(self._folder), contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def take_lock(self) -> bool:
        with told(self._folder):
            file = os.open(os.path.join(self._folder, "lock"), os.O_RDWR | os.O_CREAT, 0o640)
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(file)
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    return False
                raise
        self._lock = file
        return True

    def free_lock(self) -> None:
        if self._lock is not None:
            with told(self._folder):
                fcntl.lockf(self._lock, fcntl.LOCK_UN)
                os.close(self._lock)
            self._lock = None

    def end(self) -> None:
        """The last one out takes the folders away."""
        for path, take in (
            (os.path.join(self._folder, "lock"), os.unlink),
            (self._folder, os.rmdir),
            (self._above, os.rmdir),
        ):
            with contextlib.suppress(OSError):
                take(path)


def strange_owners(owners: t.Mapping[str, int], uid: int) -> t.Dict[str, str]:
    """The hosts whose files are seen here as another's than the application's, and whose."""
    found = {}
    for name, owner in owners.items():
        if owner != uid and name.endswith((".token", ".whole")):
            found[name.lstrip(".").rpartition(".")[0]] = "nobody" if owner == NOBODY else str(owner)
    return found
