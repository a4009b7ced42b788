# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the application's database knows of its uploads, by the address that the application itself uses."""

from __future__ import annotations

import typing as t
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ansible_collections.escala.ha.plugins.module_utils._uploads import Row, UploadsError

# Of an address for Prisma these mean something to libpq; the rest is Prisma's own.
_LIBPQ = frozenset(
    {
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "connect_timeout",
        "target_session_attrs",
        "application_name",
        "options",
    }
)
_CONNECT_SECONDS = 5


def for_libpq(url: str) -> str:
    """An address as the application has it, without what libpq would refuse."""
    parts = urlsplit(url)
    known = [(key, value) for key, value in parse_qsl(parts.query) if key in _LIBPQ]
    return urlunsplit(parts._replace(query=urlencode(known, safe="/")))


def rows_of(fetched: t.Iterable[t.Sequence[t.Any]]) -> t.Dict[str, Row]:
    """The query's columns key, size, sha256. Raises UploadsError where there are others."""
    try:
        return {str(key): Row(int(size), str(sha256).strip().lower()) for key, size, sha256 in fetched}
    except (ValueError, TypeError) as broken:
        raise UploadsError(f"migrate_uploads_query must give three columns, key, size and sha256: {broken}") from broken


def read_rows(url: str, query: str) -> t.Dict[str, Row]:
    """All rows of uploads. Raises UploadsError without the password that is in the address."""
    try:
        import psycopg
    except ImportError as lacking:
        raise UploadsError("python3-psycopg is not installed here, so the rows of uploads cannot be read") from lacking
    try:
        with psycopg.connect(for_libpq(url), connect_timeout=_CONNECT_SECONDS) as connection:
            return rows_of(connection.execute(query.encode()).fetchall())
    except psycopg.Error as error:
        secret = urlsplit(url).password or ""
        said = " ".join(str(error).split())
        raise UploadsError(
            f"the rows of uploads cannot be read: {said.replace(secret, '***') if secret else said};"
            " mend it, or set migrate_uploads_query to '' to do without"
        ) from error
