# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds a virtual address: by what `ip -json address` says on each host that may, and by what witnesses on other hosts see."""

from __future__ import annotations

import datetime
import json
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._verdict import Check, Verdict

LIST_ADDRESSES = ("ip", "-json", "address", "show")

ONE_HOLDER = Check(1, "one_virtual_ip_holder", "Exactly one balancer holds the virtual address")
WITNESSES = Check(1, "virtual_ip_witnesses", "Every witness sees one holder of the virtual address")
WITNESS_STATE = "/run/escala-virtual-ip-witness/state.json"
# A witness looks every second; one that has not for so long says nothing about now.
_STALE_SECONDS = 5.0
_KEYS = ("address", "state", "since", "reason", "holders")


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


def witnessed(read: t.Callable[[], str], now: float) -> t.Dict[str, t.Any]:
    """What a witness's state file says; a witness that is not there is an observation too."""
    try:
        content = json.loads(read())
        seen = {key: content[key] for key in _KEYS}
        return {**seen, "age_seconds": round(max(0.0, now - content["checked_at"]), 3), "problem": None}
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"the witness's state could not be read: {error}"
        return {**dict.fromkeys(_KEYS), "holders": [], "age_seconds": None, "problem": problem}


def judge_witnesses(address: str, observations: t.Mapping[str, t.Mapping[str, t.Any]]) -> Verdict:
    """Judge what every witness saw, by the inventory's names: they must look now, and see the same one holder."""
    faults = [fault for host in sorted(observations) for fault in _faults_of(address, host, observations[host])]
    holders = {host: _holders(seen) for host, seen in observations.items() if seen.get("state") == "one"}
    if not faults and len(set(holders.values())) > 1:
        each = ", ".join(f"{host} sees {holder}" for host, holder in sorted(holders.items()))
        faults = [f"the witnesses see different holders of {address} ({each}); see what parts their network"]
    evidence = {host: f"{seen.get('state') or 'unknown'}: {_holders(seen)}" for host, seen in observations.items()}
    if faults:
        return WITNESSES.fails("; ".join(faults), witnesses=evidence)
    if not observations:
        return WITNESSES.fails(f"no host watches who holds {address}; run the witness on the application hosts")
    holder = next(iter(holders.values()))
    return WITNESSES.passes(f"{', '.join(sorted(holders))} see {address} at {holder} only", witnesses=evidence)


def _faults_of(address: str, host: str, seen: t.Mapping[str, t.Any]) -> t.List[str]:
    service = f"escala-virtual-ip-witness on {host}"
    if seen.get("unreachable") or seen.get("problem") or not seen.get("state"):
        return [f"{host} says nothing: {seen.get('problem') or seen.get('msg') or 'no answer'}; see {service}"]
    if seen["address"] != address:
        return [f"{host} watches {seen['address']} and not {address}; run the etapa's playbook again"]
    if seen["age_seconds"] > _STALE_SECONDS:
        age = f"{seen['age_seconds']:.0f} s ago, limit {_STALE_SECONDS:.0f} s"
        return [f"{host} looked last {age}; see {service}"]
    if seen["state"] != "one":
        since = datetime.datetime.fromtimestamp(seen["since"], datetime.timezone.utc)
        return [f"{host} since {since:%Y-%m-%d %H:%M:%S} UTC: {seen['reason']}"]
    return []


def _holders(seen: t.Mapping[str, t.Any]) -> str:
    return " and ".join(sorted(held["host"] or held["mac"] for held in seen.get("holders") or ())) or "nobody"
