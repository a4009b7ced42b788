"""An authority that speaks ACME asks whichever balancer holds the address; both serve what it gives, and clients notice nothing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.lab.acme_server import AcmeServer, running_acme_server
from tests.lab.certificates import bundle, served_at
from tests.lab.handle import Lab, playbook
from tests.lab.load import BESIDE_A_RUN, running_load
from tests.lab.recap import changed_hosts, changing_tasks
from tests.lab.target import Target
from tests.lab.test_certificate_own import from_the_platform_s_own_authority

pytestmark = pytest.mark.usefixtures("whole_platform")


@pytest.fixture
def back_to_ours(whole_platform: None, lab: Lab, target: Target) -> Iterator[None]:
    """The platform's own certificate again when the story is over."""
    yield
    from_the_platform_s_own_authority(lab, target)


def gateway(target: Target) -> str:
    """The machine's own address in the lab's network."""
    return f"{target.vip.rpartition('.')[0]}.1"


def settings(server: AcmeServer, folder: Path) -> dict[str, object]:
    return {
        "edge_certificate_source": "acme",
        "edge_certificate_directory": str(folder / "controller"),
        "edge_certificate_acme_directory_url": server.directory_url,
        "edge_certificate_acme_ca_file": str(server.ca_file),
        "edge_certificate_acme_contact": "operator@example.com",
    }


def served(lab: Lab, target: Target, server: AcmeServer) -> dict[str, x509.Certificate]:
    """What each balancer serves, which must come from Pebble."""
    hosts = lab.hosts()
    return {
        balancer: served_at(hosts[balancer]["address"], target.server_name, server.root_file)
        for balancer in lab.group("load_balancers")
    }


@pytest.fixture
def server(back_to_ours: None, target: Target, tmp_path: Path) -> Iterator[AcmeServer]:
    """Pebble on the lab's gateway, which finds the platform where clients do."""
    with running_acme_server(gateway(target), target.vip, tmp_path / "acme") as server:
        yield server


@pytest.mark.either_engine
@pytest.mark.haproxy_in_soak_only
@pytest.mark.soak(runs=1)
def test_both_balancers_serve_one_ordered_certificate_which_is_renewed_unnoticed(
    lab: Lab, target: Target, server: AcmeServer, tmp_path: Path
) -> None:
    either = dataclasses.replace(target, ca_file=str(bundle(tmp_path / "either.pem", target.ca_file, server.root_file)))

    def renew(*arguments: str, **more: object) -> dict[str, int]:
        """How much it changed on each balancer; no other host has a part in it."""
        done = playbook(
            "renew_certificates.yml", "--extra-vars", json.dumps(settings(server, tmp_path) | more), *arguments
        )
        assert done.returncode == 0, done.stdout[-3000:]
        counts = changed_hosts(done.stdout)
        balancers = {balancer: counts.pop(balancer, 0) for balancer in lab.group("load_balancers")}
        assert counts == {}
        return balancers

    assert sum(renew("--check").values()) == 1
    assert not (tmp_path / "controller").exists()

    with running_load(either, requests=2_000, rate=BESIDE_A_RUN) as load:
        first = renew()
        ordered = served(lab, target, server)
        second = renew()
        third = renew(edge_certificate_renew_before_days=100_000)
        renewed = served(lab, target, server)
    assert all(first.values()), first
    assert len({certificate.serial_number for certificate in ordered.values()}) == 1
    assert sum(second.values()) == 0, second
    assert all(third.values()), third
    assert len({certificate.serial_number for certificate in renewed.values()}) == 1
    assert renewed["lb1"].serial_number != ordered["lb1"].serial_number
    load.result.assert_unharmed()

    for file in (tmp_path / "controller").iterdir():
        assert file.stat().st_mode & 0o077 == 0 or file.name == "edge.crt", file
    for balancer in ordered:
        assert lab.on(balancer, "ls /var/lib/escala/acme").split() == []


@pytest.mark.soak_only
def test_an_authority_that_is_not_convinced_leaves_everything_as_it_is(
    back_to_ours: None, lab: Lab, target: Target, tmp_path: Path
) -> None:
    hosts = lab.hosts()
    before = served_at(target.vip, target.server_name, target.ca_file)
    # It takes an application's host for the platform, as it would with a name that leads elsewhere.
    with running_acme_server(gateway(target), hosts["app1"]["address"], tmp_path / "acme") as server:
        done = playbook("renew_certificates.yml", "--extra-vars", json.dumps(settings(server, tmp_path)))
    message = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert target.server_name in message
    assert "urn:ietf:params:acme:error" in message
    assert served_at(target.vip, target.server_name, target.ca_file) == before
    for balancer in lab.group("load_balancers"):
        assert lab.on(balancer, "ls /var/lib/escala/acme").split() == []


@pytest.mark.soak_only
def test_a_first_installation_begins_with_a_placeholder_and_ends_with_what_was_ordered(
    lab: Lab, target: Target, server: AcmeServer, tmp_path: Path
) -> None:
    for balancer in lab.group("load_balancers"):
        lab.on(balancer, "rm /etc/ssl/escala/edge.crt /etc/ssl/escala/edge.key")
    acme = ("--extra-vars", json.dumps(settings(server, tmp_path)), "--limit", "load_balancers,localhost")
    done = playbook("etapa_1_load_balancer.yml", *acme)
    assert done.returncode == 0, done.stdout[-3000:]
    assert done.stdout.count("TASK [escala.ha.edge_certificate : Install the placeholder]") == len(
        served(lab, target, server)
    )
    again = playbook("etapa_1_load_balancer.yml", *acme, "--diff")
    assert again.returncode == 0, again.stdout[-3000:]
    assert changing_tasks(again.stdout) == set(), again.stdout[-6000:]
