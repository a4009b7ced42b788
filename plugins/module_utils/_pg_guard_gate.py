# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is put right before every start of PostgreSQL, whoever starts it: the unit asks for it, with the guard running or not."""

from __future__ import annotations

import os
import sys

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import Gate, forked, gate
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_config import Config, rules_of
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_files import Control, DataDirectory
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_promise import Memory


def is_fork(config: Config, timeline: int, memory: Memory) -> bool:
    """Whether what this node's server wrote on a timeline was written without an election, by what its guard remembers."""
    alone = rules_of(config).voting(memory.quorum) == (config.node,)
    return forked(timeline, memory.elected, memory.joined is not None, alone)


def judge(config: Config, data: DataDirectory, control: Control, memory: Memory) -> Gate:
    """Whether what is in the data directory may be started, and what is put right before; raises OSError and ValueError."""
    wrote = control.written_on
    if wrote and is_fork(config, wrote, memory):
        return Gate(
            False,
            f"somebody promoted {data.path} to timeline {wrote}, for which {config.node} was not elected"
            f" (last it was for {memory.elected or 'none'}); its guard copies it afresh",
        )
    return gate(
        memory.promise,
        data.history_sizes(),
        os.path.exists(os.path.join(data.path, "standby.signal")),
        None,
        control.system_identifier,
        memory.joined,
    )


def pass_gate(config: Config, directory: str) -> int:
    """Have the start be one as a standby that follows nobody, or refuse it with an exit status and a reason."""
    data = DataDirectory(config.here.data_directory)
    try:
        control = data.control()
        if control is None:
            unusable = os.path.exists(data.rewind_mark)
            why = "is of no use as it is, and the guard copies it afresh" if unusable else "has no data yet"
            sys.stderr.write(f"<4>PostgreSQL does not start: {data.path} {why}\n")
            return 1
        verdict = judge(config, data, control, Memory(directory))
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
