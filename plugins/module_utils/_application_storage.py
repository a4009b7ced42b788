# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an application that keeps docs/application-contract.md is told of the shared storage."""

from __future__ import annotations

import os.path
import typing as t

DRIVERS = {"nfs": "local", "smb": "local", "minio": "s3", "s3": "s3", "azure_blob": "azure_blob"}

# A share that hangs holds one of Node's threads for each file operation that waits on it, and Node has four.
_THREADS = 16
_CA_FILE = "storage-ca.pem"


class Storage(t.NamedTuple):
    """Where uploads are; what a backend does not need may be empty."""

    path: str = ""
    bucket: str = ""
    endpoint: str = ""
    region: str = ""
    access_key: str = ""
    secret_key: str = ""
    ca: str = ""
    connection_string: str = ""


def told_of(backends: t.Sequence[str], storage: Storage, files_directory: str) -> t.Dict[str, t.Any]:
    """The value for the app role's `app_platform`: configuration for every backend, the first of which is used until a setting says otherwise.

    Empty without a backend. Raises ValueError for one that is unknown, and for two of which the application can have only one.
    """
    if not backends:
        return {}
    drivers = _drivers(backends)
    told = _Told({"STORAGE_DRIVER": drivers[0]}, {}, [], [])
    for backend, driver in zip(backends, drivers):
        {"local": _share, "s3": _s3, "azure_blob": _azure_blob}[driver](told, storage)
        if backend == "minio":
            told.environment["NODE_EXTRA_CA_CERTS"] = f"{files_directory}/{_CA_FILE}"
            told.files.append({"name": _CA_FILE, "content": storage.ca})
    return told._asdict()


class _Told(t.NamedTuple):
    environment: t.Dict[str, t.Any]
    secrets: t.Dict[str, str]
    files: t.List[t.Dict[str, str]]
    writable_paths: t.List[str]


def _drivers(backends: t.Sequence[str]) -> t.List[str]:
    for backend in backends:
        if backend not in DRIVERS:
            raise ValueError(f"{backend!r} is no backend of shared storage; there are {', '.join(DRIVERS)}")
    drivers = [DRIVERS[backend] for backend in backends]
    if len(set(drivers)) < len(drivers):
        raise ValueError(
            f"the application cannot have {' and '.join(backends)} at once: both are the driver {drivers[0]}, of which it has one configuration"
        )
    return drivers


def _share(told: _Told, storage: Storage) -> None:
    told.environment.update({"STORAGE_LOCAL_PATH": storage.path, "UV_THREADPOOL_SIZE": _THREADS})
    # Not the mount point itself: what is mounted there later would not be seen in the instance's sandbox.
    told.writable_paths.append(os.path.dirname(storage.path))


def _s3(told: _Told, storage: Storage) -> None:
    told.environment.update({"STORAGE_S3_BUCKET": storage.bucket, "STORAGE_S3_REGION": storage.region})
    if storage.endpoint:
        told.environment["STORAGE_S3_ENDPOINT"] = storage.endpoint
    # Without a key the host's own role at AWS serves.
    if storage.access_key:
        told.secrets["STORAGE_S3_ACCESS_KEY_ID"] = storage.access_key
        told.secrets["STORAGE_S3_SECRET_ACCESS_KEY"] = storage.secret_key


def _azure_blob(told: _Told, storage: Storage) -> None:
    told.environment["STORAGE_AZURE_CONTAINER"] = storage.bucket
    told.secrets["STORAGE_AZURE_CONNECTION_STRING"] = storage.connection_string
