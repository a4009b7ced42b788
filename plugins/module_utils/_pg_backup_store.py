# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where backups and WAL are kept: a directory, which may be a share, or whatever rclone reaches. What is there is whole and lasts, or is not there."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import re
import shutil
import subprocess
import typing as t

CHUNK_BYTES = 1 << 20
# The host's own, on Debian.
_AUTHORITIES = "/etc/ssl/certs"
_RCLONE = ("--retries", "3", "--contimeout", "10s", "--timeout", "60s", "--stats", "0")
# rclone's exit status for what is not there.
_NOT_FOUND = (3, 4)


class BackupError(Exception):
    """What was asked for cannot be done, and why, in an operator's words."""


class Entry(t.NamedTuple):
    """One object: its size, and when its content was written, in seconds since 1970."""

    size_bytes: int
    written_at: float


class Store(t.Protocol):
    """Objects by keys such as `backups/20261127T020000/backup.json`."""

    def names(self, folder: str) -> t.Dict[str, Entry]:
        """What is directly in a folder, by name; empty for one that is not there."""

    def folders(self, folder: str) -> t.List[str]:
        """The folders directly in a folder."""

    def put(self, key: str, file: str) -> None:
        """Take over a file's content, so that it outlives a loss of power as soon as this returns. The file's times go with it."""

    def get(self, key: str, file: str) -> None:
        """Write an object's content to a file; raises BackupError where there is none."""

    def remove(self, key: str) -> None:
        """Have an object or a folder be gone."""


