# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge the database by what several hosts say of it: the data nodes of one another, the poolers of where they send clients, and repmgr."""

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._postgresql_checks import ANSWER, PRIMARY
from ansible_collections.escala.ha.plugins.module_utils._verdict import Check, Verdict, validated

POOLER_WRITES = Check(3, "pooler_writes", "Every pooler sends writes to the primary, and to nobody else")
POOLER_READS = Check(3, "pooler_reads", "Every pooler reads from a standby, and from the primary only without one")
CATALOGUE = Check(3, "repmgr_catalogue", "repmgr's catalogue has every data node as it is")

# Longer than a connection takes to come about, and than a moment in which the follower changes it.
_STARVED_SECONDS = 3.0
Result = t.Mapping[str, t.Any]
# What one task registered, by the host's name.
Results = t.Mapping[str, Result]


def replication_verdicts(results: Results) -> t.List[Verdict]:
    """One verdict for each check of postgresql_replication_check, which ran on several data nodes: it passes where it does on all.

    Who sees more wrong than others has the network against it, and will not have what a failover needs.
    """
    views = {host: _verdicts(result) for host, result in results.items() if "verdicts" in result}
    blind = {host: _why_blind(result) for host, result in results.items() if host not in views}
    if not views:
        reason = "; ".join(f"{host} {why}" for host, why in blind.items()) or "there is no data node"
        return [
            check.fails(f"nobody could be asked: {reason}. Bring the data nodes back") for check in (ANSWER, PRIMARY)
        ]
    names = dict.fromkeys(name for verdicts in views.values() for name in verdicts)
    merged = {name: _merged({host: of[name] for host, of in views.items() if name in of}) for name in names}
    if blind and ANSWER.name in merged:
        merged[ANSWER.name] = _without(merged[ANSWER.name], blind)
    if PRIMARY.name in merged and merged[PRIMARY.name]["passed"]:
        merged[PRIMARY.name] = _agreed(merged[PRIMARY.name], views)
    return list(merged.values())


def _verdicts(result: Result) -> t.Dict[str, Verdict]:
    return {verdict["name"]: validated(verdict) for verdict in result["verdicts"]}


def _why_blind(result: Result) -> str:
    """Why a host said nothing, on one line. What was skipped was so because the host was away for the task before."""
    if result.get("unreachable") or result.get("skipped"):
        return "could not be entered, so it was not asked"
    told = result.get("problem") or result.get("msg") or "it said nothing"
    return f"could not be asked: {' '.join(str(told).split()).rstrip('.')}"


def _merged(of: t.Mapping[str, Verdict]) -> Verdict:
    """The same check as seen from several hosts; the evidence is that of the first whose verdict it is."""
    bad = {host: verdict for host, verdict in of.items() if not verdict["passed"]}
    shown = next(iter((bad or of).values()))
    reasons: t.Dict[str, t.List[str]] = {}
    for host, verdict in bad.items():
        # A server's hint is on a line of its own.
        reasons.setdefault(" ".join(verdict["reason"].split()), []).append(host)
    evidence = {**shown["evidence"], "seen_from": list(bad or of)}
    if not bad:
        return {**shown, "evidence": evidence}
    if len(reasons) == 1 and len(bad) == len(of):
        return {**shown, "reason": next(iter(reasons)), "evidence": evidence}
    told = "; ".join(f"as seen from {_list(hosts)}: {reason}" for reason, hosts in reasons.items())
    well = [host for host in of if host not in bad]
    if well:
        told += f". {_list(well)} see{'s' * (len(well) == 1)} nothing wrong"
    return {**shown, "reason": told, "evidence": evidence}


def _without(answers: Verdict, blind: t.Mapping[str, str]) -> Verdict:
    """The verdict on who answers, which fails where a data node could not be asked about the others."""
    reasons = [f"{host} {why}" for host, why in blind.items()] + ([] if answers["passed"] else [answers["reason"]])
    remedy = ". Bring it back, or put right what it says" if answers["passed"] else ""
    return ANSWER.fails(f"{'; '.join(reasons)}{remedy}", **answers["evidence"])


