"""The certificates of the database's hosts are renewed while it works: all ports serve the new ones, no row is lost, and a failover goes as before."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from tests.lab.handle import ROOT, playbook
from tests.lab.postgres import Cluster
from tests.lab.recap import changed_hosts
from tests.lab.test_certificate_own import renewal_is_due
from tests.lab.test_etapa_3_postmaster_killed import RTO_SECONDS, kill_postmaster

ISSUED = ROOT / "inventories/lab/.state/pki/issued"
GUARD_PORT, POSTGRESQL_PORT, PGBOUNCER_PORT = 5433, 5432, 6432

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


@pytest.mark.soak_only
def test_all_are_renewed_under_load_and_a_failover_goes_as_before(whole_cluster: Cluster, output: Path) -> None:
    before = served(whole_cluster)
    arguments = renewal_is_due(*(x509.load_pem_x509_certificate(file.read_bytes()) for file in ISSUED.glob("*.crt")))
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
    assert changed_hosts(again.stdout) == {}

    kill_postmaster(
        whole_cluster,
        output,
        "postmaster_killed_renewed",
        "the primary's postmaster killed, its certificates renewed before",
    )