class DirectoryStore:
    """A directory of the host's, or of a share."""

    def __init__(self, path: str) -> None:
        self.path = path

    def names(self, folder: str) -> t.Dict[str, Entry]:
        found = {}
        with contextlib.suppress(FileNotFoundError), os.scandir(os.path.join(self.path, folder)) as entries:
            for entry in entries:
                if entry.is_file() and not entry.name.startswith("."):
                    seen = entry.stat()
                    found[entry.name] = Entry(seen.st_size, seen.st_mtime)
        return found

    def folders(self, folder: str) -> t.List[str]:
        with contextlib.suppress(FileNotFoundError), os.scandir(os.path.join(self.path, folder)) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
        return []

    def put(self, key: str, file: str) -> None:
        target = os.path.join(self.path, key)
        folder, name = os.path.split(target)
        self._make(folder)
        draft = os.path.join(folder, f".{name}.{os.getpid()}")
        try:
            with open(file, "rb") as source, open(draft, "wb") as copy:
                shutil.copyfileobj(source, copy, CHUNK_BYTES)
                copy.flush()
                seen = os.fstat(source.fileno())
                os.utime(draft, (seen.st_atime, seen.st_mtime))
                os.fsync(copy.fileno())
            os.rename(draft, target)
            sync_directory(folder)
        except OSError as error:
            raise BackupError(f"{target} cannot be written: {error.strerror or error}") from error
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)

    def _make(self, folder: str) -> None:
        if os.path.isdir(folder):
            return
        parent = os.path.dirname(folder)
        if not os.path.isdir(self.path):
            # A share that is not mounted must not become a directory of the host's own disk.
            raise BackupError(f"{self.path} is not there; mount it, or make it with the role postgresql_backup")
        self._make(parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        sync_directory(parent)

    def get(self, key: str, file: str) -> None:
        try:
            shutil.copyfile(os.path.join(self.path, key), file)
        except OSError as error:
            raise BackupError(f"{os.path.join(self.path, key)} cannot be read: {error.strerror or error}") from error

    def remove(self, key: str) -> None:
        target = os.path.join(self.path, key)
        if os.path.isdir(target):
            shutil.rmtree(target)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(target)


class RcloneStore:
    """A remote of rclone's, such as `s3:bucket/folder`; its keys are in a configuration file and in no argument.

    Besides the host's own authorities those are believed whose certificates are in the directory `authorities`.
    """

    def __init__(
        self, remote: str, config_file: str, program: str = "rclone", authorities: t.Optional[str] = None
    ) -> None:
        self.remote = remote.rstrip("/")
        self._config_file = config_file
        self._program = program
        self._environment = {"SSL_CERT_DIR": f"{_AUTHORITIES}:{authorities}"} if authorities else {}

    def names(self, folder: str) -> t.Dict[str, Entry]:
        listed = self._list(folder, "--files-only")
        return {one["Name"]: Entry(int(one["Size"]), _seconds(one["ModTime"])) for one in listed}

    def folders(self, folder: str) -> t.List[str]:
        return sorted(one["Name"] for one in self._list(folder, "--dirs-only"))

    def _list(self, folder: str, what: str) -> t.List[t.Dict[str, t.Any]]:
        answer = self._run("lsjson", f"{self.remote}/{folder}", what, "--no-mimetype")
        if answer.returncode in _NOT_FOUND:
            return []
        self._expect(f"{folder} cannot be listed", answer)
        listed: t.List[t.Dict[str, t.Any]] = json.loads(answer.stdout)
        return listed

    def put(self, key: str, file: str) -> None:
        # One request completes an object: nobody meets half of it.
        self._expect(f"{key} cannot be written", self._run("copyto", file, f"{self.remote}/{key}", "--no-traverse"))

    def get(self, key: str, file: str) -> None:
        self._expect(f"{key} cannot be read", self._run("copyto", f"{self.remote}/{key}", file, "--no-traverse"))

    def remove(self, key: str) -> None:
        answer = self._run("purge", f"{self.remote}/{key}")
        if answer.returncode not in (0, *_NOT_FOUND):
            answer = self._run("deletefile", f"{self.remote}/{key}")
        if answer.returncode not in (0, *_NOT_FOUND):
            self._expect(f"{key} cannot be removed", answer)

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [self._program, *arguments, "--config", self._config_file, *_RCLONE]
        return subprocess.run(
            command,
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **self._environment},
        )

    def _expect(self, what: str, answer: subprocess.CompletedProcess[bytes]) -> None:
        if answer.returncode:
            lines = [line for line in answer.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
            # The cause is on the last line, and what for on the one before.
            raise BackupError(f"{self.remote}: {what}: {' '.join(lines[-2:])[-400:] if lines else answer.returncode}")


def _seconds(moment: str) -> float:
    """RFC 3339, as rclone writes it, in seconds since 1970. It has more digits than Python reads."""
    digits = re.sub(r"(\.\d{6})\d+", r"\1", moment).replace("Z", "+00:00")
    return datetime.datetime.fromisoformat(digits).timestamp()


def sync_directory(path: str) -> None:
    """Have the names in a directory outlive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def size_of(directory: str) -> int:
    """What the files below a directory take, in bytes."""
    return sum(
        os.lstat(os.path.join(folder, file)).st_size for folder, _folders, files in os.walk(directory) for file in files
    )


class Seal:
    """How content is kept: compressed by zstd, and encrypted by age where there is a recipient. Any of both can be opened by hand with these programs.

    To encrypt takes only the public key, the recipient; to read takes the identity, a file.
    """

    def __init__(self, recipient: t.Optional[str] = None, identity_file: t.Optional[str] = None) -> None:
        self._recipient = recipient
        self._identity_file = identity_file

    @property
    def ending(self) -> str:
        return ".zst.age" if self._recipient else ".zst"

    def close(self, content: t.Iterable[bytes], file: str) -> str:
        """Write content to a file as it is kept; returns the SHA-256 of what it was before."""
        digest = hashlib.sha256()
        with open(file, "xb") as out, contextlib.ExitStack() as running:
            zstd = running.enter_context(
                subprocess.Popen(
                    ["zstd", "-q", "-c"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE if self._recipient else out,
                    stderr=subprocess.PIPE,
                )
            )
            stages = [zstd]
            if self._recipient:
                age = ["age", "--encrypt", "--recipient", self._recipient]
                stages.append(
                    running.enter_context(subprocess.Popen(age, stdin=zstd.stdout, stdout=out, stderr=subprocess.PIPE))
                )
                _close(zstd.stdout)
            try:
                for chunk in content:
                    digest.update(chunk)
                    t.cast(t.IO[bytes], zstd.stdin).write(chunk)
            except BrokenPipeError:
                pass
            with contextlib.suppress(BrokenPipeError):
                _close(zstd.stdin)
            _ended(stages, f"{file} cannot be written")
            os.fsync(out.fileno())
        return digest.hexdigest()

    @contextlib.contextmanager
    def open(self, file: str) -> t.Iterator[t.IO[bytes]]:
        """The content of a file that `close` wrote; raises BackupError at the end where it is damaged or the key is another's."""
        encrypted = file.endswith(".age")
        if encrypted and not self._identity_file:
            raise BackupError(f"{os.path.basename(file)} is encrypted, and this host has no identity to read it with")
        with open(file, "rb") as source, contextlib.ExitStack() as running:
            stages = []
            into: t.Any = source
            if encrypted:
                age = ["age", "--decrypt", "--identity", str(self._identity_file)]
                stages.append(
                    running.enter_context(
                        subprocess.Popen(age, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                    )
                )
                into = stages[0].stdout
            zstd = running.enter_context(
                subprocess.Popen(["zstd", "-q", "-d", "-c"], stdin=into, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            )
            if encrypted:
                _close(into)
            yield t.cast(t.IO[bytes], zstd.stdout)
            _close(zstd.stdout)
            _ended([*stages, zstd], f"{os.path.basename(file)} cannot be read")


def _close(stream: t.Optional[t.IO[bytes]]) -> None:
    if stream is not None:
        stream.close()


def _ended(stages: t.Sequence[subprocess.Popen[bytes]], what: str) -> None:
    """Wait for programs in a row; raises BackupError with what the first that failed says."""
    said = [t.cast(t.IO[bytes], stage.stderr).read().decode("utf-8", "replace").strip() for stage in stages]
    codes = [stage.wait() for stage in stages]
    for stage, code, words in zip(stages, codes, said):
        if code:
            program = str(t.cast(t.Sequence[str], stage.args)[0])
            raise BackupError(f"{what}: {program} says {words.splitlines()[0] if words else code}")
