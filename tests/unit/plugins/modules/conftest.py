import importlib
import json

import pytest
from ansible.module_utils.testing import patch_module_args


@pytest.fixture
def run_module(capsys):
    """Run a module's main() with options, and return what it would hand back to Ansible."""

    def run(name, options, check_mode=False):
        module = importlib.import_module(f"ansible_collections.escala.ha.plugins.modules.{name}")
        with patch_module_args({**options, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out.strip().splitlines()[-1])

    return run