def _agreed(passed: Verdict, views: t.Mapping[str, t.Mapping[str, Verdict]]) -> Verdict:
    """The verdict on the primary, which fails where each node sees one and it is not the same."""
    seen = {host: of[PRIMARY.name]["evidence"].get("primary") for host, of in views.items() if PRIMARY.name in of}
    if len(set(seen.values())) == 1:
        return passed
    told = ", ".join(f"{host} sees {primary}" for host, primary in seen.items())
    return PRIMARY.fails(
        f"the data nodes see different primaries ({told}). If that was a failover just now, verify again; if not, read"
        " `escala-pg-guard status` on each",
        **passed["evidence"],
    )


class Cluster(t.NamedTuple):
    """What the data nodes said of themselves: who is primary, None where they do not agree on one, and the address of each that answers."""

    primary: t.Optional[str]
    addresses: t.Mapping[str, str]

    @property
    def standbys(self) -> t.List[str]:
        return [name for name in self.addresses if name != self.primary]

    def name(self, address: str) -> str:
        """The node that has an address, or the address itself where it is no node's."""
        return next((name for name, its in self.addresses.items() if its == address), address)


def cluster_from(results: Results) -> Cluster:
    """From what postgresql_replication_check found on each data node: its evidence says who is primary and who answers."""
    primaries: t.Set[str] = set()
    addresses: t.Dict[str, str] = {}
    for result in results.values():
        of = {verdict["name"]: verdict["evidence"] for verdict in result.get("verdicts", ())}
        primary = of.get(PRIMARY.name, {}).get("primary")
        primaries |= {primary} if primary else set()
        for name, node in of.get(ANSWER.name, {}).items():
            if isinstance(node, t.Mapping) and node.get("problem") is None:
                addresses.setdefault(name, node["address"])
    return Cluster(primaries.pop() if len(primaries) == 1 else None, addresses)


def judge_poolers(poolers: Results, cluster: Cluster, database: str) -> t.List[Verdict]:
    """Judge what pgbouncer_info says on each host: writes go to the very primary, reads to a standby, and nobody waits for what cannot be entered."""
    readers = f"{database}_ro"
    evidence = {
        host: {name: _hosts(seen, name, cluster) for name in (database, readers)} for host, seen in poolers.items()
    }
    if not poolers:
        return [
            check.fails("no host has a pooler; name the application's hosts") for check in (POOLER_WRITES, POOLER_READS)
        ]
    if cluster.primary is None:
        told = "it is not known who is primary, so where clients should be sent is not either; mend the database first"
        return [check.fails(told, poolers=evidence) for check in (POOLER_WRITES, POOLER_READS)]
    writes = [f"{host} {fault}" for host, seen in poolers.items() for fault in _write_faults(seen, cluster, database)]
    reads = [f"{host} {fault}" for host, seen in poolers.items() for fault in _read_faults(seen, cluster, readers)]
    remedy = "Read `journalctl -u escala-pg-follow -u pgbouncer` there"
    read_from = " or ".join(cluster.standbys) or f"{cluster.primary}, for there is no standby"
    return [
        _judged(POOLER_WRITES, writes, remedy, f"{_list(poolers)} send writes to {cluster.primary}", evidence),
        _judged(POOLER_READS, reads, remedy, f"{_list(poolers)} read from {read_from}", evidence),
    ]


def _judged(check: Check, faults: t.Sequence[str], remedy: str, well: str, evidence: Result) -> Verdict:
    if faults:
        return check.fails(f"{'; '.join(faults)}. {remedy}", poolers=evidence)
    return check.passes(well, poolers=evidence)


def _row(seen: Result, database: str) -> t.Optional[Result]:
    return next((row for row in seen.get("databases") or () if row["name"] == database), None)


def _hosts(seen: Result, database: str, cluster: Cluster) -> t.List[str]:
    """The nodes that one of the pooler's databases goes to; where nobody is known to be one, it goes to a folder that is none."""
    row = _row(seen, database)
    return [cluster.name(host) for host in row["hosts"] if not host.startswith("/")] if row else []


