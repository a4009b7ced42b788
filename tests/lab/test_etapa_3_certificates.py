"""The certificates of the database's hosts are renewed while it works: all ports serve the new ones, no row is lost, and a failover goes as before."""

from __future__ import annotations

import datetime
import json
import re
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from tests.lab.handle import ROOT, playbook
from tests.lab.postgres import Cluster, fail_over
from tests.lab.test_certificate_own import changed

ISSUED = ROOT / "inventories/lab/.state/pki/issued"
GUARD_PORT, POSTGRESQL_PORT, PGBOUNCER_PORT = 5433, 5432, 6432
RTO_SECONDS = 5.0

pytestmark = pytest.mark.etapa_3


def served(cluster: Cluster) -> dict[str, str]:
    """The serial number of what each port of the database serves, by `host:port`."""
    ports = [(node, port) for node in cluster.nodes for port in (POSTGRESQL_PORT, GUARD_PORT)]
    ports += [(pool, PGBOUNCER_PORT) for pool in cluster.pools]
    found = {}
    for host, port in ports:
        address = cluster.nodes.get(host) or cluster.pools[host]
        starts = [] if port == GUARD_PORT else ["-starttls", "postgres"]
        # A guard wants a certificate of its client's as well; by then it has shown its own.
        shown = subprocess.run(
            ["openssl", "s_client", "-connect", f"{address}:{port}", *starts],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        ).stdout
        pem = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", shown, re.DOTALL)
        assert pem, f"{host}:{port} shows no certificate: {shown}"
        found[f"{host}:{port}"] = format(x509.load_pem_x509_certificate(pem[0].encode()).serial_number, "x")
    return found


def due() -> tuple[str, str]:
    """With these arguments every certificate is too old, and the one that takes its place is not."""
    ends = [x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc for file in ISSUED.glob("*.crt")]
    days_left = (max(ends) - datetime.datetime.now(datetime.UTC)).days
    return "--extra-vars", json.dumps({"pki_renew_before_days": days_left + 2, "pki_certificate_days": days_left + 3})


def test_all_are_renewed_under_load_and_a_failover_goes_as_before(whole_cluster: Cluster, output: Path) -> None:
    before, arguments = served(whole_cluster), due()
    primary = whole_cluster.primary()
    with whole_cluster.measuring(output) as measurement:
        at = measurement.mark("certificates are renewed")
        done = playbook("renew_database_certificates.yml", *arguments)
        (output / "renew.log").write_text(done.stdout + done.stderr)
        assert done.returncode == 0, done.stdout[-3000:]
        whole_cluster.wait_acknowledged(measurement, at)
    what = "the database's certificates renewed"
    whole_cluster.judge(measurement, output, what, at).hold("certificates_renewed", what, limit=RTO_SECONDS)
    assert whole_cluster.primary() == primary
    after = served(whole_cluster)
    assert [place for place, serial in after.items() if serial == before[place]] == []
    again = playbook("renew_database_certificates.yml", *arguments)
    assert again.returncode == 0, again.stdout[-3000:]
    assert sum(changed(again.stdout).values()) == 0

    what = "the primary's postmaster killed, its certificates renewed before"
    _, found = fail_over(
        whole_cluster,
        output,
        what,
        lambda old: whole_cluster.lab.on(old, f"kill -9 {whole_cluster.postmaster(old)}"),
        may_return=True,
    )
    found.hold("postmaster_killed_renewed", what, limit=RTO_SECONDS)
