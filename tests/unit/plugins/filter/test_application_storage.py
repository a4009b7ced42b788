from __future__ import annotations

import itertools

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.filter.application_storage import FilterModule
from ansible_collections.escala.ha.plugins.module_utils._application_storage import DRIVERS

application_storage = FilterModule().filters()["application_storage"]
FILES = "/etc/tenant-app/files"
STORAGE = {
    "path": "/srv/uploads",
    "bucket": "uploads",
    "endpoint": "https://10.0.0.1:9000",
    "region": "us-east-1",
    "access_key": "key",
    "secret_key": "hunter2",
    "ca": "PEM",
    "connection_string": "AccountName=a",
}


def test_without_a_backend_the_inventory_s_own_storage_stays():
    assert application_storage([], STORAGE, FILES) == {}


@pytest.mark.parametrize("backend", ["nfs", "smb"])
def test_a_share_is_a_path_in_a_folder_that_is_writable(backend):
    assert application_storage([backend], {"path": "/srv/uploads"}, FILES) == {
        "environment": {"STORAGE_DRIVER": "local", "STORAGE_LOCAL_PATH": "/srv/uploads", "UV_THREADPOOL_SIZE": 16},
        "secrets": {},
        "files": [],
        "writable_paths": ["/srv"],
    }


def test_minio_is_s3_at_an_endpoint_with_an_authority_of_one_s_own():
    assert application_storage(["minio"], STORAGE, FILES) == {
        "environment": {
            "STORAGE_DRIVER": "s3",
            "STORAGE_S3_BUCKET": "uploads",
            "STORAGE_S3_REGION": "us-east-1",
            "STORAGE_S3_ENDPOINT": "https://10.0.0.1:9000",
            "NODE_EXTRA_CA_CERTS": f"{FILES}/storage-ca.pem",
        },
        "secrets": {"STORAGE_S3_ACCESS_KEY_ID": "key", "STORAGE_S3_SECRET_ACCESS_KEY": "hunter2"},
        "files": [{"name": "storage-ca.pem", "content": "PEM"}],
        "writable_paths": [],
    }


def test_at_aws_neither_an_endpoint_nor_a_key_is_needed():
    told = application_storage(["s3"], {"bucket": "b", "region": "eu-west-1"}, FILES)
    assert told["environment"] == {
        "STORAGE_DRIVER": "s3",
        "STORAGE_S3_BUCKET": "b",
        "STORAGE_S3_REGION": "eu-west-1",
    }
    assert told["secrets"] == {}
    assert told["files"] == []


def test_azure_s_connection_string_is_a_secret():
    told = application_storage(["azure_blob"], STORAGE, FILES)
    assert told["environment"] == {"STORAGE_DRIVER": "azure_blob", "STORAGE_AZURE_CONTAINER": "uploads"}
    assert told["secrets"] == {"STORAGE_AZURE_CONNECTION_STRING": "AccountName=a"}


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(DRIVERS, 2)))
def test_of_two_backends_the_first_is_used_and_both_are_configured(first, second):
    if DRIVERS[first] == DRIVERS[second]:
        with pytest.raises(AnsibleFilterError, match=f"cannot have {first} and {second} at once"):
            application_storage([first, second], STORAGE, FILES)
        return
    told, alone = (application_storage(backends, STORAGE, FILES) for backends in ([first, second], [second]))
    assert told["environment"]["STORAGE_DRIVER"] == DRIVERS[first]
    assert alone["environment"].keys() <= told["environment"].keys()
    assert alone["secrets"].items() <= told["secrets"].items()


@pytest.mark.parametrize("backend", list(DRIVERS))
def test_no_secret_is_in_the_environment(backend):
    told = application_storage([backend], STORAGE, FILES)
    assert not {"hunter2", "AccountName=a"} & {str(value) for value in told["environment"].values()}


@pytest.mark.parametrize(
    ("backends", "storage", "said"),
    [
        (["ftp"], {}, "'ftp' is no backend of shared storage; there are nfs, smb, minio, s3, azure_blob"),
        (["nfs"], {"pth": "/srv/uploads"}, "pth"),
    ],
)
def test_what_it_does_not_know_is_refused(backends, storage, said):
    with pytest.raises(AnsibleFilterError, match=said):
        application_storage(backends, storage, FILES)
