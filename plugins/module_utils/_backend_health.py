# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Active health checks for an nginx that has none of its own.

The role load_balancer copies this file to each balancer, where it runs as a service: it asks every instance whether it is ready, and when the set
of those changes it writes nginx's list of servers anew, has nginx test it, and reloads nginx. It imports nothing but Python's own library.

What it reads, in the JSON file that is its only argument:
  backends          [{"name", "address", "port"}], in the order in which nginx takes them
  path, interval_seconds, timeout_seconds, rise, fall
  server_parameters what follows each server's address in nginx's list
  upstream_file, drained_file, state_file
  services          what nginx passes on as it is, with TLS: [{"name", "servers" (as the backends), "path", "ca_file", "server_name", "upstream_file"}];
                    may be absent, and so may ca_file (then the system's authorities) and server_name (then each server's own name)
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import queue
import signal
import ssl
import subprocess
import sys
import threading
import time
import typing as t

ENGINE = "nginx"
# So that one who is ill for a moment costs nginx one reload and not many.
_BETWEEN_RELOADS_SECONDS = 1.0
_STATE_EVERY_SECONDS = 1.0
# The part of the interval after which an answer that says something new is confirmed.
_CONFIRM = 0.4
_COMMAND_SECONDS = 30
# For how long after a reload a process of before may still make a connection to a server that was left out.
_ENDING_SECONDS = 3.0


class Backend(t.NamedTuple):
    """One instance of the application."""

    name: str
    address: str
    port: int


class Standing(t.NamedTuple):
    """What is held of an instance, why and since when; `contrary` counts the answers in a row that say otherwise."""

    ready: bool
    reason: str
    since: float
    contrary: int = 0


class Thresholds(t.NamedTuple):
    """How many answers in a row change what is held of an instance."""

    rise: int
    fall: int


def judged(before: t.Optional[Standing], fault: str, now: float, thresholds: Thresholds) -> Standing:
    """What is held of an instance after an answer; `fault` is empty for one that is ready. The first answer counts at once."""
    ready, reason = not fault, fault or "ready"
    if before is None:
        return Standing(ready, reason, now)
    if ready == before.ready:
        return before._replace(reason=reason, contrary=0)
    contrary = before.contrary + 1
    if contrary < (thresholds.rise if ready else thresholds.fall):
        return before._replace(contrary=contrary)
    return Standing(ready, reason, now)


class Rotation(t.NamedTuple):
    """Which instances get requests, and what is unusual about that."""

    names: t.FrozenSet[str]
    note: str = ""


def rotation(
    names: t.Sequence[str], ready: t.Collection[str], drained: t.Collection[str], last: t.Collection[str]
) -> Rotation:
    """The ready ones that nobody has drained. Where there is none, the last set stays: a request that may fail beats one that must.

    It is never empty as long as there is an instance at all.
    """
    willing = [name for name in names if name not in drained]
    chosen = [name for name in willing if name in ready]
    if chosen:
        return Rotation(frozenset(chosen))
    if not willing:
        still = [name for name in names if name in ready] or names
        return Rotation(frozenset(still), "every instance is drained, so none is left out")
    stays = [name for name in willing if name in last] or willing
    return Rotation(frozenset(stays), "no instance is ready, so the last ones that were stay")


def live(names: t.Sequence[str], ready: t.Collection[str]) -> Rotation:
    """The servers of a service that get new connections. Where none is live none does: its clients learn at once that there is nobody."""
    chosen = frozenset(name for name in names if name in ready)
    return Rotation(chosen, "" if chosen else "no server is live, so connections are closed at once")


def upstream_text(backends: t.Sequence[Backend], in_rotation: t.Collection[str], parameters: str) -> str:
    """The list of servers for nginx. One that is left out stays in it, marked, so that the list is the same length for every worker."""
    lines = (
        f"server {one.address}:{one.port} {parameters}{'' if one.name in in_rotation else ' down'}; # {one.name}\n"
        for one in backends
    )
    return "# Written by escala-backend-health; a change here lasts until an instance's state changes.\n" + "".join(
        lines
    )


def in_rotation_of(text: str) -> t.FrozenSet[str]:
    """The names that a list of servers has in rotation."""
    entries = (line.partition("; # ") for line in text.splitlines() if line.startswith("server "))
    return frozenset(name for server, _mark, name in entries if name and not server.endswith(" down"))


