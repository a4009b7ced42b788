# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a balancer sends uploads, and whether those that write are held, switched while it serves.

What is so is in one folder on the balancer, in two forms, since an engine can read only its own. Nobody has to be alive for a hold to end:
  uploads.map  for HAProxy, and the record of what was asked for. It compares the end of the hold with its clock at each request.
  application  for nginx, which looks at each request whether it is there: uploads go to the application then.
  held/        for nginx, which cannot compare times: an empty file for each second that the hold lasts.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import re
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._http import Endpoint, get, problem
from ansible_collections.escala.ha.plugins.module_utils._load_balancer_drain import Pace, ask_socket
from ansible_collections.escala.ha.plugins.module_utils._load_balancer_state import (
    APPLICATION,
    ROUTES,
    UPLOAD_SERVERS,
    UPLOADS_PATH,
    Uploads,
    parse_uploads,
)

STATE_DIRECTORY = "/var/lib/escala-uploads"
MASTER_SOCKET = "/run/haproxy-master.sock"
HOLD_SECONDS_LIMIT = 600

_EFFECT_SECONDS = 5.0
# For how long a hold has to last on for something to be done within it.
_MARGIN_SECONDS = 1.0
_TABLE = "uploads_in_flight"
# nginx's pools by the routes that lead there.
_POOLS = {UPLOAD_SERVERS: "upload", APPLICATION: "app"}

InFlight = t.Dict[str, int]


class UploadsError(Exception):
    """What was asked for cannot be had, and why."""


class Record(t.NamedTuple):
    """What was asked of a balancer; `held_until` is in seconds since 1970, 0 without a hold."""

    route: str = UPLOAD_SERVERS
    held_until: int = 0

    def held(self, now: float) -> bool:
        return now < self.held_until


class Wanted(t.NamedTuple):
    """What is asked for; None leaves that as it is."""

    route: t.Optional[str]
    held: t.Optional[bool]
    hold_seconds: int
    only_while_held: bool = False


class Outcome(t.NamedTuple):
    """What came of it."""

    changed: bool
    record: Record
    in_force: Uploads
    in_flight: InFlight


def decided(before: Record, wanted: Wanted, now: float) -> Record:
    """What is to be so. A hold that is asked for again lasts from now on."""
    held_until = before.held_until
    if wanted.held is not None:
        held_until = math.ceil(now + wanted.hold_seconds) if wanted.held else 0
    return Record(wanted.route or before.route, held_until)


def steps(before: Record, after: Record) -> t.List[Record]:
    """The way there. Nothing that writes gets through on it where both sides of a change of the route are held, or one is."""
    between = Record(before.route, after.held_until) if after.held_until else Record(after.route, before.held_until)
    return [after] if between in (before, after) else [between, after]


def differs(before: Record, after: Record, in_force: Uploads, now: float) -> bool:
    """Whether something has to be done that clients would notice; that a hold lasts longer is no such thing."""
    effective = after.route if in_force.upload_servers else APPLICATION
    return before.route != after.route or in_force.route != effective or in_force.held != after.held(now)


def waited_for(in_force: Uploads) -> t.List[str]:
    """The routes on which no request that writes can begin any more."""
    return [route for route in ROUTES if in_force.held or route != in_force.route]


def record_text(record: Record) -> str:
    return f"route {record.route}\nheld_until {record.held_until}\n"


def parse_record(text: str) -> Record:
    """The record in a file's text, empty for none; raises ValueError for what is no record."""
    entries = dict(re.findall(r"(?m)^(\w+) (\S+)$", text))
    if text.strip() and (entries.keys() != {"route", "held_until"} or entries["route"] not in ROUTES):
        raise ValueError(f"not a record of where uploads go: {text[:100]!r}")
    return Record(entries["route"], int(entries["held_until"])) if entries else Record()


