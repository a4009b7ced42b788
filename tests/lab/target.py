"""How a client outside gets in: the name is resolved to the virtual address by the client itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """The platform's edge and one user of it."""

    base_url: str
    vip: str
    server_name: str
    ca_file: str
    tenant: str
    email: str
    password: str
