"""What is wrong with a share's directory is said in plain words by verify.yml, and an upload that cannot be stored there is refused, never acknowledged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.lab.eventually import eventually
from tests.lab.handle import Lab, playbook
from tests.lab.share import ANSWER_SECONDS, blames_the_storage, wait_until_all_are_ready
from tests.lab.target import Target
from tests.lab.told import told
from tests.lab.uploads import running_uploads

pytestmark = [
    pytest.mark.etapa_2,
    pytest.mark.topology("nfs_storage", "smb_storage"),
    pytest.mark.soak_only,
    pytest.mark.soak(runs=1),
    pytest.mark.usefixtures("whole_platform", "moved_uploads"),
]

DIRECTORY = "/srv/shared/uploads"
FILES = 8


class Fault(NamedTuple):
    """What breaks the directory on the host that serves it, again and again, what mends it, and what is said meanwhile."""

    begin: str
    end: str
    said: str


FAULTS = {
    "full": Fault(
        # Nearly all at once, and the rest by writing into what only root may use.
        f"free=$(df --output=avail --block-size=1 {DIRECTORY} | tail --lines=1)"
        f"; test $free -lt 8388608 || fallocate --offset 0 --length $((free - 1048576)) {DIRECTORY}/../filler"
        f"; head --bytes=8M /dev/zero >> {DIRECTORY}/../filler; sync",
        f"rm --force {DIRECTORY}/../filler; sync",
        "/srv/uploads is full, or its quota is used up",
    ),
    "of somebody else": Fault(
        f"chown root:root {DIRECTORY} && chmod 0700 {DIRECTORY}",
        f"chown uploads:uploads {DIRECTORY} && chmod 0770 {DIRECTORY}",
        "/srv/uploads may not be written or read by this user",
    ),
}


@pytest.fixture
def broken(lab: Lab, instances: list[str], request: pytest.FixtureRequest) -> Iterator[Fault]:
    fault: Fault = FAULTS[request.param]
    (server,) = (host for host in lab.group("storage_servers") if _serves(lab, host))
    before = lab.on(server, f"stat --format '%U:%G %a' {DIRECTORY}")
    lab.on(server, fault.begin)
    yield fault
    lab.on(server, fault.end)
    assert lab.on(server, f"stat --format '%U:%G %a' {DIRECTORY}") == before
    wait_until_all_are_ready(lab, instances)


def _serves(lab: Lab, host: str) -> bool:
    return lab.on(host, "mountpoint --quiet /srv/shared && echo yes; true", check=False).strip() == "yes"


@pytest.mark.parametrize("broken", FAULTS, indirect=True)
def test_it_is_named_and_no_upload_is_acknowledged(
    lab: Lab, target: Target, instances: list[str], output: Path, broken: Fault
) -> None:
    (server,) = (host for host in lab.group("storage_servers") if _serves(lab, host))

    def is_blamed() -> bool:
        # A check that removes what it has written makes room for the next one of its size.
        lab.on(server, broken.begin)
        return blames_the_storage(lab, instances)

    eventually("every instance says that it is the storage", is_blamed, within=ANSWER_SECONDS, every=1)
    with running_uploads(target, files=FILES, clients=2, patience_seconds=0, save_to=output / "uploads.json") as tried:
        pass
    assert not tried.result.acknowledged
    assert {failure.how for failure in tried.result.uncured} == {"status 503"}, tried.result
    assert len(tried.result.uncured) == FILES
    assert broken.said in told("verify.yml", {})


# NFS has certificates and no password.
@pytest.mark.topology("smb_storage")
def test_a_wrong_password_is_named_before_the_application_is_told_anything() -> None:
    run = playbook("etapa_2_shared_storage.yml", "--limit", "app_servers", "--extra-vars", "secret_smb_password=wrong")
    assert run.returncode != 0
    assert "password" in " ".join(run.stdout.split())
