# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""rclone as the application's user: what it is asked, and what its answers mean. Keys are in its configuration file and in no argument."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._uploads import Listing, UploadsError, listing_of

PROGRAM = "rclone"
# Below ten connections that are just being made sshd turns none away.
_FLAGS = (
    *("--transfers", "8", "--checkers", "8", "--retries", "2", "--low-level-retries", "4"),
    *("--contimeout", "10s", "--timeout", "60s", "--stats", "0", "--no-unicode-normalization"),
)
_NOT_OURS = ("--exclude", "/.escala-migration/**", "--exclude", "/lost+found/**", "--exclude", "/.probe/**")
_NOT_FOUND = (3, 4)
_SAID = 300


class Account(t.NamedTuple):
    """Whom files shall belong to."""

    uid: int
    gid: int


class Answer(t.NamedTuple):
    code: int
    out: str
    error: str


Runner = t.Callable[[t.Sequence[str], t.Optional[bytes], t.Optional[float]], Answer]


def runner_as(account: Account, config_file: str, ca_file: str) -> Runner:
    """What runs rclone as that user, whose files others of its group may read."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise UploadsError("rclone is not installed here; run playbooks/migrate_uploads.yml without --start-at-task")
    # Beside what the host trusts; rclone's own option would have it trust nothing else.
    environment = {**os.environ, **({"SSL_CERT_FILE": ca_file} if ca_file else {})}

    def run(arguments: t.Sequence[str], sent: t.Optional[bytes], limit: t.Optional[float]) -> Answer:
        command = [str(program), *arguments, "--config", config_file, *_FLAGS]
        own: t.Dict[str, t.Any] = (
            {} if os.getuid() == account.uid else {"user": account.uid, "group": account.gid, "extra_groups": []}
        )
        try:
            done = subprocess.run(
                command,
                input=sent,
                capture_output=True,
                cwd="/",
                env=environment,
                umask=0o027,
                timeout=limit,
                check=False,
                **own,
            )
        except subprocess.TimeoutExpired:
            return Answer(124, "", f"it did not end within {limit:g} s")
        return Answer(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))

    return run


def _last_line(error: str) -> str:
    lines = [line for line in error.splitlines() if line.strip()]
    return lines[-1][-_SAID:] if lines else "it said nothing"


class Rclone:
    """The few things that are asked of rclone; each raises UploadsError in words that name the place."""

    def __init__(self, run: Runner, list_file: str) -> None:
        self._run = run
        self._list_file = list_file

    def listing(self, name: str, remote: str, limit: t.Optional[float] = None) -> Listing:
        """All objects below a place."""
        asked = ("lsjson", remote, "--recursive", "--files-only", "--no-modtime", "--no-mimetype", "--fast-list")
        answer = self._run([*asked, *_NOT_OURS], None, limit)
        if answer.code in _NOT_FOUND:
            raise UploadsError(f"{name}: {remote.partition(':')[2]} is not there ({_last_line(answer.error)})")
        if answer.code:
            raise UploadsError(f"{name} cannot be listed: {_last_line(answer.error)}")
        return listing_of(answer.out)

    def copy(
        self, keys: t.Sequence[str], source: str, target: t.Mapping[str, str], limit: t.Optional[float] = None
    ) -> None:
        """Copy objects. Where they are files they are first written beside their place and then renamed, so that nobody meets half of one."""
        self._write_list(keys)
        listed = ("--files-from-raw", self._list_file, "--no-traverse")
        to = target["staging"] or target["remote"]
        self._expect("copy", self._run(["copy", source, to, *listed, "--no-check-dest"], None, limit), target["name"])
        if target["staging"]:
            moved = ("--no-traverse", "--server-side-across-configs", "--delete-empty-src-dirs")
            self._expect("rename", self._run(["move", to, target["renamed"], *moved], None, limit), target["name"])

    def sums(self, name: str, remote: str, keys: t.Sequence[str]) -> t.Dict[str, str]:
        """The SHA-256 of objects, read from the place byte by byte; what is deleted meanwhile has none, and is an error to rclone."""
        self._write_list(keys)
        listed = ("--files-from-raw", self._list_file, "--no-traverse")
        answer = self._run(["hashsum", "sha256", "--download", remote, *listed], None, None)
        found = sums_of(answer.out)
        if not found:
            self._expect("read", answer, name)
        return found

    def remove(self, name: str, remote: str, keys: t.Sequence[str]) -> None:
        self._write_list(keys)
        answer = self._run(["delete", remote, "--files-from-raw", self._list_file, "--no-traverse"], None, None)
        self._expect("delete", answer, name)

    def forget_staged(self, staging: str) -> None:
        """What a run that was broken off left on its way is half a file, or one that is copied again."""
        if staging:
            answer = self._run(["purge", staging], None, None)
            if answer.code not in (0, *_NOT_FOUND):
                self._expect("purge", answer, staging)

    def try_writing(self, name: str, remote: str) -> None:
        """Write and read a small hidden file, and take it away again."""
        probe = f"{remote}/.probe-escala-migration"
        token = os.urandom(16).hex().encode()
        self._expect("write", self._run(["rcat", probe], token, None), name)
        read = self._run(["cat", probe], None, None)
        self._expect("read", read, name)
        self._expect("delete", self._run(["deletefile", probe], None, None), name)
        if read.out.encode() != token:
            raise UploadsError(f"{name}: what was written there was read back as something else")

    def free_bytes(self, remote: str) -> t.Optional[int]:
        """The room of a place, or None where it does not say."""
        answer = self._run(["about", "--json", remote], None, None)
        try:
            said = json.loads(answer.out)
            return int(said["free"])
        except (ValueError, KeyError, TypeError):
            return None

    def _write_list(self, keys: t.Sequence[str]) -> None:
        with open(self._list_file, "w", encoding="utf-8") as file:
            file.writelines(f"{key}\n" for key in keys)
        # Names of objects are no secret on a host that serves them, and rclone is another user.
        os.chmod(self._list_file, 0o644)

    @staticmethod
    def _expect(what: str, answer: Answer, name: str) -> None:
        if answer.code:
            raise UploadsError(f"{name}: rclone could not {what} (status {answer.code}): {_last_line(answer.error)}")


def sums_of(text: str) -> t.Dict[str, str]:
    """The lines of `rclone hashsum`: a sum, two spaces, a key."""
    found = {}
    for line in text.splitlines():
        digest, _space, key = line.partition("  ")
        if len(digest) == 64:
            found[key] = digest
    return found
