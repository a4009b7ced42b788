"""Every password of the database becomes another while users write; runs are killed on the way."""

from __future__ import annotations

import json
import random
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ansible_collections.escala.ha.plugins.module_utils._secrets_file import write
from lab.paths import INVENTORY
from tests.lab.eventually import eventually
from tests.lab.handle import Lab, playbook
from tests.lab.interrupted import chance, kill_at_a_task, killed_at_the_end
from tests.lab.load import UsersLoad, running_load
from tests.lab.measurements import MANAGER, record
from tests.lab.postgres import Cluster, Refused
from tests.lab.recap import changed_hosts
from tests.lab.target import Target

ROTATE = "rotate_passwords.yml"
SECRETS = INVENTORY / "group_vars/all/secrets.yml"
MAY_ENTER = "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'app_interim'"
# Where a run without a check is killed, which would take as long as the run.
TASKS = 380

pytestmark = pytest.mark.etapa_3


def secrets() -> dict[str, str]:
    found: dict[str, str] = yaml.safe_load(SECRETS.read_text())
    return found


def names(lab: Lab) -> set[str]:
    """The passwords of accounts that the cluster has."""
    accounts = ("monitor", "probe", "replicator", "repmgr", *(["backup"] if lab.group("backup_servers") else []))
    return {"secret_database_app_password", *(f"secret_postgresql_{one}_password" for one in accounts)}


def run(name: str, *arguments: str) -> str:
    done = playbook(name, *arguments)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def refused(*arguments: str) -> str:
    """What a run says that changes no host."""
    done = playbook(ROTATE, *arguments)
    assert done.returncode != 0, done.stdout[-3000:]
    assert changed_hosts(done.stdout) == {}
    return " ".join(done.stdout.split())


@pytest.fixture
def settled(whole_cluster: Cluster, whole_platform: None) -> Iterator[Cluster]:
    """A cluster to which nobody is on the way any more; in the end one whose passwords tests know."""
    state = "SELECT 1 FROM pg_db_role_setting CROSS JOIN unnest(setconfig) AS setting WHERE setting LIKE 'escala.migration=%'"
    if whole_cluster.ask(whole_cluster.primary(), state):
        assert "Run end_database_migration.yml first" in refused()
        run("end_database_migration.yml")
    yield whole_cluster
    known(whole_cluster)


def known(cluster: Cluster) -> None:
    """Have tests enter by the passwords as they are now."""
    run("../lab/playbooks/clients_outside.yml")
    cluster.__dict__.pop("secrets", None)


def refusal(cluster: Cluster, place: str, user: str, password: str) -> str:
    """What whoever enters so is told; nothing where he is let in."""
    try:
        cluster.connect(place, user, password)(5).close()
    except Refused as error:
        return str(error)
    return ""


def judge(cluster: Cluster, before: dict[str, str]) -> None:
    """Old passwords are worth nothing, new ones are, and the account for the time in between is shut."""
    after = secrets()
    assert set(after) == set(before)
    assert {name for name in after if after[name] != before[name]} == names(cluster.lab)
    known(cluster)
    cluster.wait_until_whole()
    for host in cluster.pools:
        for user, name in (("app", "database_app"), ("escala_probe", "postgresql_probe")):
            assert refusal(cluster, host, user, after[f"secret_{name}_password"]) == ""
            assert "authentication failed" in refusal(cluster, host, user, before[f"secret_{name}_password"])
    primary = cluster.primary()
    assert cluster.ask(primary, MAY_ENTER) == [["f"]]
    # What was made meanwhile is not its own.
    assert cluster.ask(primary, "SELECT relname FROM pg_class WHERE relowner = 'app_interim'::regrole") == []


def rotate(cluster: Cluster, target: Target, output: Path, kill_by: random.Random | None, what: str) -> None:
    before = secrets()
    load = running_load(
        target, requests=100, rate=60, writes_per_second=10, save_to=output / "load.json", kind=UsersLoad
    )
    with load as users:
        if kill_by:
            kill_at_a_task(ROTATE, by=kill_by, output=output / "killed.log", among=TASKS)
        (output / "run.log").write_text(run(ROTATE))
    print(users.result)
    series = "rotate_killed_failed" if kill_by else "rotate_failed"
    record(series, len(users.result.failures), "requests", 0, what=f"{what}, under load: failed", of=MANAGER)
    assert not users.result.refused
    users.result.assert_unharmed()
    judge(cluster, before)
    if kill_by:
        # Whatever was left on the way, there is nothing to do.
        assert changed_hosts(run("etapa_3_postgresql.yml")) == {}


@pytest.mark.soak(runs=3)
def test_every_password_is_another_and_no_request_fails(settled: Cluster, target: Target, output: Path) -> None:
    rotate(settled, target, output, None, "every password is another")


def served(cluster: Cluster, target: Target) -> dict[str, str]:
    """The serial number of the certificate that each node, each pooler and each balancer shows."""
    places = {node: f"-starttls postgres -connect {address}:5432" for node, address in cluster.nodes.items()}
    places |= {host: f"-starttls postgres -connect {address}:6432" for host, address in cluster.pools.items()}
    hosts = cluster.lab.hosts()
    places |= {
        host: f"-connect {hosts[host]['address']}:443 -servername {target.server_name}"
        for host in cluster.lab.group("load_balancers")
    }
    found = {}
    for place, how in places.items():
        shown = cluster.from_here(f"sh -c 'openssl s_client {how} </dev/null | openssl x509 -noout -serial'").stdout
        assert shown.startswith("serial="), f"{place}: {shown}"
        found[place] = shown.strip()
    return found


