# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof that what is written on the primary arrives: a token is committed there, and read on every standby."""

from __future__ import annotations

import concurrent.futures
import secrets
import typing as t

from ansible_collections.escala.ha.plugins.module_utils import _postgresql_checks as checks
from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import Session, SessionError
from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import lsn_text, parse_lsn
from ansible_collections.escala.ha.plugins.module_utils._postgresql_observed import Json
from ansible_collections.escala.ha.plugins.module_utils._postgresql_replication import Observation, Recent, Servers
from ansible_collections.escala.ha.plugins.module_utils._verdict import Check, Verdict

TOKEN = Check(3, "postgresql_token_arrives", "What is written on the primary can be read on every standby")

_TABLE = """
CREATE TABLE IF NOT EXISTS escala_monitor.token (token text PRIMARY KEY, written_at timestamptz NOT NULL DEFAULT now())
"""
# Each check has a token of its own, so that two at once do not take one another's away.
_WRITE = """
WITH gone AS (DELETE FROM escala_monitor.token WHERE written_at < now() - interval '1 hour')
INSERT INTO escala_monitor.token (token) VALUES ($1)
"""
_READ = "SELECT count(*) FROM escala_monitor.token WHERE token = $1"
_PAUSE_SECONDS = 0.02


class Clock(t.NamedTuple):
    """Seconds that only rise, and how to let some pass."""

    now: t.Callable[[], float]
    sleep: t.Callable[[float], None]


def judge_token(servers: Servers, seen: Observation, check_mode: bool, clock: Clock) -> Verdict:
    """Commit a token on the primary and find it on every standby; in check mode only see that they come to the primary's position."""
    if seen.primary is None:
        return TOKEN.fails(f"there is no primary to write to: {seen.reason}")
    token = "" if check_mode else secrets.token_hex(16)
    evidence: Json = {"primary": seen.primary, "written": not check_mode, "limit_seconds": servers.limit_seconds}
    begin = clock.now()
    try:
        with servers.session(seen.primary) as session:
            warnings = _write(session, token, servers.limit_seconds) if token else []
            rows = session.execute("SELECT pg_current_wal_flush_lsn()", limit_seconds=servers.limit_seconds).rows
    except SessionError as error:
        return TOKEN.fails(_refused(seen.primary, error), **evidence)
    lsn = parse_lsn(rows[0][0] or "")
    evidence.update(lsn=lsn_text(lsn), committed_in_seconds=round(clock.now() - begin, 3))
    if warnings:
        return TOKEN.fails(f"{seen.primary} committed on its own disk only: {'; '.join(warnings)}", **evidence)
    standbys = list(seen.standbys)
    with concurrent.futures.ThreadPoolExecutor(max(1, len(standbys))) as pool:
        arrived = dict(zip(standbys, pool.map(lambda name: _arrival(servers, name, lsn, token, clock), standbys)))
    evidence["standbys"] = {name: fault or f"after {seconds:.3f} s" for name, (seconds, fault) in arrived.items()}
    return _verdict(seen.primary, lsn, arrived, evidence)


def _verdict(primary: str, lsn: int, arrived: t.Mapping[str, t.Tuple[float, str]], evidence: Json) -> Verdict:
    faults = [f"{name} {fault}" for name, (_seconds, fault) in arrived.items() if fault]
    if faults:
        return TOKEN.fails(f"{'; '.join(faults)}; see whether they stream from {primary}", **evidence)
    slowest = max((seconds for seconds, _fault in arrived.values()), default=0.0)
    if not evidence["written"]:
        return TOKEN.passes(
            f"check mode, so no token was written; {', '.join(arrived) or 'nobody'} replayed up to {lsn_text(lsn)} of {primary} within {slowest:.3f} s",
            **evidence,
        )
    where = f"read on {', '.join(arrived)} within {slowest:.3f} s" if arrived else "and there is no standby"
    return TOKEN.passes(f"a token was committed on {primary} at {lsn_text(lsn)}, {where}", **evidence)


def _write(session: Session, token: str, limit_seconds: float) -> t.List[str]:
    """Commit the token, and return the server's WARNINGs: one says that no standby has confirmed it."""
    made = session.execute(_TABLE, limit_seconds=limit_seconds)
    written = session.execute(_WRITE, [token], limit_seconds=limit_seconds)
    return made.warnings + written.warnings


def _refused(primary: str, error: SessionError) -> str:
    if error.kind == "limit":
        return f"{primary} did not commit in time: too few standbys confirm, or it hangs. Read `escala-pg-guard status` there"
    return f"{primary} took no token: {error}"


def _arrival(servers: Servers, name: str, lsn: int, token: str, clock: Clock) -> t.Tuple[float, str]:
    """After how many seconds a standby had the position and the token, and what was wrong, empty for nothing."""
    begin = clock.now()
    try:
        with servers.session(name) as session:
            while True:
                rows = session.execute("SELECT pg_last_wal_replay_lsn()", limit_seconds=servers.limit_seconds).rows
                replayed = parse_lsn(rows[0][0]) if rows[0][0] else None
                if replayed is not None and replayed >= lsn:
                    break
                if clock.now() - begin >= servers.limit_seconds:
                    at = "nothing" if replayed is None else lsn_text(replayed)
                    return (
                        clock.now() - begin,
                        f"has replayed {at} of {lsn_text(lsn)} after {servers.limit_seconds:g} s",
                    )
                clock.sleep(_PAUSE_SECONDS)
            found = not token or session.execute(_READ, [token], limit_seconds=servers.limit_seconds).rows == [["1"]]
    except SessionError as error:
        return clock.now() - begin, f"could not be read: {error}"
    return clock.now() - begin, "" if found else "has replayed the commit and not its row: its data is another's"


def replication_checks(
    options: t.Mapping[str, t.Any], check_mode: bool, clock: Clock
) -> t.List[t.Callable[[], Verdict]]:
    """All checks of postgresql_replication_check, from its options."""
    servers = Servers(options, options["request_timeout_seconds"])
    limits = checks.Limits(
        options["lag_limit_bytes"],
        options["lag_limit_seconds"],
        options["guard_limit_seconds"],
        options["certificate_days_left"],
    )
    seen = Recent(servers.observe, clock.now)
    every: t.List[t.Callable[[], Verdict]] = [
        lambda: checks.judge_answers(seen()),
        lambda: checks.judge_primary(seen()),
        lambda: checks.judge_history(seen()),
        lambda: checks.judge_streaming(seen()),
        lambda: checks.judge_synchronous(seen()),
        lambda: checks.judge_lag(seen(), limits),
        lambda: checks.judge_slots(seen()),
        lambda: checks.judge_settings(seen(), options["checksums"]),
        lambda: judge_token(servers, seen(), check_mode, clock),
    ]
    if options["guard_certificate_file"]:
        every[-1:-1] = [lambda: checks.judge_guards(seen(), limits), lambda: checks.judge_certificates(seen(), limits)]
    return every
