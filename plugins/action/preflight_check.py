# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Opens certificates and keys that ansible-vault has encrypted: only the controller's own process has the passwords."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.escala.ha.plugins.module_utils._preflight_edge import CERTIFICATE_FILES


class ActionModule(ActionBase):
    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[t.Dict[str, t.Any]] = None) -> t.Dict[str, t.Any]:
        result: t.Dict[str, t.Any] = super().run(tmp, task_vars)
        hosts = self._task.args.get("hosts") or {}
        named = {host.get("values", {}).get(variable) for host in hosts.values() for variable in CERTIFICATE_FILES}
        opened = {str(path): self._opened(str(path)) for path in named if path}
        arguments = {**self._task.args, "opened": opened}
        result.update(self._execute_module(module_args=arguments, task_vars=task_vars))
        self._loader.cleanup_all_tmp_files()
        return result

    def _opened(self, path: str) -> str:
        """Where to read it; a file that cannot be opened is a fault, which the module finds."""
        try:
            return str(self._loader.get_real_file(path))
        except AnsibleError:
            return path