@pytest.mark.soak_only
@pytest.mark.soak(runs=3)
def test_every_certificate_is_another_and_no_request_fails(
    whole_cluster: Cluster, whole_platform: None, target: Target, output: Path
) -> None:
    before = served(whole_cluster, target)
    load = running_load(
        target, requests=100, rate=60, writes_per_second=10, save_to=output / "load.json", kind=UsersLoad
    )
    with load as users:
        (output / "run.log").write_text(run("renew_certificates.yml", "-e", "pki_renew_now=true"))
    print(users.result)
    record(
        "rotate_certificates_failed",
        len(users.result.failures),
        "requests",
        0,
        what="every certificate is another, under load: failed",
        of=MANAGER,
    )
    assert not users.result.refused
    users.result.assert_unharmed()
    after = served(whole_cluster, target)
    assert not set(before.values()) & set(after.values()), f"{before}, {after}"
    assert len(set(after.values())) == len(after)
    whole_cluster.wait_until_whole()


@pytest.mark.soak_only
@pytest.mark.soak(runs=10)
def test_a_run_that_is_killed_is_made_good_by_the_next(settled: Cluster, target: Target, output: Path) -> None:
    rotate(settled, target, output, chance(), "a rotation that is killed, and run again")


@pytest.mark.soak_only
def test_a_run_for_another_password_leads_the_application_back_that_a_killed_one_has_left(
    settled: Cluster, output: Path
) -> None:
    before, log = secrets(), output / "killed.log"
    own = "psql -X -q -v ON_ERROR_STOP=1 -h /run/postgresql -U escala_guard -d postgres"
    told = [
        "ALTER ROLE app SET statement_timeout = '31s'",
        "ALTER ROLE app IN DATABASE app SET search_path = public, pg_temp",
    ]
    settled.lab.on(settled.primary(), " ".join([own, *(f"-c {shlex.quote(one)}" for one in told)]))
    with killed_at_the_end(ROTATE, output=log):
        eventually(
            "the application goes over the account for the time in between",
            lambda: "PLAY [Have other passwords]" in log.read_text(),
            within=300,
            every=0.05,
        )
    assert "secret_database_app_interim_password" in secrets()
    # What the application's role has set its sessions have, whichever account they are of.
    of = "SELECT setdatabase, setconfig FROM pg_db_role_setting WHERE setrole = '{}'::regrole ORDER BY setdatabase"
    there = settled.ask(settled.primary(), of.format("app"))
    assert len(there) == 2
    found = settled.ask(settled.primary(), of.format("app_interim"))
    assert [[database, str(setting).replace("role=app,", "")] for database, setting in found] == there
    run(ROTATE, "-e", json.dumps({"rotate_passwords": ["secret_postgresql_monitor_password"]}))
    after = secrets()
    assert set(after) == set(before)
    assert after["secret_postgresql_monitor_password"] != before["secret_postgresql_monitor_password"]
    known(settled)
    assert settled.ask(settled.primary(), MAY_ENTER) == [["f"]]
    for host in settled.pools:
        assert refusal(settled, host, "app", after["secret_database_app_password"]) == ""
        assert "app_interim" not in settled.lab.on(host, "cat /etc/tenant-app/credentials/*")
    settled.lab.on(
        settled.primary(), f"{own} -c 'ALTER ROLE app RESET ALL' -c 'ALTER ROLE app IN DATABASE app RESET ALL'"
    )


@pytest.mark.soak_only
def test_what_cannot_be_done_is_refused_and_changes_nothing(settled: Cluster, tmp_path: Path) -> None:
    before = SECRETS.read_text()
    app = '{"app_secrets": {"DATABASE_URL": "postgresql://app:{{ secret_database_app_password }}@app1:6432/app"}}'
    given = json.dumps({"secret_postgresql_probe_password": secrets()["secret_postgresql_probe_password"]})
    unknown = json.dumps({"rotate_passwords": ["secret_app_jwt"]})
    vault = tmp_path / "vault"
    vault.write_text("not a password of anything\n")
    for arguments, said in (
        (("--limit", "db1"), "--limit would leave hosts with passwords of which the others know nothing"),
        (("-e", unknown), "rotate_passwords names secret_app_jwt, and can name secret_database_app_password"),
        (("-e", app), "name the database's account or password themselves"),
        (("-e", given), "secret_postgresql_probe_password is given on the command line, or for some hosts elsewhere"),
    ):
        assert said in refused(*arguments)
    encrypt = [
        str(Path(sys.executable).parent / "ansible-vault"),
        "encrypt",
        "--vault-password-file",
        str(vault),
        str(SECRETS),
    ]
    try:
        subprocess.run(encrypt, check=True, capture_output=True)
        assert "run `ansible-vault decrypt` on it" in refused("--vault-password-file", str(vault))
    finally:
        write(str(SECRETS), before)
    assert secrets() == yaml.safe_load(before)
