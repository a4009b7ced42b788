"""Ansible goes on past a host that it cannot reach, whatever any_errors_fatal says; what must not happen then does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
HERE = "ansible_connection=local ansible_python_interpreter=/usr/bin/python3"
# Where nobody listens.
AWAY = "ansible_host=127.0.0.1 ansible_port=9 ansible_ssh_common_args='-o BatchMode=yes -o ConnectTimeout=2'"
PLAYS = """
- name: See
  hosts: nodes
  gather_facts: false
  any_errors_fatal: true
  tasks:
    - name: Reach it
      ansible.builtin.ping:
    - name: Note it
      ansible.builtin.group_by:
        key: seen
- name: Act
  hosts: others
  gather_facts: false
  tasks:
    - name: Go on only after that
      ansible.builtin.include_tasks: {tasks}
      vars:
        only_after_hosts: "{{{{ groups.nodes }}}}"
        only_after_group: seen
    - name: Do it
      ansible.builtin.debug:
        msg: it was done
"""


def run(folder: Path, first: str, tasks: str) -> subprocess.CompletedProcess[str]:
    (folder / "hosts").write_text(f"[nodes]\nfirst {first}\nsecond {HERE}\n[others]\nthird {HERE}\n")
    (folder / "run.yml").write_text(PLAYS.format(tasks=tasks))
    (folder / "nothing.yml").write_text("[]\n")
    (folder / "ansible.cfg").write_text("[defaults]\n")
    program = Path(sys.executable).parent / "ansible-playbook"
    # Ansible's own strategy and output, whatever the tests are run by.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return subprocess.run(
        [program, "-i", "hosts", "run.yml"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("first", [HERE, AWAY], ids=["all_are_there", "one_is_away"])
def test_it_goes_on_where_all_got_through_and_not_otherwise(tmp_path, first):
    done = run(tmp_path, first, str(ROOT / "playbooks/tasks/only_after.yml"))
    assert ("it was done" in done.stdout) is (first == HERE), done.stdout
    assert (done.returncode == 0) is (first == HERE)
    if first == AWAY:
        assert "Not begun: first" in " ".join((done.stdout + done.stderr).split())


def test_ansible_itself_goes_on(tmp_path):
    """While it does, only_after.yml is needed."""
    done = run(tmp_path, AWAY, "nothing.yml")
    assert "it was done" in done.stdout
