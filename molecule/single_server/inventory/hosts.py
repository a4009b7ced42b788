#!/usr/bin/env python3
"""The lab's single1 as the one host of a platform of its own; what is not said here is as in inventories/single_server."""

import json
from pathlib import Path

HOST = "single1"
CHECKOUT = Path(__file__).resolve().parents[3]
LAB = CHECKOUT / "inventories" / "lab"

lab = json.loads("".join(line for line in (LAB / "hosts.yml").open() if not line.startswith("#")))["all"]
shared = lab["vars"]
variables = (
    shared
    | lab["hosts"][HOST]
    | {
        # Its own, since other scenarios may be at work beside it.
        "pki_directory": str(LAB / ".state" / "pki_single_server"),
        "platform_release_file": shared["lab_app_release_file"],
        "load_balancer_server_names": ["single.escala.test"],
        # The old daemon's user and folder: on one server both sides have the same uploads.
        "app_name": "tenant-app",
        "app_environment": {
            "DATABASE_POOL_SIZE": 5,
            "DRAIN_DELAY_MS": 1000,
            "DRAIN_TIMEOUT_MS": 20000,
            "STORAGE_DRIVER": "local",
            "STORAGE_LOCAL_PATH": "/var/lib/tenant-app/uploads",
            "TRUSTED_PROXIES": "127.0.0.1",
        },
        "lab_legacy_home": "/opt/old-server",
    }
)
groups = {name: {"hosts": [HOST]} for name in ("load_balancers", "app_servers", "legacy_servers")}
print(json.dumps(groups | {"_meta": {"hostvars": {HOST: variables}}}))
