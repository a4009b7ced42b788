# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What several hosts do with one storage at once: each writes, sees what the others wrote, locks in turn, and deletes.

They meet in the storage itself and nowhere else, so a host that has another storage than its peers meets nobody.
"""

from __future__ import annotations

import hashlib
import typing as t

Json = t.Dict[str, t.Any]
WHOLE_BYTES = 256 * 1024


class StorageError(Exception):
    """What the storage does not do, in words for a person; `kind` is one word for programs."""

    def __init__(self, kind: str, words: str) -> None:
        super().__init__(words)
        self.kind = kind


class Store(t.Protocol):
    """The place of one run in the storage. Every method raises StorageError."""

    pause_seconds: float
    # Whether files can be locked, and one host may delete what another stored. An object's version is known to its writer only.
    is_directory: bool

    def begin(self) -> None: ...

    def names(self) -> t.Set[str]: ...

    def put(self, name: str, content: bytes) -> None: ...

    def appear(self, name: str, content: bytes) -> None: ...

    def get(self, name: str) -> bytes: ...

    def remove(self, name: str) -> None: ...

    def take_lock(self) -> bool: ...

    def free_lock(self) -> None: ...

    def end(self) -> None: ...


class Clock(t.NamedTuple):
    """Seconds that only rise, and how to let some pass."""

    now: t.Callable[[], float]
    sleep: t.Callable[[float], None]


class Plan(t.NamedTuple):
    """Who takes part, under which name of the run, and for how long at most."""

    host: str
    peers: t.Sequence[str]
    run: str
    timeout_seconds: float

    @property
    def others(self) -> t.List[str]:
        return sorted(set(self.peers) - {self.host})

    @property
    def everyone(self) -> t.List[str]:
        return sorted({*self.peers, self.host})

    def token(self, host: str) -> bytes:
        """What a host writes first: anybody can tell what another's must be."""
        return f"{self.run} {host}\n".encode()

    def whole(self, host: str) -> bytes:
        """What a host has come into being at once. No part of it is like another, so that a piece is not mistaken for it."""
        begin = self.token(host)
        return b"".join(hashlib.sha256(begin + bytes([n >> 8, n & 255])).digest() for n in range(WHOLE_BYTES // 32))


class Round:
    """One host's part. `seen` has what it found, and is good to judge however far it came."""

    def __init__(self, store: Store, plan: Plan, clock: Clock, say: t.Callable[[str], None]) -> None:
        self._store = store
        self._plan = plan
        self._clock = clock
        self._say = say
        self._deadline = clock.now() + plan.timeout_seconds
        self._mine: t.List[str] = []
        self._peers: t.Dict[str, t.Optional[str]] = dict.fromkeys(plan.others)
        self._locks: t.List[str] = []
        self._milliseconds: t.Dict[str, float] = {}
        self.seen: Json = {
            "step": "",
            "done": [],
            "problem": None,
            "kind": None,
            "left": [],
            "peers": self._peers,
            "locks": self._locks,
            "milliseconds": self._milliseconds,
        }

    def take_part(self) -> Json:
        """Everything, and then away with it: nothing of this host is left, however it went."""
        steps = {"write": self._write, "meet": self._meet, "appear": self._appear, "lock": self._lock}
        if not self._store.is_directory:
            del steps["lock"]
        try:
            for step, act in {**steps, "delete": self._delete}.items():
                self.seen["step"] = step
                self._say(step)
                if not act():
                    break
                self.seen["done"].append(step)
        except StorageError as problem:
            self.seen.update(problem=str(problem), kind=problem.kind)
        finally:
            self._leave()
        return self.seen

    def _timed(self, what: str, act: t.Callable[[], t.Any]) -> t.Any:
        begin = self._clock.now()
        result = act()
        self._milliseconds[what] = round((self._clock.now() - begin) * 1000, 1)
        return result

    def _await(self, done: t.Callable[[], bool]) -> bool:
        """Whether it comes to be so before the time is over; it is looked at once at least."""
        while not done():
            if self._clock.now() >= self._deadline:
                return False
            self._clock.sleep(self._store.pause_seconds)
        return True

    def _missing(self, names: t.Iterable[str]) -> t.Set[str]:
        """Which of the names do not appear before the time is over."""
        wanted = set(names)
        missing = set(wanted)

        def there() -> bool:
            missing.intersection_update(wanted - self._store.names())
            return not missing

        self._await(there)
        return missing

    def _mark(self, what: str) -> None:
        """Tell the others something by an empty file."""
        name = f"{self._plan.host}.{what}"
        self._mine.append(name)
        self._store.put(name, b"")

    def _write(self) -> bool:
        name, content, store = f"{self._plan.host}.token", self._plan.token(self._plan.host), self._store
        store.begin()
        self._mine.append(name)
        self._timed("write", lambda: store.put(name, content))
        if self._timed("read", lambda: store.get(name)) != content:
            raise StorageError(
                "altered", "what was written is read back as something else; look at the storage's disks"
            )
        if name not in self._timed("list", store.names):
            raise StorageError(
                "unlisted", "what was written is not in the list of what there is; look at the storage's log"
            )
        return True

    def _meet(self) -> bool:
        """Every peer's token is there and right. It may be seen while it is being written, so a wrong one is looked at again."""
        limit = f"{self._plan.timeout_seconds:g} s"
        self._peers.update(dict.fromkeys(self._plan.others, f"nothing of it is seen here within {limit}"))

        def met() -> bool:
            there = self._store.names()
            for peer in self._plan.others:
                if self._peers[peer] and f"{peer}.token" in there:
                    self._peers[peer] = self._read(peer, "token", self._plan.token(peer))
            return not any(self._peers.values())

        return self._await(met)

    def _read(self, peer: str, what: str, expected: bytes) -> t.Optional[str]:
        """What is wrong with something that a peer stored, None for nothing."""
        try:
            content = self._store.get(f"{peer}.{what}")
        except StorageError as problem:
            return f"what it stored cannot be read here: {problem}"
        if content == expected:
            return None
        return f"of the {len(expected)} bytes that it stored {len(content)} are read here, {'altered' if len(content) == len(expected) else 'not all'}"

    def _appear(self) -> bool:
        """What comes into being at once is whole at the first sight of it, and no second one is taken."""
        host, store, plan = self._plan.host, self._store, self._plan
        self._mine.append(f"{host}.whole")
        self._timed("rename" if store.is_directory else "put", lambda: store.appear(f"{host}.whole", plan.whole(host)))
        begin = self._clock.now()
        unseen = set(plan.others)

        def all_seen() -> bool:
            for peer in sorted(unseen & {name[: -len(".whole")] for name in store.names() if name.endswith(".whole")}):
                unseen.remove(peer)
                self._peers[peer] = self._read(peer, "whole", plan.whole(peer))
            return not unseen

        self._await(all_seen)
        self._mark("saw")
        silent = {name[: -len(".saw")] for name in self._missing(f"{peer}.saw" for peer in plan.others)}
        if plan.others:
            self._milliseconds["peers"] = round((self._clock.now() - begin) * 1000, 1)
        for peer in sorted(unseen | silent):
            self._peers[peer] = self._peers[peer] or self._silence()
        return not any(self._peers.values())

    def _silence(self) -> str:
        return f"it began, and did not go on within {self._plan.timeout_seconds:g} s; see what it says itself"

    def _lock(self) -> bool:
        """Each host in turn holds the lock, and lets go of it once all others have tried to get it. Who gets it too goes on: others wait for him."""
        mine = self._plan.host
        return all(self._hold() if holder == mine else self._try_against(holder) for holder in self._plan.everyone)

    def _hold(self) -> bool:
        host = self._plan.host
        if not self._timed("lock", self._store.take_lock):
            self._locks.append(f"{host} did not get the lock, which nobody should hold")
            return False
        self._mark("holds")
        untried = self._missing(f"{peer}.tried-{host}" for peer in self._plan.others)
        self._store.free_lock()
        self._mark("freed")
        self._locks.extend(
            f"{name.partition('.')[0]} did not try to get the lock of {host}" for name in sorted(untried)
        )
        return not untried

    def _try_against(self, holder: str) -> bool:
        if self._missing([f"{holder}.holds"]):
            self._locks.append(f"{holder} did not come to hold the lock")
            return False
        if self._store.take_lock():
            self._store.free_lock()
            self._locks.append(f"{self._plan.host} got the lock while {holder} held it")
        self._mark(f"tried-{holder}")
        if self._missing([f"{holder}.freed"]):
            self._locks.append(f"{holder} did not let go of the lock")
            return False
        return True

    def _delete(self) -> bool:
        """Each host deletes what the next one stored: so all are seen to, and nobody leaves before all have come this far."""
        everyone = self._plan.everyone
        after = everyone[(everyone.index(self._plan.host) + 1) % len(everyone)]
        whose = after if self._store.is_directory else self._plan.host
        self._timed("delete", lambda: self._store.remove(f"{whose}.whole"))
        still = {f"{one}.whole" for one in everyone}

        def gone() -> bool:
            still.intersection_update(self._store.names())
            return not still

        if not self._await(gone):
            names = ", ".join(name[: -len(".whole")] for name in sorted(still))
            self.seen.update(kind="stays", problem=f"what was to be deleted of {names} is still seen here")
        return not still

    def _leave(self) -> None:
        self.seen["left"] = [name for name in reversed(self._mine) if not self._removed(name)]
        self._store.end()

    def _removed(self, name: str) -> bool:
        try:
            self._store.remove(name)
        except StorageError:
            return False
        return True
