from __future__ import annotations

import pytest

from lab.driver import ssh_listens

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
SSH = "   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2012 1\n"
ROUTES = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.9.0.2\n        /32 host LOCAL\n"


def test_a_host_that_listens_at_its_address_answers() -> None:
    assert ssh_listens("10.9.0.2", HEAD + SSH + HEAD, ROUTES)


@pytest.mark.parametrize(
    ("sockets", "routes"),
    [
        (HEAD, ROUTES),
        # Somebody who is connected to a server that is gone, and another service.
        (HEAD + SSH.replace(" 0A ", " 01 "), ROUTES),
        (HEAD + SSH.replace(":0016", ":0050"), ROUTES),
        (HEAD + SSH, ROUTES.replace("10.9.0.2", "10.9.0.22")),
        (HEAD + SSH, ""),
    ],
)
def test_a_host_without_sshd_or_its_address_does_not(sockets: str, routes: str) -> None:
    assert not ssh_listens("10.9.0.2", sockets, routes)