def state_of(
    backends: t.Sequence[Backend],
    standings: t.Mapping[str, Standing],
    drained: t.Mapping[str, float],
    current: Rotation,
    now: float,
) -> t.Dict[str, t.Any]:
    """What the status page says; `drained` has since when each is."""
    return {
        "engine": ENGINE,
        "checked_at": now,
        "note": current.note,
        "backends": [_shown(one, standings.get(one.name), drained.get(one.name), current) for one in backends],
    }


def _shown(
    one: Backend, standing: t.Optional[Standing], drained_since: t.Optional[float], current: Rotation
) -> t.Dict[str, t.Any]:
    standing = standing or Standing(False, "not asked yet", 0.0)
    shown = {**one._asdict(), "in_rotation": one.name in current.names}
    if drained_since is not None:
        return {**shown, "state": "drained", "reason": f"drained; it is {standing.reason}", "since": drained_since}
    return {
        **shown,
        "state": "up" if standing.ready else "down",
        "reason": standing.reason,
        "since": standing.since,
    }


class Tls(t.NamedTuple):
    """What a server's certificate must be: signed by one of these authorities, the system's where that is empty, and for this name."""

    ca_file: str
    name: str


def fault_of(backend: Backend, path: str, timeout_seconds: float, tls: t.Optional[Tls] = None) -> str:
    """Why this server is not ready, or an empty text when it answers 2xx."""
    connection = http.client.HTTPConnection(backend.address, backend.port, timeout=timeout_seconds)
    try:
        if tls:
            connection.connect()
            # Read anew each time, since an authority may be renewed.
            context = ssl.create_default_context(cafile=tls.ca_file or None)
            # Newer Pythons refuse an authority that other programs, HAProxy among them, take as it is.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            connection.sock = context.wrap_socket(connection.sock, server_hostname=tls.name)
        connection.request("GET", path, headers={"Connection": "close", "User-Agent": "escala-backend-health"})
        status = connection.getresponse().status
    except TimeoutError:
        return f"no answer to {path} within {timeout_seconds:g} s"
    except (OSError, http.client.HTTPException) as error:
        return f"{path}: {str(error) or type(error).__name__}"
    finally:
        connection.close()
    return "" if 200 <= status < 300 else f"{path} answered {status}"


class Service(t.NamedTuple):
    """Servers to which nginx passes connections as they are."""

    name: str
    servers: t.List[Backend]
    path: str
    ca_file: str
    server_name: str
    upstream_file: str
    # How many good answers in a row let a server back in; 0 for as many as an instance.
    rise: int = 0


class Settings(t.NamedTuple):
    """The JSON file; see the top of this one."""

    backends: t.List[Backend]
    path: str
    interval_seconds: float
    timeout_seconds: float
    thresholds: Thresholds
    server_parameters: str
    upstream_file: str
    drained_file: str
    state_file: str
    services: t.Sequence[Service] = ()


def _backends_from(entries: t.Iterable[t.Mapping[str, t.Any]]) -> t.List[Backend]:
    return [Backend(one["name"], one["address"], int(one["port"])) for one in entries]


def settings_from(text: str) -> Settings:
    """The settings in the JSON file's text; raises ValueError, KeyError or TypeError for what is none."""
    data = json.loads(text)
    thresholds = Thresholds(int(data.pop("rise")), int(data.pop("fall")))
    backends = _backends_from(data.pop("backends"))
    services = [
        Service(
            name=one["name"],
            servers=_backends_from(one["servers"]),
            path=one["path"],
            ca_file=one.get("ca_file") or "",
            server_name=one.get("server_name") or "",
            upstream_file=one["upstream_file"],
            rise=int(one.get("rise") or 0),
        )
        for one in data.pop("services", [])
    ]
    return Settings(backends=backends, thresholds=thresholds, services=services, **data)


def write(path: str, text: str) -> None:
    """Replace a file in one step, so that nobody ever reads half of it."""
    draft = f"{path}.new"
    with open(draft, "w") as file:
        file.write(text)
    os.chmod(draft, 0o644)
    os.replace(draft, path)


def read(path: str) -> str:
    """A file's text, empty where there is none."""
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        return ""


def log(level: int, message: str) -> None:
    """To the journal, which reads the level from the beginning of the line."""
    sys.stdout.write(f"<{level}>{message}\n")
    sys.stdout.flush()


