# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a balancer says of its backends, in one shape whichever engine says it, and whether that is as it should be."""

from __future__ import annotations

import csv
import datetime
import io
import json
import re
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._http import Endpoint, get, problem
from ansible_collections.escala.ha.plugins.module_utils._verdict import Check, Verdict

ENGINES = ("nginx", "haproxy")
STATUS_PATHS = {"nginx": "/backends", "haproxy": "/haproxy;csv"}
# The pool of HAProxy whose servers are the instances; others hold the same servers for other purposes.
POOL = "app"

# What HAProxy's names of services that are passed on as they are begin with.
_SERVICE_PREFIX = "tcp_"

UPLOADS_PATH = "/uploads"
UPLOAD_SERVERS, APPLICATION = "upload_servers", "application"
ROUTES = (UPLOAD_SERVERS, APPLICATION)

UP, DOWN, DRAINED = "up", "down", "drained"

Observation = t.Dict[str, t.Any]


class Backend(t.NamedTuple):
    """One instance as a balancer sees it; `since` is when it came into this state."""

    name: str
    address: t.Optional[str]
    port: t.Optional[int]
    state: str
    in_rotation: bool
    reason: str
    since: float

    def __str__(self) -> str:
        return f"{self.name} is {self.state} ({self.reason})" if self.reason else f"{self.name} is {self.state}"


class Service(t.NamedTuple):
    """What a balancer passes on as it is, and who serves it."""

    name: str
    backends: t.List[Backend]


class Seen(t.NamedTuple):
    """All backends of a balancer, when they were last looked at, what the engine adds to that, and the services beside the application."""

    engine: str
    backends: t.List[Backend]
    checked_at: float
    note: str
    services: t.Sequence[Service] = ()


class Uploads(t.NamedTuple):
    """Where the engine says that uploads go, whether it holds those that write, and the upload servers in its configuration."""

    route: str
    held: bool
    upload_servers: t.List[str]


def parse_nginx(text: str, _now: float) -> Seen:
    """What the checker beside nginx serves; raises ValueError when it is not that."""
    try:
        said = json.loads(text)
        services = [Service(one["name"], _nginx_backends(one["backends"])) for one in said.get("services", [])]
        return Seen("nginx", _nginx_backends(said["backends"]), float(said["checked_at"]), said["note"], services)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the checker's state is not as expected ({type(error).__name__}: {error})") from error


def _nginx_backends(entries: t.Iterable[t.Mapping[str, t.Any]]) -> t.List[Backend]:
    return [
        Backend(
            name=entry["name"],
            address=entry["address"],
            port=int(entry["port"]),
            state=entry["state"],
            in_rotation=bool(entry["in_rotation"]),
            reason=entry["reason"],
            since=float(entry["since"]),
        )
        for entry in entries
    ]


def parse_haproxy(text: str, now: float) -> Seen:
    """HAProxy's statistics as CSV; raises ValueError when they are not that, or have no instance.

    A server that is drained and down at once is shown as down: the statistics do not tell the two apart.
    """
    rows = csv.DictReader(io.StringIO(text[2:] if text.startswith("# ") else text))
    if not {"pxname", "svname", "status", "lastchg"} <= set(rows.fieldnames or ()):
        raise ValueError("the answer is not HAProxy's statistics")
    pools: t.Dict[str, t.List[Backend]] = {}
    for row in rows:
        if row["svname"] not in ("BACKEND", "FRONTEND"):
            pools.setdefault(row["pxname"], []).append(_haproxy_backend(row, now))
    if POOL not in pools:
        raise ValueError(f"HAProxy's statistics have no server in the backend {POOL}")
    services = [
        Service(name[len(_SERVICE_PREFIX) :], backends)
        for name, backends in pools.items()
        if name.startswith(_SERVICE_PREFIX)
    ]
    return Seen("haproxy", pools[POOL], now, "", services)