class Files:
    """The folder on the balancer."""

    def __init__(self, directory: str = STATE_DIRECTORY) -> None:
        self.map = os.path.join(directory, "uploads.map")
        self._directory = directory
        self._marker = os.path.join(directory, APPLICATION)
        self._seconds = os.path.join(directory, "held")

    def record(self) -> Record:
        """What was asked for last; raises OSError or ValueError."""
        with contextlib.suppress(FileNotFoundError), open(self.map, encoding="utf-8") as file:
            return parse_record(file.read())
        return Record()

    @contextlib.contextmanager
    def locked(self) -> t.Iterator[None]:
        """Have no other do this at the same time."""
        handle = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def write(self, record: Record, now: float) -> None:
        """Put down what is to be so, in both forms, and have it outlast a loss of power."""
        self._hold(record.held_until, now)
        if record.route == APPLICATION:
            self._touch(self._marker)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._marker)
        draft = f"{self.map}.new"
        with open(draft, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(record_text(record))
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, self.map)
        for directory in (self._seconds, self._directory):
            self._sync(directory)

    def _hold(self, until: int, now: float) -> None:
        os.makedirs(self._seconds, exist_ok=True)
        os.chmod(self._seconds, 0o755)  # noqa: S103  nginx's workers, who are not root, look into it
        # nginx's own clock may be a moment behind.
        wanted = range(int(now) - 1, until) if until else range(0)
        present = sorted(int(name) for name in os.listdir(self._seconds))
        for second in wanted:
            self._touch(os.path.join(self._seconds, str(second)))
        for second in present:
            if second not in wanted:
                os.unlink(os.path.join(self._seconds, str(second)))

    @staticmethod
    def _touch(path: str) -> None:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))

    @staticmethod
    def _sync(directory: str) -> None:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class Engine(t.Protocol):
    """One balancer, whichever program it is. Its methods raise OSError or ValueError when it cannot be asked."""

    def in_force(self) -> Uploads:
        """What it does; raises UploadsError where its configuration cannot be switched."""

    def tell(self, record: Record) -> None:
        """Have it go by what the files say."""

    def in_flight(self) -> InFlight:
        """How many requests that write are under way on each route."""


Fetch = t.Callable[[str], t.Tuple[int, str]]


def _asked(fetch: Fetch) -> Uploads:
    status, body = fetch(UPLOADS_PATH)
    if status != 200:
        raise UploadsError(
            "the balancer's configuration cannot switch uploads; set load_balancer_upload_servers, or load_balancer_upload_switch: true"
            " where there are none, and run the etapa's playbook"
        )
    return parse_uploads(body)