_ERROR, _NOTICE = 3, 5


class Pool:
    """What is held of one set of servers, and nginx's list of them; `service` is empty for the application's instances."""

    def __init__(self, service: str, backends: t.Sequence[Backend], upstream_file: str, thresholds: Thresholds) -> None:
        self.service = service
        self.thresholds = thresholds
        self.backends = backends
        self.upstream_file = upstream_file
        # What nginx was last seen to load: a list on disk may be one whose reload failed, or was never begun.
        self.loaded_file = f"{upstream_file}.loaded"
        self.names = [one.name for one in backends]
        self.standings: t.Dict[str, Standing] = {}
        written = in_rotation_of(read(upstream_file)) & set(self.names)
        self.current = Rotation(written or frozenset(self.names))

    @property
    def complete(self) -> bool:
        """Whether every server was heard."""
        return len(self.standings) == len(self.names)

    def wanted(self, drained: t.Collection[str]) -> Rotation:
        ready = {name for name, standing in self.standings.items() if standing.ready}
        return live(self.names, ready) if self.service else rotation(self.names, ready, drained, self.current.names)

    def has_loaded(self, text: str) -> bool:
        """Whether nginx is known to go by this list."""
        return text == read(self.upstream_file) == read(self.loaded_file)


class Checker:
    """Holds what is known of all servers, and keeps nginx's lists to it."""

    def __init__(
        self, settings: Settings, run: t.Callable[[t.Sequence[str]], str], clock: t.Callable[[], float]
    ) -> None:
        """`run` runs a command and returns what it complained of, empty when it succeeded; `clock` is time.time."""
        self._settings = settings
        self._run = run
        self._clock = clock
        usual = settings.thresholds
        self._application = Pool("", settings.backends, settings.upstream_file, usual)
        self._services = [
            Pool(one.name, one.servers, one.upstream_file, usual._replace(rise=one.rise or usual.rise))
            for one in settings.services
        ]
        self._drained: t.Dict[str, float] = {}
        # The servers whose open connections are being ended, and until when.
        self._ending: t.Dict[Backend, float] = {}
        self._reloaded_at = 0.0
        self._state_at = 0.0
        self._refused = ""

    def hear(self, name: str, fault: str, service: str = "") -> None:
        """Take in one answer."""
        pool = next(pool for pool in (self._application, *self._services) if pool.service == service)
        before = pool.standings.get(name)
        after = judged(before, fault, self._clock(), pool.thresholds)
        if before is None or before.ready != after.ready:
            who = f"{service}: {name}" if service else name
            log(_NOTICE, f"{who} is {'ready' if after.ready else f'not ready: {after.reason}'}")
        pool.standings[name] = after

    def act(self) -> None:
        """Bring nginx's lists and the status page up to date, where it is time for that."""
        now = self._clock()
        if not self._application.complete:
            return
        drained = self._drained_now(now)
        pools = [self._application, *(pool for pool in self._services if pool.complete)]
        wanted = [(pool, pool.wanted(drained)) for pool in pools]
        for pool, one in wanted:
            if one.note and one.note != pool.current.note:
                log(_ERROR, f"{pool.service}: {one.note}" if pool.service else one.note)
        news = drained.keys() != self._drained.keys()
        self._drained = drained
        texts = [
            (pool, upstream_text(pool.backends, one.names, self._settings.server_parameters)) for pool, one in wanted
        ]
        texts = [(pool, text) for pool, text in texts if not pool.has_loaded(text)]
        if texts:
            if now - self._reloaded_at < _BETWEEN_RELOADS_SECONDS or not self._apply(texts, now):
                return
            news = True
        for pool, one in wanted:
            self._note_what_ends(pool, one, now)
            pool.current = one
        if news or now - self._state_at >= _STATE_EVERY_SECONDS:
            self._state_at = now
            self._end_connections(now)
            write(self._settings.state_file, json.dumps(self._state(now)) + "\n")

    def _state(self, now: float) -> t.Dict[str, t.Any]:
        app = self._application
        state = state_of(app.backends, app.standings, self._drained, app.current, now)
        services = [
            {
                "name": pool.service,
                "note": pool.current.note,
                "backends": [_shown(one, pool.standings.get(one.name), None, pool.current) for one in pool.backends],
            }
            for pool in self._services
        ]
        return {**state, "services": services} if services else state

    def _drained_now(self, now: float) -> t.Dict[str, float]:
        try:
            names = json.loads(read(self._settings.drained_file) or "[]")
        except ValueError:
            return self._drained
        return {name: self._drained.get(name, now) for name in names if name in self._application.names}

    def _note_what_ends(self, pool: Pool, wanted: Rotation, now: float) -> None:
        if not pool.service:
            return
        for one in pool.backends:
            if one.name in wanted.names:
                self._ending.pop(one, None)
            elif one.name in pool.current.names:
                self._ending[one] = now + _ENDING_SECONDS

    def _end_connections(self, now: float) -> None:
        """End what is open to servers that were left out: nobody else would, when a host is silent or a process hangs."""
        for one, until in list(self._ending.items()):
            complaint = self._run(["ss", "--kill", "--tcp", "dst", one.address, "dport", "=", str(one.port)])
            if complaint:
                log(_ERROR, f"what is open to {one.name} goes on until it has been silent too long: {complaint}")
            if complaint or now >= until:
                del self._ending[one]

    def _apply(self, texts: t.Sequence[t.Tuple[Pool, str]], now: float) -> bool:
        """Give nginx other lists; if it refuses them they are taken back, what runs stays, and they are tried again."""
        self._reloaded_at = now
        before = [(pool, read(pool.upstream_file)) for pool, _text in texts]
        for pool, text in texts:
            write(pool.upstream_file, text)
        complaint = self._run(["nginx", "-t", "-q"])
        if complaint:
            for pool, text in before:
                write(pool.upstream_file, text)
        elif not self._run(["systemctl", "is-active", "--quiet", "nginx.service"]):
            complaint = self._run(["systemctl", "reload", "nginx.service"])
        if not complaint:
            for pool, text in texts:
                write(pool.loaded_file, text)
        if complaint and complaint != self._refused:
            log(_ERROR, f"nginx did not take the list of servers, what ran before stays: {complaint}")
        self._refused = complaint
        return not complaint


