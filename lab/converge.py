"""From booted hosts to the whole platform: the playbooks in order, then what a person opens next."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from lab import inventory, lifecycle, state
from lab.errors import LabError
from lab.paths import CHECKOUT, INVENTORY
from lab.shell import say
from lab.topology import Host, Topology

_PLAYBOOKS = {
    "secrets": "playbooks/secrets.yml",
    "build": "lab/playbooks/build_app.yml",
    "legacy": "lab/playbooks/legacy1.yml",
    "old": "lab/playbooks/old_database.yml",
    "database": "playbooks/etapa_3_postgresql.yml",
    "load": "lab/playbooks/load_cluster.yml",
    "site": "playbooks/site.yml",
}
STEPS = list(_PLAYBOOKS)
# Whose hosts a topology may lack; without data nodes the application uses legacy1's database.
_NEEDS = {"old": "old_database_servers", "database": "postgres_servers", "load": "postgres_servers"}
_MEANING = {
    "secrets": "generating the secrets that are not there yet",
    "build": "building the reference application on legacy1",
    "legacy": "making legacy1 the customer's single server, seeded and running",
    "old": "making the customer's database server, filled with what legacy1 was seeded with",
    "database": "the database cluster first, for the application is to find its data there",
    "load": "having the cluster take over what the old server was seeded with, once",
    "site": "site.yml: from there to high availability, etapa by etapa, then the proof",
}


def converge(until: str) -> None:
    """Run the playbooks up to a step on the lab that is up; each is idempotent."""
    # The application's sources may have changed since the hosts were booted, and the archive's name with them.
    topology = lifecycle.running_topology(state.read())
    inventory.write(topology)
    ansible = CHECKOUT / ".venv" / "bin" / "ansible-playbook"
    if not ansible.exists():
        raise LabError(f"{ansible} is missing; `make lab` installs it")
    for step in STEPS[: STEPS.index(until) + 1]:
        if step == "build" and inventory.application_release().exists():
            say("the reference application is built already (its sources have not changed)")
            continue
        if step in _NEEDS and not _members(topology, _NEEDS[step]):
            continue
        say(_MEANING[step])
        # Mitogen halves the time; that Ansible calls such plugins deprecated is nobody's concern here.
        environment = {"ANSIBLE_STRATEGY": "mitogen_linear", "ANSIBLE_DEPRECATION_WARNINGS": "false"} | os.environ
        environment |= {
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "PATH": f"{ansible.parent}:{os.environ['PATH']}",
        }
        done = subprocess.run(
            [ansible, "-i", INVENTORY / "hosts.yml", CHECKOUT / _PLAYBOOKS[step]],
            cwd=CHECKOUT,
            env=environment,
            check=False,
        )
        if done.returncode != 0:
            raise LabError(
                f"{_PLAYBOOKS[step]} failed (above); mend it and run `python3 -m lab converge` again: what is done stays done"
            )
    if until == STEPS[-1]:
        _print_summary()


def endpoints() -> dict[str, Any]:
    """How an outside client gets in, as far as the etapas exist: addresses and files, never a secret itself."""
    topology = lifecycle.running_topology(state.read())
    found = {
        "base_url": f"https://{topology.server_name}",
        "server_name": topology.server_name,
        "vip": topology.vip,
        "ca_file": str(INVENTORY / ".state" / "pki" / "ca.pem"),
        "report": str(INVENTORY / ".state" / "report.html"),
        # A person's tenant, and one that tests may fill.
        "login": _login("acme"),
        "load_login": _login("initech"),
    }
    legacy = _members(topology, "legacy_servers")
    if legacy:
        found["legacy_url"] = f"http://{legacy[0].address}:8080"
    return found | _database(topology)


def _members(topology: Topology, group: str) -> list[Host]:
    return [host for host in topology.hosts.values() if group in host.groups]


def _database(topology: Topology) -> dict[str, Any]:
    """How the database is reached, where the topology has a cluster: through the poolers, and each node itself."""
    nodes = _members(topology, "postgres_servers")
    if not nodes:
        return {}
    return {
        "pgbouncer": [
            {"name": host.name, "host": host.address, "port": 6432, "databases": ["app", "app_ro"]}
            for host in _members(topology, "app_servers")
        ],
        "postgresql": [{"name": host.name, "host": host.address, "port": 5432} for host in nodes],
        "app_user": "app",
        "probe_user": "escala_probe",
        "passfile": str(INVENTORY / ".state" / "postgresql.pgpass"),
    }


def _login(tenant: str) -> dict[str, str]:
    return {
        "tenant": tenant,
        "email": f"owner@{tenant}.example",
        "secrets_file": str(INVENTORY / "group_vars/all/secrets.yml"),
        "secret": "secret_seed_password",
    }


def print_endpoints(as_json: bool) -> None:
    """Print the endpoints for a program or a person."""
    found = endpoints()
    if as_json:
        print(json.dumps(found, indent=1))
        return
    login = found["login"]
    print(f"""
The platform     {found["base_url"]}/
  its name       echo "{found["vip"]} {found["server_name"]}" >> /etc/hosts
  its authority  {found["ca_file"]}  (import it, or curl --cacert)
  sign in        tenant {login["tenant"]}, {login["email"]}, password: {login["secret"]} in {Path(login["secrets_file"]).relative_to(CHECKOUT)}
The report       {found["report"]}
The database     {_pooler(found)}
The old server   {found.get("legacy_url", "not in this topology")}
A host's shell   python3 -m lab ssh lb1""")


def _pooler(found: dict[str, Any]) -> str:
    if "pgbouncer" not in found:
        return "the old server's"
    first = found["pgbouncer"][0]
    passfile = Path(found["passfile"]).relative_to(CHECKOUT)
    return f"postgresql://{found['probe_user']}@{first['host']}:{first['port']}/app through {first['name']}'s pooler (passwords: {passfile})"


def _print_summary() -> None:
    report = INVENTORY / ".state" / "report.json"
    print_endpoints(as_json=False)
    print()
    for verdict in json.loads(report.read_text())["verdicts"]:
        print(
            f"  {'ok    ' if verdict['passed'] else 'FAILED'} etapa {verdict['etapa']}: {verdict['title']}. {verdict['reason']}"
        )
