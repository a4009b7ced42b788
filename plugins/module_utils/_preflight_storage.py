# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find every fault in how the storage for uploads is described, and in what its hosts show of it."""

from __future__ import annotations

import ipaddress
import os.path
import re
import typing as t
from urllib.parse import urlsplit

from ansible_collections.escala.ha.plugins.module_utils._preflight_platform import (
    APPLICATIONS,
    BACKEND,
    BACKENDS,
    STORAGE,
    Fault,
    Faults,
    Host,
    Platform,
    Rule,
)

_PATH, _BUCKET, _ENDPOINT = "shared_storage_path", "shared_storage_bucket", "shared_storage_endpoint"
_ACCESS_KEY, _SECRET_KEY = "secret_shared_storage_access_key", "secret_shared_storage_secret_key"
_CONNECTION_STRING = "secret_shared_storage_azure_connection_string"
_ADDRESS, _DEVICE = "shared_storage_address", "share_volume_device"
# As playbooks/vars/shared_storage.yml has them.
_DEFAULTS = {_PATH: "/srv/uploads", _BUCKET: "uploads"}
# What shared_storage_info saw on an application host.
SEEN = "__preflight_storage"
_DIRECTORIES, _BUCKETS = ("nfs", "smb"), ("minio", "s3")
# As the application takes it where its environment says nothing.
_ALLOWED_ROOTS = "/srv,/mnt"
_S3_NAME = re.compile(r"(?!.*\.\.)(?!\d+\.\d+\.\d+\.\d+$)(?!xn--)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_CONTAINER_NAME = re.compile(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*")
_FILE_SYSTEMS = {"nfs": ("nfs4", "nfs"), "smb": ("cifs", "smb3")}
# What etapa 2 may be there to mend, and what can be seen only once a server answers.
_MENDED_LATER = ("hangs", "stale", "missing", "away", "unwritable")


def _with_backend(platform: Platform, *backends: str) -> t.List[Host]:
    return [host for host in platform.hosts.values() if host.setting(BACKEND) in backends]


def backends(platform: Platform) -> Faults:
    for host, value in platform.with_variable(BACKEND):
        if value not in BACKENDS:
            yield Fault(host.name, BACKEND, value, "is unknown", f"choose one of {', '.join(BACKENDS)}")


def one_backend(platform: Platform) -> Faults:
    known = {host.setting(BACKEND) for host in platform.members(APPLICATIONS)}
    if len(known) > 1:
        told = ", ".join(sorted(str(value) for value in known))
        remedy = "set it once, in group_vars/all of the inventory"
        yield Fault(
            APPLICATIONS, BACKEND, told, "differs between hosts, which would each keep uploads elsewhere", remedy
        )


def servers(platform: Platform) -> Faults:
    count = len(platform.groups.get(STORAGE, ()))
    chosen = {str(host.setting(BACKEND)) for host in platform.hosts.values()} & {*_DIRECTORIES, "minio"}
    for backend in sorted(chosen):
        if backend == "minio" and (count == 1 or count >= 4):
            continue
        if count in {"nfs": (1, 2), "smb": (1,)}.get(backend, ()):
            continue
        wanted = {"minio": "1 node or at least 4", "nfs": "1 server or 2", "smb": "1 server"}[backend]
        problem = f"has {count} host{'s' * (count != 1)}, and {BACKEND} = {backend} takes {wanted}"
        yield Fault("inventory", STORAGE, None, problem, "add hosts to the group, or take some out")


def pairs(platform: Platform) -> Faults:
    """Two servers of a directory: what they need beside what one needs."""
    servers = platform.members(STORAGE)
    if len(servers) != 2 or not _with_backend(platform, "nfs"):
        return
    for host in servers:
        address, device = host.setting(_ADDRESS), host.setting(_DEVICE)
        remedy = "choose a free address of their network, which clients mount from and which moves between the two"
        if address is None:
            yield Fault(
                host.name, _ADDRESS, None, "is not set, and two servers need one that moves between them", remedy
            )
        elif not _is_address(address):
            yield Fault(host.name, _ADDRESS, address, "is no address, and a name does not move", remedy)
        elif address in [other.setting("platform_address") for other in platform.hosts.values()]:
            yield Fault(host.name, _ADDRESS, address, "is a host's own, and two servers need one that moves", remedy)
        if not device:
            remedy = "name an empty disk by /dev/disk/by-id"
            yield Fault(host.name, _DEVICE, device, "is not set, and two servers mirror a disk of their own", remedy)


def _is_address(value: t.Any) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def paths(platform: Platform) -> Faults:
    for host in platform.members(APPLICATIONS):
        path = host.setting(_PATH)
        if path is None or host.setting(BACKEND) not in _DIRECTORIES:
            continue
        roots = _allowed_roots(host)
        if not isinstance(path, str) or not path.startswith("/") or os.path.normpath(path) != path:
            remedy = "write it as /srv/uploads"
            yield Fault(host.name, _PATH, path, "is not an absolute path, or has a slash or dots too many", remedy)
        elif not any(path.startswith(f"{root.rstrip('/')}/") for root in roots):
            problem = f"is not below one of {', '.join(roots)}, where the application takes a path for uploads"
            remedy = "choose one below, or name another root in app_environment.STORAGE_ALLOWED_ROOTS"
            yield Fault(host.name, _PATH, path, problem, remedy)