class Nginx:
    """nginx looks at the files with each request."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    def in_force(self) -> Uploads:
        return _asked(self._fetch)

    def tell(self, record: Record) -> None:
        """There is nothing to tell it."""

    def in_flight(self) -> InFlight:
        """It tells none from some: 1 is at least one."""
        return {route: self._any(pool) for route, pool in _POOLS.items()}

    def _any(self, pool: str) -> int:
        status, _body = self._fetch(f"{UPLOADS_PATH}/in_flight/{pool}")
        if status not in (204, 409):
            raise ValueError(f"nginx answered {status} when asked for what is in flight")
        return int(status == 409)


class Haproxy:
    """HAProxy reads the map when it starts, and is told what changes, each of its processes: those of before a reload serve on for a while."""

    def __init__(self, fetch: Fetch, ask: t.Callable[[str], str], map_file: str) -> None:
        self._fetch = fetch
        self._ask = ask
        self._map = map_file

    def in_force(self) -> Uploads:
        for pid in self._workers():
            if "Unknown map" in self._ask(f"@!{pid} show map {self._map}"):
                raise UploadsError(
                    f"HAProxy's process {pid} is of a configuration that cannot switch uploads, and still has clients; it ends"
                    " load_balancer_shutdown_timeout_seconds after the reload, or set load_balancer_upload_servers or"
                    " load_balancer_upload_switch and run the etapa's playbook"
                )
        return _asked(self._fetch)

    def tell(self, record: Record) -> None:
        told: t.Set[int] = set()
        # A reload in the midst of it makes a new process, which may have read the map before.
        while not set(self._workers()) <= told:
            for pid in set(self._workers()) - told:
                for line in record_text(record).splitlines():
                    self._tell(pid, f"set map {self._map} {line}")
                told.add(pid)

    def _tell(self, pid: int, command: str) -> None:
        said = self._ask(f"@!{pid} {command}").strip()
        # One that has ended in the meantime needs no word.
        if said and pid in self._workers():
            raise ValueError(f"HAProxy's process {pid} does not take it: {said}")

    def in_flight(self) -> InFlight:
        found = dict.fromkeys(ROUTES, 0)
        for pid in self._workers():
            table = self._ask(f"@!{pid} show table {_TABLE}")
            for route, count in re.findall(r"key=(\w+) .*\bconn_cur=(\d+)", table):
                found[route] = found.get(route, 0) + int(count)
        return found

    def _workers(self) -> t.List[int]:
        text = self._ask("show proc")
        workers = [int(pid) for pid in re.findall(r"(?m)^(\d+)\s+worker\b", text)]
        if not workers:
            raise ValueError(f"HAProxy names no process that serves: {text.strip()[:100] or 'it said nothing'}")
        return workers


def engine_from(options: t.Mapping[str, t.Any]) -> Engine:
    """The engine that the options of load_balancer_uploads name."""

    def fetch(path: str) -> t.Tuple[int, str]:
        answer = get(Endpoint(options["address"], options["port"], options["address"], 3), path)
        return answer.status, answer.body.decode("utf-8", "replace")

    if options["engine"] == "haproxy":
        file = Files(options["directory"]).map
        # Unlike a worker's own socket, the master's does not end the connection with its answer.
        return Haproxy(fetch, lambda command: ask_socket(options["master_socket"], f"{command}\nquit"), file)
    return Nginx(fetch)


def switch(
    wanted: Wanted, engine: Engine, files: Files, now: t.Callable[[], float], pace: Pace, check_mode: bool = False
) -> Outcome:
    """Have it so, see that the engine goes by it, and wait for what can only become less; raises UploadsError."""
    _refuse_a_length(wanted)
    try:
        in_force = engine.in_force()
        _refuse_the_way_back(wanted, in_force)
        with contextlib.nullcontext() if check_mode else files.locked():
            before = files.record()
            _refuse_after_the_hold(wanted, before, in_force, now())
            after = decided(before, wanted, now())
            changed = differs(before, after, in_force, now())
            if not check_mode and (changed or before != after):
                for record in steps(before, after):
                    files.write(record, now())
                    engine.tell(record)
                in_force = _seen(after, engine, now, pace)
        return Outcome(changed, after, in_force, _emptied(engine, in_force, pace, check_mode))
    except (OSError, ValueError) as error:
        raise UploadsError(f"the balancer cannot be asked: {_words(error)}") from error


def _refuse_a_length(wanted: Wanted) -> None:
    if not 1 <= wanted.hold_seconds <= HOLD_SECONDS_LIMIT:
        raise UploadsError(f"hold_seconds is {wanted.hold_seconds}; a hold lasts 1 to {HOLD_SECONDS_LIMIT} s")


def _refuse_the_way_back(wanted: Wanted, in_force: Uploads) -> None:
    if wanted.route == UPLOAD_SERVERS and not in_force.upload_servers:
        raise UploadsError(
            "uploads cannot go to upload servers, the balancer has none; set load_balancer_upload_servers and run the etapa's playbook"
        )


def _refuse_after_the_hold(wanted: Wanted, before: Record, in_force: Uploads, now: float) -> None:
    if wanted.only_while_held and not (in_force.held and before.held(now + _MARGIN_SECONDS)):
        raise UploadsError(
            f"uploads are no longer held, so some may have been written to {in_force.route} since; nothing was changed."
            " Hold them again, and copy what is new, or give hold_seconds more"
        )


def _seen(record: Record, engine: Engine, now: t.Callable[[], float], pace: Pace) -> Uploads:
    deadline = pace.clock() + _EFFECT_SECONDS
    while True:
        in_force = engine.in_force()
        if not differs(record, record, in_force, now()):
            return in_force
        if pace.clock() >= deadline:
            raise UploadsError(
                f"uploads still go to {in_force.route} and are {'held' if in_force.held else 'not held'} {_EFFECT_SECONDS:g} s after the balancer"
                f" was to have them go to {record.route}; read its journal, and whether its configuration is the etapa's"
            )
        pace.sleep(0.05)


def _emptied(engine: Engine, in_force: Uploads, pace: Pace, check_mode: bool) -> InFlight:
    deadline = pace.clock() + pace.timeout_seconds
    while True:
        found = engine.in_flight()
        if check_mode or not any(found[route] for route in waited_for(in_force)) or pace.clock() >= deadline:
            return found
        pace.sleep(0.05)


def _words(error: Exception) -> str:
    return problem(error) if isinstance(error, OSError) else str(error)