def _haproxy_backend(row: t.Mapping[str, str], now: float) -> Backend:
    address, _colon, port = (row.get("addr") or "").rpartition(":")
    state = _haproxy_state(row["status"])
    return Backend(
        name=row["svname"],
        address=address or None,
        port=int(port) if port.isdigit() else None,
        state=state,
        in_rotation=state == UP,
        reason=_haproxy_reason(row, state),
        since=now - int(row["lastchg"] or 0),
    )


def _haproxy_state(status: str) -> str:
    # "UP 1/2" is one that begins to fail and still gets requests, "DOWN 1/2" one that begins to recover.
    if status.startswith("UP") or status == "no check":
        return UP
    return DRAINED if status.startswith(("DRAIN", "MAINT", "NOLB")) else DOWN


def _haproxy_reason(row: t.Mapping[str, str], state: str) -> str:
    status = row["status"]
    if state == DRAINED:
        return "drained by hand" if status.startswith("DRAIN") else f"HAProxy says {status}"
    found = " ".join(part for part in (row.get("check_code"), row.get("last_chk")) if part)
    said = ": ".join(part for part in (row.get("check_desc"), found) if part)
    counted = re.search(r"\d+/\d+$", status)
    return f"{said}, {counted[0]} checks" if counted else said


PARSERS: t.Dict[str, t.Callable[[str, float], Seen]] = {"nginx": parse_nginx, "haproxy": parse_haproxy}


def fetch_status(engine: str, address: str, port: int, timeout_seconds: float) -> str:
    """What the status address answers; raises OSError."""
    answer = get(Endpoint(address, port, address, timeout_seconds), STATUS_PATHS[engine])
    if not answer.good:
        raise OSError(f"answered {answer.status}; see whether {engine} is the engine there")
    return answer.body.decode("utf-8", "replace")


def observe(options: t.Mapping[str, t.Any], now: t.Callable[[], float]) -> Observation:
    """What load_balancer_info returns, from its options: one that cannot be had is an observation too."""
    engine = options["engine"]
    place = f"http://{options['address']}:{options['port']}{STATUS_PATHS[engine]}"
    try:
        text = fetch_status(engine, options["address"], options["port"], options["timeout_seconds"])
    except OSError as error:
        return _nothing(engine, f"{place}: {problem(error)}")
    moment = now()
    try:
        return as_observation(PARSERS[engine](text, moment), moment, _observe_uploads(options))
    except ValueError as error:
        return _nothing(engine, f"{place}: {error}")