def _pool_faults(seen: Result, database: str) -> t.Iterator[str]:
    """What keeps a pool from being used at all."""
    row = _row(seen, database)
    if "databases" not in seen or seen.get("problem"):
        yield _why_blind(seen)
    elif row is None:
        yield f"has no database {database}"
    elif row["paused"] or row["disabled"]:
        yield f"has {database} {'paused' if row['paused'] else 'disabled'}, so its clients wait or get errors"
    else:
        yield from _starved(seen, database)


def _starved(seen: Result, database: str) -> t.Iterator[str]:
    """Clients that wait while no connection to PostgreSQL comes about: an address may be right and a certificate not."""
    for pool in seen.get("pools") or ():
        has = pool["servers_active"] + pool["servers_idle"]
        if pool["database"] == database and not has and pool["longest_wait_seconds"] >= _STARVED_SECONDS:
            yield (
                f"has {pool['clients_waiting']} clients of {pool['user']} waiting for {database} for {pool['longest_wait_seconds']:.0f} s,"
                " and no connection for them"
            )


def _write_faults(seen: Result, cluster: Cluster, database: str) -> t.Iterator[str]:
    unusable = list(_pool_faults(seen, database))
    yield from unusable
    if _row(seen, database) is None:
        return
    hosts = _hosts(seen, database, cluster)
    if hosts != [cluster.primary]:
        yield f"sends writes to {_list(hosts) or 'nobody'}, and the primary is {cluster.primary}"
    left = [
        cluster.name(server["address"])
        for server in seen.get("servers") or ()
        if server["database"] == database and not server["close_needed"]
    ]
    for other in sorted(set(left) - {cluster.primary}):
        yield f"still has {left.count(other)} connections for writes to {other}"


def _read_faults(seen: Result, cluster: Cluster, readers: str) -> t.Iterator[str]:
    unusable = list(_pool_faults(seen, readers))
    yield from unusable
    if _row(seen, readers) is None:
        return
    hosts, wanted = _hosts(seen, readers, cluster), cluster.standbys or [str(cluster.primary)]
    if len(hosts) != 1:
        yield f"reads from {_list(hosts) or 'nobody'}, and should from one of {_list(wanted)}"
    for host in hosts:
        if host not in wanted:
            yield f"reads from {host}, which is {'the primary' if host == cluster.primary else 'no data node that answers'}"


def judge_catalogue(results: Results) -> Verdict:
    """Judge what repmgr_cluster_info found on every data node; one that cannot be entered is another verdict's matter."""
    asked = {host: result for host, result in results.items() if not result.get("unreachable")}
    told = {host: result.get("differences") or [] for host, result in asked.items()}
    evidence = {host: _shown(result) for host, result in asked.items()}
    differences = {text: [host for host in told if text in told[host]] for texts in told.values() for text in texts}
    faults = [f"{text} (asked on {_list(hosts)})" for text, hosts in differences.items()]
    faults += [
        f"{host} {_why_blind(result)}"
        for host, result in asked.items()
        if result.get("problem") or "differences" not in result
    ]
    if not asked:
        faults = ["no data node could be entered to ask repmgr"]
    if faults:
        return CATALOGUE.fails(
            f"{'; '.join(faults)}. Nothing decides by it; playbooks/etapa_3_postgresql.yml registers the nodes as they are",
            **evidence,
        )
    names = dict.fromkeys(node["name"] for result in asked.values() for node in result["nodes"])
    return CATALOGUE.passes(f"it has {_list(names)} as they are, as asked on {_list(asked)}", **evidence)


def _shown(result: Result) -> t.Dict[str, str]:
    """The catalogue as it is on one node, in words."""
    return {
        node[
            "name"
        ]: f"{node['type']}, {'active' if node['active'] else 'not active'}, upstream {node['upstream'] or 'none'}"
        for node in result.get("nodes") or ()
    }


def _list(names: t.Iterable[t.Any]) -> str:
    return ", ".join(str(name) for name in names)