def _allowed_roots(host: Host) -> t.List[str]:
    environment = host.setting("app_environment")
    given = environment.get("STORAGE_ALLOWED_ROOTS") if isinstance(environment, t.Mapping) else None
    return [root.strip() for root in str(given or _ALLOWED_ROOTS).split(",") if root.strip()]


def buckets(platform: Platform) -> Faults:
    asked = [(host, _S3_NAME, "a bucket's") for host in _with_backend(platform, *_BUCKETS)]
    asked += [(host, _CONTAINER_NAME, "a container's") for host in _with_backend(platform, "azure_blob")]
    for host, pattern, whose in asked:
        name = host.setting(_BUCKET)
        if name is not None and not (isinstance(name, str) and pattern.fullmatch(name)):
            dots = ", dots" if whose == "a bucket's" else ""
            problem = f"is no name of {whose[:-2]}: 3 to 63 small letters, digits{dots} and hyphens, with a letter or digit at both ends"
            yield Fault(host.name, _BUCKET, name, problem, "choose another")


def endpoints(platform: Platform) -> Faults:
    for host in _with_backend(platform, *_BUCKETS):
        endpoint = host.setting(_ENDPOINT)
        if endpoint in (None, ""):
            continue
        try:
            parts = urlsplit(str(endpoint))
            good = (
                parts.scheme == "https" and bool(parts.hostname) and not parts.path.strip("/") and (parts.port or 1) > 0
            )
        except ValueError:
            good = False
        if not good:
            remedy = "write it as https://storage.example.com:9000"
            yield Fault(host.name, _ENDPOINT, endpoint, "is no address of https, without a path", remedy)


def given_keys(platform: Platform) -> Faults:
    """The keys that nobody can generate, since another gives them."""
    for host in platform.members(APPLICATIONS):
        backend = host.setting(BACKEND)
        wanted = {"s3": (_ACCESS_KEY, _SECRET_KEY), "azure_blob": (_CONNECTION_STRING,)}.get(str(backend), ())
        absent = [name for name in wanted if not host.has(name)]
        # Without any, the host's own role at AWS serves.
        if backend == "s3" and len(absent) == 2 and not host.setting(_ENDPOINT):
            continue
        for name in absent:
            problem = f"is not set, and {BACKEND} = {backend} needs it"
            remedy = "set it in group_vars/all/secrets.yml of the inventory, as whoever runs the storage gave it"
            yield Fault(host.name, name, None, problem, remedy)


def mount_points(platform: Platform) -> Faults:
    for host in platform.members(APPLICATIONS):
        backend, seen = str(host.setting(BACKEND)), _seen(host)
        directory = seen.get("directory")
        if backend not in _DIRECTORIES or not seen:
            continue
        path = _chosen(host, _PATH)
        if directory is None:
            if seen.get("kind") not in _MENDED_LATER:
                yield Fault(host.name, _PATH, path, str(seen.get("problem")), "choose another path, or mend it")
            continue
        mount, names = directory["mount"], directory["first_names"]
        if directory["is_mount_point"]:
            if mount["type"] not in (*_FILE_SYSTEMS[backend], "autofs"):
                problem = (
                    f"{mount['source']} ({mount['type']}) is mounted there, and {backend} would be mounted over it"
                )
                yield Fault(host.name, _PATH, path, problem, "unmount that, or choose another path")
        elif names:
            problem = f"is not empty and no mount, and what is in it would be hidden: {', '.join(names)}"
            remedy = "move that away, and into the storage once it is mounted, or choose another path"
            yield Fault(host.name, _PATH, path, problem, remedy)


def given_buckets(platform: Platform) -> Faults:
    for host in platform.members(APPLICATIONS):
        seen = _seen(host)
        if host.setting(BACKEND) not in ("s3", "azure_blob") or not seen.get("problem"):
            continue
        # A name that cannot be one is a fault by itself.
        if seen.get("kind") == "options" and any(fault.variable == _BUCKET for fault in buckets(platform)):
            continue
        # Etapa 2 makes it.
        if seen.get("kind") == "bucket" and host.setting("object_storage_manage") is not False:
            continue
        yield Fault(
            host.name, _BUCKET, _chosen(host, _BUCKET), f"cannot be used, {seen['problem']}", "then run this again"
        )


def _chosen(host: Host, variable: str) -> t.Any:
    return host.setting(variable) or _DEFAULTS[variable]


def _seen(host: Host) -> t.Mapping[str, t.Any]:
    """What was seen of the storage; nothing where it was not asked, or could not be."""
    seen = host.values.get(SEEN)
    return seen if isinstance(seen, t.Mapping) and "answers" in seen else {}


RULES: t.Tuple[Rule, ...] = (
    backends,
    one_backend,
    servers,
    pairs,
    paths,
    buckets,
    endpoints,
    given_keys,
    mount_points,
    given_buckets,
)


def away(platform: Platform) -> Faults:
    for host in platform.members(APPLICATIONS):
        seen = _seen(host)
        if host.setting(BACKEND) in _DIRECTORIES and seen.get("kind") in ("hangs", "stale", "away"):
            path = _chosen(host, _PATH)
            yield Fault(host.name, _PATH, path, str(seen["problem"]), "what waits for it goes on once it is back")


HINTS: t.Tuple[Rule, ...] = (away,)
