"""Rules about playbooks, modules, tests, and the words of every file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.static.tree import Tree, rule

_PLAYS = ("roles/*.yml", "playbooks/*.yml", "lab/playbooks/*.yml", "molecule/*.yml")
_RUNS = re.compile(r"(?m)^\s*(-\s+)?ansible\.builtin\.(command|shell|raw|script):")
_WRITES = re.compile(
    r"(?m)^\s*(?:-\s+)?(ansible\.builtin\.(?:apt|command|copy|file|get_url|service|shell|systemd\w*|template|unarchive|user)):"
)


@rule(
    "whole files come from templates: nobody edits lines",
    {"roles/web/tasks/install.yml": "- ansible.builtin.lineinfile: {path: /x}"},
    {"playbooks/x.yml": "- tasks:\n    - ansible.builtin.blockinfile: {path: /x}"},
)
def _nobody_edits_lines(tree: Tree) -> Iterator[str]:
    for file in tree.files(*_PLAYS):
        # The old server's file is its owner's: a block of ours comes and goes.
        if file.startswith("roles/database_source/"):
            continue
        for found in re.finditer(r"\b(lineinfile|blockinfile|ansible\.builtin\.replace)\b", tree.text(file)):
            yield f"{file} uses {found[0]}"


def _tasks(text: str) -> Iterator[str]:
    """Each task as text, with the comment lines above it."""
    task: list[str] = []
    above: list[str] = []
    for line in text.splitlines():
        if re.match(r"\s*- ", line):
            yield "\n".join(task)
            task = [*above, line]
        else:
            task.append(line)
        above = [*above, line] if line.strip().startswith("#") else []
    yield "\n".join(task)


@rule(
    "a command says why it is one, and when it changes something",
    {"roles/web/tasks/install.yml": "- name: Run\n  ansible.builtin.command: x\n  changed_when: false"},
    {"roles/web/tasks/install.yml": "- name: Run\n  # There is no module.\n  ansible.builtin.command: x"},
    {
        "playbooks/x.yml": "- tasks:\n    - name: One\n      # why\n      x:\n    - ansible.builtin.shell: x\n      changed_when: true"
    },
)
def _commands_say_why(tree: Tree) -> Iterator[str]:
    for file in tree.files(*_PLAYS):
        for task in _tasks(tree.text(file)):
            if not _RUNS.search(task):
                continue
            name = task.strip().splitlines()[0]
            if not re.search(r"(?m)^\s*# ", task):
                yield f"{file}: no comment says why it takes a command: {name}"
            if not re.search(r"\b(changed_when|creates|removes):", task):
                yield f"{file}: no changed_when: {name}"


@rule(
    "a playbook maps groups to roles, and leaves the work on hosts to them",
    {"playbooks/x.yml": "- hosts: all\n  tasks:\n    - name: Do\n      ansible.builtin.template: {src: a}"},
)
def _playbooks_only_wire(tree: Tree) -> Iterator[str]:
    for file in tree.files("playbooks/*.yml"):
        for found in _WRITES.finditer(tree.text(file)):
            yield f"{file} does with {found[1]} what a role should do"


@rule(
    "site.yml runs every etapa that there is, in order",
    {
        "playbooks/site.yml": "- import_playbook: etapa_1_a.yml",
        "playbooks/etapa_1_a.yml": "",
        "playbooks/etapa_2_b.yml": "",
    },
    {
        "playbooks/site.yml": "- import_playbook: etapa_2_b.yml\n- import_playbook: etapa_1_a.yml",
        "playbooks/etapa_1_a.yml": "",
        "playbooks/etapa_2_b.yml": "",
    },
)
def _site_runs_every_etapa(tree: Tree) -> Iterator[str]:
    there_are = [name.removeprefix("playbooks/").removesuffix(".yml") for name in tree.files("playbooks/etapa_*.yml")]
    imported = (
        re.findall(r"import_playbook: (?:escala\.ha\.)?(etapa_\w+)", tree.text("playbooks/site.yml"))
        if there_are
        else []
    )
    if there_are != imported:
        yield f"site.yml imports {imported}, and there are {there_are}"


@rule(
    "a module is documentation and a main of 40 lines at most",
    {"plugins/modules/x.py": "def main():\n" + "    pass\n" * 40},
    {"plugins/modules/x.py": "def main():\n    pass\n\n\ndef think():\n    pass\n"},
)
def _modules_are_thin(tree: Tree) -> Iterator[str]:
    for file in tree.files("plugins/modules/*.py"):
        for node in ast.parse(tree.text(file)).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                if node.name != "main":
                    yield f"{file} has {node.name}, whose place is module_utils"
                elif (node.end_lineno or 0) - node.lineno >= 40:
                    yield f"{file}: main has more than 40 lines"


@rule(
    "every module is in the action group",
    {"plugins/modules/x.py": "", "meta/runtime.yml": "action_groups: {all: [y]}"},
    {"plugins/modules/x.py": "", "meta/runtime.yml": "{}"},
)
def _modules_are_in_the_action_group(tree: Tree) -> Iterator[str]:
    listed = tree.yaml("meta/runtime.yml").get("action_groups", {}).get("all", [])
    there_are = [name.rpartition("/")[2].removesuffix(".py") for name in tree.files("plugins/modules/*.py")]
    if sorted(listed) != there_are:
        yield f"meta/runtime.yml lists {sorted(listed)}, and there are {there_are}"


@rule(
    "module_utils think: they are private, and never see Ansible",
    {"plugins/module_utils/http.py": ""},
    {"plugins/module_utils/_http.py": "from ansible.module_utils.basic import AnsibleModule"},
    {"plugins/module_utils/_http.py": "import ansible.module_utils.urls"},
)
def _the_thinking_never_sees_ansible(tree: Tree) -> Iterator[str]:
    for file in tree.files("plugins/module_utils/*.py"):
        if not file.rpartition("/")[2].startswith("_"):
            yield f"{file} does not begin with an underscore"
        for found in re.finditer(r"(?m)^\s*(?:from|import) ansible\b(?:\.\S+)?", tree.text(file)):
            yield f"{file} imports Ansible: {found[0].strip()}"


@rule(
    "tests wait for something, by eventually.py, and never just for a while",
    {"tests/lab/test_x.py": "import time\n\ntime.sleep(1)"},
    {"tests/lab/load.py": "from time import sleep"},
    {"molecule/etapa_1/converge.yml": "- tasks:\n    - ansible.builtin.pause: {seconds: 5}"},
)
def _tests_never_just_wait(tree: Tree) -> Iterator[str]:
    for file in tree.files("tests/*.py", "molecule/*"):
        if file.endswith("/eventually.py") or file.startswith("tests/static/"):
            continue
        for found in re.finditer(
            r"\btime\.sleep\(|from time import .*\bsleep\b|ansible\.builtin\.pause\b", tree.text(file)
        ):
            yield f"{file} just waits: {found[0]}"


@rule(
    "nothing names a package registry or a path of the machine it was written on",
    {"README.md": "npm config set registry https:/" + "/registry.example.org/x"},
    {"lab/mirror.py": 'MIRROR = "http:/' + '/apt-mirror.example:3142/debian"'},
    {"tools/x.sh": "cd /wo" + "rk/main"},
    {"tools/x.py": 'open("/ro' + 'ot/x")'},
)
def _nothing_names_the_machine(tree: Tree) -> Iterator[str]:
    pattern = re.compile(
        r"https?://[^\s/\"'<>]*(?:registry|mirror|proxy|artifact)[^\s\"'<>]*|(?<![\w.}/*])/(?:root|work)/[^\s\"']*",
        re.I,
    )
    for file in tree.files("*"):
        for found in pattern.finditer(tree.text(file)):
            yield f"{file} names {found[0]}"
