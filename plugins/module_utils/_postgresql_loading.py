# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have a server load its files again when they changed since it last did, and only when it can."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._rolling import Source

QUERY = """
select json_build_object(
  'loaded_at', extract(epoch from pg_conf_load_time()),
  'faults', (select coalesce(json_agg(fault), '[]') from (
      select sourcefile || ' line ' || sourceline || ': ' || coalesce(name || ': ', '') || error from pg_file_settings
      where error is not null and error <> 'setting could not be applied'
      union all
      select 'pg_hba.conf line ' || line_number || ': ' || error from pg_hba_file_rules where error is not null
      union all
      select 'pg_ident.conf line ' || line_number || ': ' || error from pg_ident_file_mappings where error is not null
    ) as found (fault)))
"""
RELOAD = "select pg_reload_conf()"


class Loaded(t.NamedTuple):
    """When the server last read its files (seconds since the epoch), and what it would not understand in them now."""

    at: float
    faults: t.Sequence[str]


def parsed(answer: str) -> Loaded:
    """What QUERY answered."""
    found = json.loads(answer)
    return Loaded(float(found["loaded_at"]), found["faults"])


def stale(loaded: Loaded, sources: t.Sequence[Source]) -> t.Optional[str]:
    """Why the files must be read again, None when they need not be."""
    newest = max(sources, key=lambda source: source.changed_at)
    return f"{newest.path} changed after the server last read it" if newest.changed_at > loaded.at else None
