"""The backup host as a story sees it: its store, its program, and what its last drill said."""

from __future__ import annotations

import json
import shlex
from typing import Any

from tests.lab.eventually import eventually
from tests.lab.handle import Lab
from tests.lab.measurements import MANAGER

STORE, WORK = "/var/lib/escala-backup/store", "/var/lib/escala-backup/work"
_KEPT = "/var/lib/escala-backup/kept_by_a_story"


class Backups:
    """What a story does on the backup host."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        [self.host] = lab.group("backup_servers")

    @property
    def of(self) -> str:
        """Whose figures these are."""
        engine = json.loads(self.on("cat /etc/escala/pg-backup.json"))["engine"]
        return MANAGER if engine == "basebackup" else f"{MANAGER}, {engine}"

    def on(self, command: str, *, check: bool = True) -> str:
        return self.lab.on(self.host, command, check=check)

    def program(self, *words: str, check: bool = True) -> str:
        """What escala-pg-backup says as the account that keeps backups, its errors too."""
        return self.on(f"runuser -u escala-backup -- escala-pg-backup {shlex.join(words)} 2>&1", check=check)

    def drill(self) -> dict[str, Any]:
        """Have a drill, and what it says, passed or not."""
        self.on("systemctl reset-failed escala-pg-drill; systemctl start escala-pg-drill", check=False)
        report: dict[str, Any] = json.loads(self.on(f"cat {WORK}/drill.json"))
        return report

    def problems(self) -> list[str]:
        """What is wrong by its own words."""
        said = self.program("status", check=False)
        assert said.strip().endswith("}"), said
        found: list[str] = json.loads(said.splitlines()[-1])["problems"]
        return found

    def wait_until_well(self, within: float = 90) -> None:
        eventually("nothing is wrong with the backups", lambda: self.problems() == [], within=within)

    def files(self, pattern: str) -> list[str]:
        """The files of the store that a pattern of find's fits."""
        return self.on(f"find {STORE} -type f -name {shlex.quote(pattern)}").split()

    def damage(self, pattern: str, command: str) -> None:
        """Run a shell command on each file of the store, `$1`, whose path a pattern of find's fits."""
        each = f"-exec sh -c {shlex.quote(command)} damage {{}} ';'"
        done = self.on(f"find {STORE} -type f -path {shlex.quote(pattern)} -print {each}")
        assert done, f"{pattern} fits nothing"

    def file(self, pattern: str) -> str:
        """The one file of the store that it fits."""
        found = self.files(pattern)
        assert len(found) == 1, f"{pattern} fits {found or 'nothing'}"
        return found[0]

    def finished_segment(self, primary: str) -> str:
        """Have the primary end its segment, and which one that was."""
        ask = "runuser -u postgres -- psql -XAtc"
        self.lab.on(primary, f"{ask} 'CHECKPOINT'")
        return self.lab.on(primary, f"{ask} 'SELECT pg_walfile_name(pg_switch_wal())'").strip()

    def wait_until_archived(self, segment: str) -> None:
        has = f"runuser -u escala-backup -- escala-pg-backup has {segment} && echo yes"
        eventually(f"{segment} is archived", lambda: "yes" in self.on(has, check=False), within=30)

    def keep(self) -> None:
        """Remember the store as it is."""
        self.on(f"rm -rf {_KEPT} && cp -a {STORE} {_KEPT}")

    def bring_back(self) -> None:
        """The store is as it was remembered, with what has come since."""
        self.on(f"cp -a --remove-destination {_KEPT}/. {STORE}/ && rm -rf {_KEPT}")
