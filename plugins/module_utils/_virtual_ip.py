# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds a virtual address, from what `ip -json address` says on each host."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._verdict import Check, Verdict

LIST_ADDRESSES = ("ip", "-json", "address", "show")

ONE_HOLDER = Check(1, "one_virtual_ip_holder", "Exactly one balancer holds the virtual address")


def addresses_from(listing: str) -> t.List[t.Dict[str, t.Any]]:
    """The addresses in the JSON listing; raises ValueError when it is not one."""
    return [
        {"interface": link["ifname"], "address": entry["local"], "prefix_length": entry["prefixlen"]}
        for link in json.loads(listing or "[]")
        for entry in link.get("addr_info", [])
        if "local" in entry
    ]


def observe(address: str, list_addresses: t.Callable[[], t.Tuple[int, str, str]]) -> t.Dict[str, t.Any]:
    """What LIST_ADDRESSES says of the address; a listing that cannot be had is an observation too."""
    try:
        exit_status, listing, errors = list_addresses()
        if exit_status != 0:
            raise ValueError(errors.strip() or f"exit status {exit_status}")
        addresses = addresses_from(listing)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"the addresses could not be listed: {error}"
        return {"address": address, "holds": None, "interface": None, "addresses": [], "problem": problem}
    interfaces = [entry["interface"] for entry in addresses if entry["address"] == address]
    return {
        "address": address,
        "holds": bool(interfaces),
        "interface": interfaces[0] if interfaces else None,
        "addresses": addresses,
        "problem": None,
    }


def judge_holders(address: str, observations: t.Mapping[str, t.Mapping[str, t.Any]]) -> Verdict:
    """Judge what every balancer said of itself, by the inventory's names."""
    held = {host: seen.get("holds") for host, seen in observations.items()}
    holders = sorted(host for host, holds in held.items() if holds)
    unknown = sorted(host for host, holds in held.items() if holds is None)
    words = {True: "holds it", False: "does not hold it", None: "could not be observed"}
    evidence = {host: words[holds] for host, holds in held.items()}
    if len(holders) > 1:
        return ONE_HOLDER.fails(
            f"{' and '.join(holders)} hold {address} at the same time, limit is one holder;"
            " see whether the balancers reach each other by VRRP",
            balancers=evidence,
        )
    if unknown:
        return ONE_HOLDER.fails(
            f"{', '.join(unknown)} could not be observed, so {address} may have another holder;"
            " bring the host back or take it out of the inventory",
            balancers=evidence,
        )
    if not holders:
        return ONE_HOLDER.fails(
            f"no balancer holds {address}; read keepalived's journal on {', '.join(sorted(held)) or 'the balancers'}",
            balancers=evidence,
        )
    standby = sorted(set(held) - set(holders))
    waiting = f", {', '.join(standby)} stand by" if len(standby) > 1 else f", {standby[0]} stands by" if standby else ""
    return ONE_HOLDER.passes(f"{holders[0]} holds {address}{waiting}", balancers=evidence)
