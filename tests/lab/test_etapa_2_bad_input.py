"""What is wrong with the storage for uploads is said in plain words: before an etapa changes anything, or by verify.yml."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.handle import Lab
from tests.lab.told import told

pytestmark = [pytest.mark.etapa_2, pytest.mark.usefixtures("whole_platform")]

HOST = "app1"
# Beyond the 15 minutes that S3 allows.
SKEW_SECONDS = 1_200


@pytest.mark.topology("object_storage")
@pytest.mark.soak(runs=1)
@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"shared_storage_backend": "ceph"},
            "shared_storage_backend is ceph; set it to nfs, smb, minio, s3 or azure_blob",
        ),
        # It would begin with an empty container, and every upload would be missing.
        (
            {"shared_storage_backend": "azure_blob"},
            f"{HOST} keeps its uploads in minio, which neither shared_storage_backend = azure_blob",
        ),
    ],
)
def test_a_kind_that_would_leave_uploads_behind_is_refused_before_anything_changes(
    variables: dict[str, str], said: str
) -> None:
    assert said in told("etapa_2_shared_storage.yml", variables)


@pytest.mark.topology("object_storage")
@pytest.mark.soak(runs=1)
@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"secret_shared_storage_secret_key": "x" * 40}, "is not its secret; correct it"),
        ({"secret_shared_storage_access_key": "nobody"}, "does not know"),
        ({"shared_storage_bucket": "of-somebody-else"}, "of-somebody-else"),
    ],
)
def test_a_storage_that_cannot_be_used_fails_the_proof_in_words(variables: dict[str, str], said: str) -> None:
    assert said in told("verify.yml", variables)


@pytest.fixture
def skewed(lab: Lab) -> Iterator[str]:
    """A host whose whole clock is wrong, as only a kernel of its own can have it."""
    host = lab.group("app_servers")[0]
    lab.verb("clock", host, str(SKEW_SECONDS))
    yield host
    lab.verb("clock", host, "0")


@pytest.mark.topology("nfs_to_minio")
@pytest.mark.soak_only
@pytest.mark.soak(runs=1)
def test_a_clock_that_the_storage_refuses_is_named(skewed: str) -> None:
    said = told("verify.yml", {})
    assert skewed in said
    assert "this host's clock is" in said