def parse_uploads(text: str) -> Uploads:
    """What an engine answers when it is asked where uploads go; raises ValueError when it is not that."""
    try:
        said = json.loads(text)
        if said["route"] not in ROUTES or not isinstance(said["held"], bool):
            raise ValueError(f"the balancer's word on uploads is not as expected: {text.strip()[:100]}")
        return Uploads(said["route"], said["held"], list(said["upload_servers"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"the balancer's word on uploads is not as expected ({type(error).__name__})") from error


def _observe_uploads(options: t.Mapping[str, t.Any]) -> t.Optional[Uploads]:
    """None for a balancer whose configuration cannot be switched, which knows no such page."""
    endpoint = Endpoint(options["address"], options["port"], options["address"], options["timeout_seconds"])
    try:
        answer = get(endpoint, UPLOADS_PATH)
    except OSError:
        return None
    return parse_uploads(answer.body.decode("utf-8", "replace")) if answer.good else None


def as_observation(seen: Seen, now: float, uploads: t.Optional[Uploads] = None) -> Observation:
    return {
        "engine": seen.engine,
        "backends": [shown(backend, now) for backend in seen.backends],
        "services": [
            {"name": service.name, "backends": [shown(backend, now) for backend in service.backends]}
            for service in seen.services
        ],
        "uploads": uploads._asdict() if uploads else None,
        "checked_seconds_ago": round(max(0.0, now - seen.checked_at), 1),
        "note": seen.note,
        "problem": None,
    }


def shown(backend: Backend, now: float) -> t.Dict[str, t.Any]:
    """A backend for Ansible and for people, who read a clock and not seconds since 1970."""
    since_seconds_ago = round(max(0.0, now - backend.since), 1)
    return {**backend._asdict(), "since": _iso(backend.since), "since_seconds_ago": since_seconds_ago}


def _nothing(engine: str, why: str) -> Observation:
    return {
        "engine": engine,
        "backends": [],
        "services": [],
        "uploads": None,
        "checked_seconds_ago": None,
        "note": "",
        "problem": why,
    }


def place_in_name(host: str) -> str:
    """A host's name as it may stand in a verdict's."""
    return re.sub(r"[^a-z0-9]", "_", host.lower())


def judge_rotation(host: str, observation: Observation, expected: t.Sequence[str]) -> Verdict:
    """Whether this balancer sends requests to each expected instance, and to no other."""
    check = Check(
        1,
        f"backends_in_rotation_from_{place_in_name(host)}",
        f"Every instance is in rotation at {host}, none drained or down",
    )
    evidence: t.Dict[str, t.Any] = {"engine": observation["engine"]}
    if observation["problem"]:
        return check.fails(
            f"{host} does not say which instances are in rotation: {observation['problem']};"
            " see whether the balancer and its checker run there",
            **evidence,
        )
    backends = observation["backends"]
    evidence["backends"] = {backend["name"]: _told(backend) for backend in backends}
    if observation["note"]:
        evidence["note"] = observation["note"]
    faults = [f"{entry['name']} {_told(entry)}" for entry in backends if not _serves(entry)]
    names = [backend["name"] for backend in backends]
    faults += [f"{name} is not in the configuration" for name in expected if name not in names]
    faults += [f"{name} is not in the inventory" for name in names if name not in expected]
    if faults:
        return check.fails(f"at {host}: {'; '.join(faults)}. {_next_step(backends)}", **evidence)
    longest = max((backend["since_seconds_ago"] for backend in backends), default=0)
    latest = min((backend["since_seconds_ago"] for backend in backends), default=0)
    return check.passes(
        f"{len(backends)} of {len(expected)} instances in rotation at {host} ({observation['engine']}),"
        f" since {_ago(latest) if _ago(latest) == _ago(longest) else f'{_ago(latest)} to {_ago(longest)}'}",
        **evidence,
    )


def judge_freshness(host: str, observation: Observation, limit_seconds: float) -> Verdict:
    """Whether what this balancer says of its instances is what they are now."""
    check = Check(
        1, f"backend_checks_fresh_from_{place_in_name(host)}", f"The health checks of {host} are at work and up to date"
    )
    engine, age = observation["engine"], observation["checked_seconds_ago"]
    evidence = {
        "engine": engine,
        "checked_seconds_ago": age,
        "limit_seconds": limit_seconds,
        "note": observation["note"],
    }
    if age is None:
        return check.fails(f"{host} does not say when it last checked: {observation['problem']}", **evidence)
    if age > limit_seconds:
        return check.fails(
            f"{host} last checked {age:g} s ago, limit is {limit_seconds:g} s;"
            " read `journalctl -u escala-backend-health` there",
            **evidence,
        )
    if observation["note"]:
        return check.fails(
            f"the health checks of {host} say: {observation['note']}; read `journalctl -u escala-backend-health` there",
            **evidence,
        )
    by = (
        "HAProxy checks by itself" if engine == "haproxy" else f"last checked {age:g} s ago (limit {limit_seconds:g} s)"
    )
    return check.passes(by, **evidence)


def judge_uploads(host: str, observation: Observation, route: t.Optional[str]) -> Verdict:
    """Whether uploads flow at this balancer, and to where they are to where that is known."""
    check = Check(1, f"uploads_flow_from_{place_in_name(host)}", f"Uploads flow at {host}, and are not held")
    uploads = observation["uploads"]
    if not uploads:
        return check.fails(
            f"{host} does not say where uploads go: {observation['problem'] or 'its configuration cannot switch them'};"
            " see whether the balancer runs, and run the etapa's playbook"
        )
    evidence = {"route": uploads["route"], "held": uploads["held"], "upload_servers": uploads["upload_servers"]}
    names = ", ".join(uploads["upload_servers"])
    where = "the application" if uploads["route"] == APPLICATION else names
    if uploads["held"]:
        return check.fails(
            f"{host} answers 503 to uploads that write: they are held, on their way to {where}. A hold ends by itself;"
            " see whether a migration is at work",
            **evidence,
        )
    if route and route != uploads["route"]:
        return check.fails(
            f"{host} sends uploads to {where}, expected is {route}; have the module load_balancer_uploads lead them there",
            **evidence,
        )
    unused = f"; load_balancer_upload_servers ({names}) get none" if names and uploads["route"] == APPLICATION else ""
    return check.passes(f"{host} sends uploads to {where}{unused}", **evidence)


def judge_services(host: str, observation: Observation) -> Verdict:
    """Whether every server of each service that this balancer passes on gets connections."""
    check = Check(
        1,
        f"services_live_from_{place_in_name(host)}",
        f"Every server of the services behind {host} is live, seen from there",
    )
    services = observation["services"]
    if not services:
        return check.fails(
            f"{host} does not say whom its services reach: {observation['problem'] or 'there is none'};"
            " see whether the balancer and its checker run there"
        )
    evidence = {
        service["name"]: {backend["name"]: _told(backend) for backend in service["backends"]} for service in services
    }
    faults = [
        f"{service['name']}: {backend['name']} {_told(backend)}"
        for service in services
        for backend in service["backends"]
        if not _serves(backend)
    ]
    if faults:
        return check.fails(
            f"at {host}: {'; '.join(faults)}. See whether the service runs there and its certificate is valid for its name",
            services=evidence,
        )
    told = ", ".join(f"{service['name']} ({len(service['backends'])})" for service in services)
    return check.passes(f"every server is live at {host}: {told}", services=evidence)


def rotation_checks(options: t.Mapping[str, t.Any], now: t.Callable[[], float]) -> t.List[t.Callable[[], Verdict]]:
    """All checks of load_balancer_rotation_check, from its options and what the balancer has."""
    asked = {**options, "timeout_seconds": options["request_timeout_seconds"]}
    host, route = options["seen_from"], options.get("uploads_route")
    there_is = observe(asked, now)
    checks = [
        lambda: judge_rotation(host, observe(asked, now), options["instances"]),
        lambda: judge_freshness(host, observe(asked, now), options["age_limit_seconds"]),
    ]
    if there_is["uploads"] or route:
        checks.append(lambda: judge_uploads(host, observe(asked, now), route))
    if there_is["services"]:
        checks.append(lambda: judge_services(host, observe(asked, now)))
    return checks


def _serves(backend: t.Mapping[str, t.Any]) -> bool:
    return bool(backend["in_rotation"]) and backend["state"] == UP


def _told(backend: t.Mapping[str, t.Any]) -> str:
    """The state of a backend for a person: what, since when, why."""
    since = f"since {_clock(backend['since'])} ({_ago(backend['since_seconds_ago'])})"
    if backend["state"] == UP:
        return f"{'in rotation' if backend['in_rotation'] else 'ready and not in rotation'} {since}"
    still = ", yet in rotation," if backend["in_rotation"] else ""
    reason = backend["reason"].partition("drained; ")[2] or backend["reason"]
    return f"{backend['state']}{still} {since}{f': {reason}' if reason else ''}"


def _clock(iso: str) -> str:
    return iso.replace("T", " ").replace("+00:00", " UTC")


def _next_step(backends: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    if any(backend["state"] == DRAINED for backend in backends):
        return (
            "What is drained comes back with deploy_app.yml or the etapa's playbook, also after a run that was killed"
        )
    return "Read the instance's journal on its host, or run the etapa's playbook where the list differs"


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago"


def _iso(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat(timespec="seconds")
