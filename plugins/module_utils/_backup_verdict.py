# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge by what the backup host says whether the database could be restored today."""

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._verdict import Check, Verdict

RESTORABLE = Check(
    3,
    "postgresql_backup_restorable",
    "The database can be restored up to now, and a restored backup has proven it lately",
)
_HOUR = 3600.0


def judge_backups(results: t.Mapping[str, t.Mapping[str, t.Any]]) -> Verdict:
    """The verdict of what postgresql_backup_info returned on the backup host, also where it failed or nobody could enter."""
    if len(results) != 1:
        return RESTORABLE.fails(f"{len(results)} hosts are in backup_servers, and one keeps the backups of a cluster")
    [(host, result)] = results.items()
    if "problems" not in result:
        why = "could not be reached" if result.get("unreachable") else str(result.get("msg", "said nothing of backups"))
        return RESTORABLE.fails(
            f"{host}: {why}; run playbooks/etapa_3_postgresql.yml, which makes the backup host, or bring it back"
        )
    evidence = {key: value for key, value in result.items() if key not in ("changed", "failed", "invocation")}
    if result["problems"]:
        return RESTORABLE.fails(f"{host}: {'; '.join(result['problems'])}", **evidence)
    return RESTORABLE.passes(
        f"{host}: the last backup is {result['backup_age_seconds'] / _HOUR:.1f} h old, WAL is there up to {result['archived_lsn']}"
        f"{' and received as it is written' if result['receiving'] else ''}, and a restored backup passed its drill"
        f" {result['drill_age_seconds'] / _HOUR:.1f} h ago",
        **evidence,
    )
