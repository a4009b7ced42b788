# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is put right before every start of PostgreSQL, whoever starts it: the unit asks for it, with the guard running or not."""

from __future__ import annotations

import os
import sys

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import gate
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_config import Config
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_files import DataDirectory
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_promise import Memory


def pass_gate(config: Config, directory: str) -> int:
    """Have the start be one as a standby that follows nobody, or refuse it with an exit status and a reason."""
    data = DataDirectory(config.here.data_directory)
    control = data.control()
    if control is None:
        why = (
            "was being rewound, and the guard copies it afresh"
            if os.path.exists(data.rewind_mark)
            else "has no data yet"
        )
        sys.stderr.write(f"<4>PostgreSQL does not start: {data.path} {why}\n")
        return 1
    try:
        memory = Memory(directory)
        verdict = gate(
            memory.promise,
            data.history_sizes(),
            os.path.exists(os.path.join(data.path, "standby.signal")),
            None,
            control.system_identifier,
            memory.joined,
        )
        if not verdict.allowed:
            sys.stderr.write(f"<3>PostgreSQL does not start: {verdict.reason}\n")
            return 1
        data.make_standby()
        data.remove_stubs()
        if any(data.upstream_settings().values()):
            # Where it streams from is the guard's to say, once it has compared histories.
            data.write_upstream("", "")
    except (OSError, ValueError) as error:
        sys.stderr.write(f"<3>PostgreSQL does not start: what the guard remembers or has to write fails: {error}\n")
        return 1
    sys.stderr.write(f"<6>PostgreSQL may start: {verdict.reason}\n")
    return 0