def run_command(command: t.Sequence[str]) -> str:
    """What a command complained of, empty when it succeeded."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"{' '.join(command)} took longer than {_COMMAND_SECONDS} s"
    return "" if done.returncode == 0 else (done.stderr.strip() or f"{' '.join(command)} ended with {done.returncode}")


class Question(t.NamedTuple):
    """Whom to ask what; `service` is empty for an instance of the application."""

    service: str
    backend: Backend
    path: str
    tls: t.Optional[Tls]


def questions(settings: Settings) -> t.List[Question]:
    """One for every server of the settings."""
    instances = [Question("", one, settings.path, None) for one in settings.backends]
    return instances + [
        Question(service.name, one, service.path, Tls(service.ca_file, service.server_name or one.name))
        for service in settings.services
        for one in service.servers
    ]


def probe(question: Question, settings: Settings, answers: queue.Queue[t.Tuple[str, str, str]]) -> None:
    """Ask one server again and again, each in a thread of its own: one that hangs holds up no other."""
    before = ""
    while True:
        begun = time.monotonic()
        fault = fault_of(question.backend, question.path, settings.timeout_seconds, question.tls)
        answers.put((question.backend.name, fault, question.service))
        # An answer unlike the one before is soon followed by the one that confirms it.
        pause = settings.interval_seconds * (_CONFIRM if bool(fault) != bool(before) else 1)
        before = fault
        time.sleep(max(0.0, pause - (time.monotonic() - begun)))


def begin_anew(_signal: int, _frame: t.Any) -> None:
    """A reload: the same process goes on as a new program, with the program and the settings that are on disk now."""
    os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606  it is itself


def main() -> None:
    settings = settings_from(read(sys.argv[1]))
    signal.signal(signal.SIGHUP, begin_anew)
    signal.signal(signal.SIGTERM, lambda _signal, _frame: os._exit(0))
    checker = Checker(settings, run_command, time.time)
    answers: queue.Queue[t.Tuple[str, str, str]] = queue.Queue()
    for question in questions(settings):
        threading.Thread(target=probe, args=(question, settings, answers), daemon=True).start()
    while True:
        with contextlib.suppress(queue.Empty):
            checker.hear(*answers.get(timeout=0.1))
        checker.act()


if __name__ == "__main__":
    main()
