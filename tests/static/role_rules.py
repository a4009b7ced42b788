"""Rules about roles: what their variables are, and what they may know of the world."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.static.tree import Tree, rule

_UNITS = ("_seconds", "_minutes", "_hours", "_days", "_ms")
_MEASURED = re.compile(r"(^|_)(timeout|interval|delay|pause|period|ttl|retention|lifetime)(_|$)")
_GROUPS = "load_balancers|app_servers|storage_servers|postgres_servers|redis_servers|monitoring_servers|backup_servers|container_hosts"
_SPEC = "roles/web/meta/argument_specs.yml"
_DEFAULTS = "roles/web/defaults/main.yml"


def _spec(options: str) -> str:
    return f"argument_specs: {{main: {{options: {options}}}}}"


def _every_option(options: dict[str, Any], where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, option in options.items():
        yield f"{where}{name}", option or {}
        yield from _every_option((option or {}).get("options", {}), f"{where}{name}.")


@rule(
    "a role's defaults and its argument spec have the same keys and the same values",
    {_SPEC: _spec("{web_a: {type: str, description: A, default: x}}"), _DEFAULTS: "web_b: x"},
    {_SPEC: _spec("{web_a: {type: str, description: A, default: x}}"), _DEFAULTS: "web_a: y"},
    {_SPEC: _spec("{web_a: {type: int, description: A, default: 1}}"), _DEFAULTS: "web_a: true"},
    {_SPEC: _spec("{web_a: {type: str, description: A, required: true}}"), _DEFAULTS: "web_a: x"},
    {_SPEC: _spec("{web_a: {type: str, description: A}}"), _DEFAULTS: "web_b: 1"},
    {_DEFAULTS: "web_a: x"},
)
def _defaults_equal_specs(tree: Tree) -> Iterator[str]:
    for role in tree.roles:
        defaults = tree.yaml(f"roles/{role}/defaults/main.yml")
        optional = {name: option for name, option in tree.options(role).items() if not option.get("required")}
        for name in sorted(defaults.keys() ^ optional.keys()):
            yield f"{role}: {name} is in {'the defaults' if name in defaults else 'the spec'} only"
        for name in sorted(defaults.keys() & optional.keys()):
            said = optional[name].get("default")
            if said != defaults[name] or type(said) is not type(defaults[name]):
                yield f"{role}: {name} is {defaults[name]!r} by default, and the spec says {said!r}"


@rule(
    "every option has a type and a description, and dictionaries in a list have their own options",
    {_SPEC: _spec("{web_a: {description: A}}")},
    {_SPEC: _spec("{web_a: {type: str}}")},
    {_SPEC: _spec("{web_a: {type: list, description: A}}")},
    {_SPEC: _spec("{web_a: {type: list, elements: dict, description: A}}")},
    {_SPEC: _spec("{web_a: {type: dict, description: A, options: {b: {type: str}}}}")},
)
def _options_are_described(tree: Tree) -> Iterator[str]:
    for role in tree.roles:
        for name, option in _every_option(tree.options(role)):
            for key in ("type", "description", *(["elements"] if option.get("type") == "list" else [])):
                if not option.get(key):
                    yield f"{role}: {name} has no {key}"
            if option.get("elements") == "dict" and not option.get("options"):
                yield f"{role}: {name} is a list of dictionaries and has no options"


@rule(
    "a role's variables begin with its name",
    {_SPEC: _spec("{port: {type: int, description: A}}")},
    {_SPEC: _spec("{}"), "roles/web/vars/main.yml": "web_port: 1"},
    {_SPEC: _spec("{}"), "roles/web/tasks/main.yml": "- ansible.builtin.stat: {path: /x}\n  register: found"},
)
def _variables_have_the_role_s_name(tree: Tree) -> Iterator[str]:
    for role in tree.roles:
        for name in tree.options(role):
            if not name.startswith(f"{role}_"):
                yield f"{role}: the option {name} does not begin with {role}_"
        for name in tree.yaml(f"roles/{role}/vars/main.yml"):
            if not name.startswith(f"__{role}_"):
                yield f"{role}: {name} in vars/main.yml does not begin with __{role}_"
        for file in tree.files(f"roles/{role}/tasks/*.yml", f"roles/{role}/handlers/*.yml"):
            for name in re.findall(r"(?m)^\s*register: (\S+)", tree.text(file)):
                if not name.startswith(f"__{role}_"):
                    yield f"{file} registers {name}, which does not begin with __{role}_"


def _set_in(value: Any, file: str) -> Iterator[str]:
    """The names of the variables that an inventory or a playbook sets."""
    if "/group_vars/" in file or "/host_vars/" in file:
        yield from value
        return
    if isinstance(value, list):
        for item in value:
            yield from _set_in(item, file)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "vars" and isinstance(item, dict):
                yield from item
            elif key == "hosts" and isinstance(item, dict):
                for variables in item.values():
                    yield from variables or ()
            else:
                yield from _set_in(item, file)


@rule(
    "no inventory or playbook sets a variable with a role's prefix that its spec does not know",
    {_SPEC: _spec("{web_a: {type: str}}"), "inventories/lab/group_vars/all/main.yml": "web_aa: x"},
    {_SPEC: _spec("{web_a: {type: str}}"), "inventories/lab/hosts.yml": "all: {hosts: {one: {web_aa: x}}}"},
    {_SPEC: _spec("{web_a: {type: str}}"), "playbooks/etapa_1_web.yml": "- hosts: all\n  vars: {web_aa: x}"},
    {
        _SPEC: _spec("{web_a: {type: str}}"),
        "playbooks/x.yml": "- roles:\n    - {role: escala.ha.web, vars: {web_aa: x}}",
    },
)
def _variables_are_known(tree: Tree) -> Iterator[str]:
    known = {name for role in tree.roles for name in tree.options(role)}
    prefixes = tuple(f"{role}_" for role in tree.roles)
    for file in tree.files("inventories/*.yml", "playbooks/*.yml", "lab/playbooks/*.yml", "molecule/*.yml"):
        for name in _set_in(tree.yaml(file), file):
            if prefixes and name.startswith(prefixes) and name not in known:
                yield f"{file} sets {name}, which no role's argument spec knows"


@rule(
    "a role knows no group",
    {"roles/web/tasks/main.yml": "- x: \"{{ groups['all'] }}\""},
    {"roles/web/templates/a.j2": "{% for host in groups.app_servers %}"},
    {"roles/web/defaults/main.yml": "web_from: app_servers"},
    {"roles/web/tasks/main.yml": "- when: \"'x' in group_names\""},
)
def _roles_know_no_group(tree: Tree) -> Iterator[str]:
    pattern = re.compile(rf"\bgroups\s*[\[.|]|\bgroup_names\b|\b({_GROUPS})\b")
    for file in tree.files("roles/*"):
        for found in pattern.finditer(tree.text(file)):
            yield f"{file} knows a group: {found[0]}"


@rule(
    "a role uses no other role's variables, and no secret by the inventory's name for it",
    {_SPEC: _spec("{web_a: {type: str}}"), "roles/app/tasks/main.yml": '- x: "{{ web_a }}"'},
    {_SPEC: _spec("{}"), "roles/app/tasks/main.yml": '- x: "{{ __web_found.stat }}"'},
    {"roles/app/tasks/main.yml": '- x: "{{ secret_app_jwt }}"'},
)
def _roles_use_their_own_variables(tree: Tree) -> Iterator[str]:
    for role in tree.roles:
        others = [other for other in tree.roles if other != role]
        foreign = {name for other in others for name in tree.options(other)}
        internal = tuple(f"__{other}_" for other in others if not f"__{role}_".startswith(f"__{other}_"))
        for file in tree.files(f"roles/{role}/*"):
            for word in sorted(set(re.findall(r"\b\w+\b", tree.text(file)))):
                if word in foreign or word.startswith(("secret_", *internal)):
                    yield f"{file} uses {word}, which is not {role}'s own"


@rule(
    "what lasts says its unit, and what has a unit is a number",
    {_SPEC: _spec("{web_timeout: {type: int}}")},
    {_SPEC: _spec("{web_connect_timeout_s: {type: int}}")},
    {_SPEC: _spec("{web_checks: {type: dict, options: {interval: {type: float}}}}")},
    {_SPEC: _spec("{web_timeout_seconds: {type: str}}")},
    {_SPEC: _spec("{web_limit_bytes: {type: str}}")},
)
def _durations_carry_their_unit(tree: Tree) -> Iterator[str]:
    for role in tree.roles:
        for name, option in _every_option(tree.options(role)):
            if _MEASURED.search(name.rpartition(".")[2]) and not name.endswith(_UNITS):
                yield f"{role}: {name} does not end in its unit, one of {', '.join(_UNITS)}"
            if name.endswith((*_UNITS, "_bytes")) and option.get("type") not in ("int", "float"):
                yield f"{role}: {name} has a unit and is no number but {option.get('type')}"


@rule(
    "tasks/main.yml is a table of contents, and no file of tasks is longer than 80 lines",
    {"roles/web/tasks/main.yml": "- name: Install\n  ansible.builtin.apt: {name: nginx}"},
    {"roles/web/tasks/install.yml": "#\n" * 81},
)
def _task_files_are_short(tree: Tree) -> Iterator[str]:
    for file in tree.files("roles/*/tasks/*.yml", "roles/*/handlers/*.yml"):
        lines = len(tree.text(file).splitlines())
        if lines > 80:
            yield f"{file} has {lines} lines"
    for file in tree.files("roles/*/tasks/main.yml"):
        for task in tree.yaml(file):
            if (
                not {"ansible.builtin.import_tasks", "ansible.builtin.include_tasks", "ansible.builtin.meta"}
                & task.keys()
            ):
                yield f"{file} does work of its own: {task.get('name', task)}"


_SECRET = re.compile(r"(?<![a-z])(password|passphrase|secret|token)(?![a-z])")
_ACCOUNTS = _spec("{web_users: {type: list, elements: dict, description: A, options: {name: {}, password: {}}}}")


def _every_task(tasks: Any) -> Iterator[dict[str, Any]]:
    for task in tasks or []:
        yield task
        for part in ("block", "rescue", "always"):
            yield from _every_task(task.get(part))


@rule(
    "what loops over records with a secret in them shows none: it has no_log, or picks fields by json_query",
    {_SPEC: _ACCOUNTS, "roles/web/tasks/users.yml": "- user: {name: a}\n  loop: '{{ web_users | sort }}'"},
    {_SPEC: _ACCOUNTS, "roles/web/tasks/users.yml": "- block:\n    - user: {name: a}\n      loop: '{{ web_users }}'"},
    {
        _SPEC: _ACCOUNTS,
        "roles/web/tasks/users.yml": "- user: {name: a}\n  loop: '{{ web_users | json_query(\"[].{a: password}\") }}'",
    },
)
def _loops_show_no_secret(tree: Tree) -> Iterator[str]:
    for role in tree.roles:
        secret = [
            name
            for name, option in tree.options(role).items()
            if any(_SECRET.search(part) for part in (option or {}).get("options") or {})
        ]
        for file in tree.files(f"roles/{role}/tasks/*.yml"):
            for task in _every_task(tree.yaml(file)):
                loop = str(task.get("loop", ""))
                picked = "json_query(" in loop and not _SECRET.search(loop.partition("json_query(")[2])
                if not task.get("no_log") and not picked and any(name in loop for name in secret):
                    yield f"{file}: the task {task.get('name')!r} loops over {loop}"


def _with_plays(tree: Tree) -> set[str]:
    """Playbooks, and not what they include or read."""
    return set(tree.files("playbooks/*.yml")) - {
        *tree.files("playbooks/tasks/*.yml"),
        *tree.files("playbooks/vars/*.yml"),
    }


_ASYNC = "[{name: go on, command: sleep 9, async: 60, poll: 0}]"


@rule(
    "what goes on beside a run is begun by Ansible's own strategy: Mitogen's lets a module wait for ever for what it imports",
    {"playbooks/go.yml": f"- hosts: all\n  tasks: {_ASYNC}"},
    {"playbooks/go.yml": f"- hosts: all\n  strategy: free\n  tasks:\n    - block: {_ASYNC}"},
    {"roles/web/tasks/main.yml": _ASYNC},
    {"playbooks/tasks/go.yml": _ASYNC},
)
def _async_is_ansible_s_own(tree: Tree) -> Iterator[str]:
    included = {*tree.files("roles/*/tasks/*.yml"), *tree.files("playbooks/tasks/*.yml")}
    for file in _with_plays(tree):
        for play in tree.yaml(file) or []:
            parts = [play.get(part) for part in ("pre_tasks", "tasks", "post_tasks", "handlers")]
            beside = any("async" in task for tasks in parts for task in _every_task(tasks))
            if beside and play.get("strategy") != "ansible.builtin.linear":
                yield f"{file}: the play {play.get('name')!r} has a task with async and no strategy: ansible.builtin.linear"
    for file in included:
        # They do not know which play has them.
        if any("async" in task for task in _every_task(tree.yaml(file))):
            yield f"{file}: what any play may have has a task with async"


@rule(
    "a play in batches has no any_errors_fatal: with it Ansible counts a host that cannot be reached twice, and goes on to the next batch",
    {"playbooks/go.yml": "- hosts: all\n  serial: 1\n  any_errors_fatal: true\n  tasks: []"},
    {"playbooks/plays/go.yml": "- hosts: all\n  serial: 50%\n  any_errors_fatal: true\n  tasks: []"},
)
def _batches_end_with_their_first_failure(tree: Tree) -> Iterator[str]:
    for file in _with_plays(tree):
        for play in tree.yaml(file) or []:
            if "serial" in play and play.get("any_errors_fatal"):
                yield f"{file}: the play {play.get('name')!r} goes on to the next host when one cannot be reached"
