# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge what one host saw of the shared storage."""

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._shared_storage_child import Outcome
from ansible_collections.escala.ha.plugins.module_utils._shared_storage_files import strange_owners
from ansible_collections.escala.ha.plugins.module_utils._shared_storage_round import Json
from ansible_collections.escala.ha.plugins.module_utils._verdict import Check, Verdict

MOUNTED = Check(
    2, "shared_storage_mounted", "The shared storage is mounted on every application host, and as it should be"
)
ANSWERS = Check(2, "shared_storage_answers", "The object storage answers, and lets the application's key in")
SPACE = Check(2, "shared_storage_space", "The shared storage has room for more")
WRITES = Check(2, "shared_storage_writes", "The application's user stores, reads and deletes in the shared storage")
SHARED = Check(2, "shared_storage_shared", "What one application host stores every other reads, and whole")
LOCKS = Check(2, "shared_storage_locks", "A lock in the shared storage that one host holds is refused to the others")
LATENCY = Check(2, "shared_storage_latency", "The shared storage answers quickly enough")

_DOING = {
    "look": "looking at it",
    "write": "the first file",
    "meet": "waiting for the other hosts",
    "appear": "a file that appears at once",
    "lock": "locking",
    "delete": "deleting",
}
_WRITING = ("write", "appear", "delete")


def judge(outcome: Outcome, options: t.Mapping[str, t.Any], check_mode: bool) -> t.List[Verdict]:
    """All verdicts of one host; in check mode those that need nothing to be written."""
    directory = options["backend"] == "directory"
    first = [judge_mount, judge_space] if directory else [judge_answers]
    after: t.List[t.Callable[[Outcome, t.Mapping[str, t.Any]], Verdict]] = [judge_shared, judge_latency]
    if directory:
        after.insert(1, judge_locks)
    writes = judge_writable if check_mode else judge_writes
    return [act(outcome, options) for act in (*first, writes, *(() if check_mode else after))]


def _where(options: t.Mapping[str, t.Any]) -> str:
    return str(options["path"] if options["backend"] == "directory" else f"the bucket {options['bucket']}")


def _trouble(outcome: Outcome, options: t.Mapping[str, t.Any]) -> str:
    """What ended the look before its end, in words; empty for nothing."""
    if outcome.kind == "hangs":
        what = _DOING.get(outcome.step, "the check")
        return (
            f"{_where(options)} hangs: {what} had no end, {outcome.problem}. See whether the storage server runs and can be reached;"
            " who waits for it goes on once it is back"
        )
    return outcome.problem


def judge_mount(outcome: Outcome, options: t.Mapping[str, t.Any]) -> Verdict:
    """Whether the path is on a mount, of a kind and with the options that are wanted."""
    seen = outcome.seen.get("directory")
    if seen is None:
        return MOUNTED.fails(_trouble(outcome, options), path=options["path"], problem=outcome.kind)
    mount = seen["mount"]
    evidence = {"path": options["path"], **mount, "options": ",".join(mount["options"])}
    kinds, path = options["filesystems"], options["path"]
    if not seen["mounted"]:
        return MOUNTED.fails(
            f"nothing is mounted at {path}, it is on this host's own root disk, where no other host sees it."
            " Mount the storage there; what is in the folder by now must be moved into it",
            **evidence,
        )
    if mount["type"] == "autofs":
        return MOUNTED.fails(f"the automount of {path} has mounted nothing; read `journalctl -u '*.mount'`", **evidence)
    if kinds and mount["type"] not in kinds:
        told = f"{path} is on {mount['type']} from {mount['source']}, and should be on {' or '.join(kinds)}"
        return MOUNTED.fails(f"{told}. Unmount that, and mount the storage", **evidence)
    faults = [f"{path} is mounted read-only"] if seen["read_only"] else []
    missing = [option for option in options["mount_options"] if option not in mount["options"]]
    if missing:
        faults.append(f"{path} is mounted without {', '.join(missing)}")
    if faults:
        return MOUNTED.fails(
            f"{' and '.join(faults)}. See `dmesg` for what made it so; to have it as it should be, unmount it and run etapa 2 again",
            **evidence,
        )
    return MOUNTED.passes(f"{path} is {mount['source']}, {mount['type']}", **evidence)


def judge_space(outcome: Outcome, options: t.Mapping[str, t.Any]) -> Verdict:
    """Whether enough of the volume, or of its quota, is free."""
    seen, limit = outcome.seen.get("directory"), options["minimum_free_percent"]
    if seen is None:
        return SPACE.fails("it could not be looked at", limit_percent=limit)
    evidence = {
        name: seen[name]
        for name in ("capacity_mib", "free_mib", "free_percent", "inodes", "inodes_free", "inodes_free_percent")
    }
    told = [
        (
            f"{seen['free_percent'] or 0:g} % of the space ({seen['free_mib']} of {seen['capacity_mib']} MiB)",
            seen["free_percent"] or 0.0,
        )
    ]
    if seen["inodes"]:
        told.append((f"{seen['inodes_free_percent']:g} % of the inodes", seen["inodes_free_percent"]))
    short = [words for words, percent in told if percent < limit]
    if short:
        return SPACE.fails(
            f"only {' and '.join(short)} free, limit is {limit:g} %. Delete what nobody needs, or enlarge the volume or its quota",
            limit_percent=limit,
            **evidence,
        )
    return SPACE.passes(
        f"{' and '.join(words for words, _percent in told)} free (limit {limit:g} %)", limit_percent=limit, **evidence
    )


def judge_answers(outcome: Outcome, options: t.Mapping[str, t.Any]) -> Verdict:
    """Whether the bucket opens to the key, and its server is well."""
    seen = outcome.seen.get("bucket")
    evidence: Json = {"bucket": options["bucket"], "clock_ahead_seconds": outcome.seen.get("clock_ahead_seconds")}
    if seen is None:
        return ANSWERS.fails(_trouble(outcome, options), problem=outcome.kind, **evidence)
    evidence.update(seen)
    if seen["healthy"] is False:
        return ANSWERS.fails(
            f"{seen['where']} answers, and says itself that too few of its disks take writes. Bring its other nodes and disks back",
            **evidence,
        )
    return ANSWERS.passes(f"{seen['where']} opens the bucket {options['bucket']} to the application's key", **evidence)


def judge_writable(outcome: Outcome, options: t.Mapping[str, t.Any]) -> Verdict:
    """What can be said in check mode."""
    if outcome.problem:
        return WRITES.fails(f"check mode, so nothing was written, nor could it be: {_trouble(outcome, options)}")
    if not outcome.seen["writable"]:
        return WRITES.fails(
            f"check mode, so nothing was written; {_where(options)} is not writable to {options['user'] or 'this user'}."
            " Give it to the application's user on the server"
        )
    return WRITES.passes(
        f"check mode, so nothing was written and no other host was waited for; {_where(options)} says that it can be written to"
    )


def judge_writes(outcome: Outcome, options: t.Mapping[str, t.Any]) -> Verdict:
    """Whether what one application does alone goes well, and its files are its own."""
    round_ = outcome.seen.get("round")
    if round_ is None:
        trouble = "nothing was written, since it could not be looked at"
        if outcome.step != "look":
            trouble = _trouble(outcome, options)
        return WRITES.fails(trouble, problem=outcome.kind, wrote=False)
    evidence: Json = {"wrote": "write" in round_["done"], "left_behind": round_["left"], "problem": round_["kind"]}
    if round_["problem"] and round_["step"] in _WRITING:
        return WRITES.fails(f"{_DOING[round_['step']]} failed: {round_['problem']}", **evidence)
    owner = _strange(outcome, options).get(options["host"])
    if owner:
        uid, expected = outcome.seen["user"][0], _expected_owner(outcome, options)
        return WRITES.fails(
            f"what user {uid} stores here comes out as {_user(owner)}'s, and should be {expected}'s. See how the server and the mount map users:"
            " uid, gid and forceuid of SMB, the squashing and idmapd of NFS",
            stored_by=uid,
            seen_as=owner,
            expected=expected,
            **evidence,
        )
    if round_["left"]:
        return WRITES.fails(
            f"{', '.join(round_['left'])} could not be deleted, and are left below .escala-check", **evidence
        )
    as_whom = f"as {options['user']}" if options["user"] else "as this user"
    return WRITES.passes(
        f"stored and read {as_whom if options['backend'] == 'directory' else 'with the key'}, and left nothing",
        **evidence,
    )


def _strange(outcome: Outcome, options: t.Mapping[str, t.Any]) -> t.Dict[str, str]:
    user = outcome.seen.get("user")
    return strange_owners(outcome.seen.get("owners", {}), _expected_owner(outcome, options)) if user else {}


def _expected_owner(outcome: Outcome, options: t.Mapping[str, t.Any]) -> int:
    """Whose all files must be: the one account's of a server that maps everybody to it, or else the application's own."""
    return int(outcome.seen["user"][0] if options["owner_id"] is None else options["owner_id"])


def _user(owner: str) -> str:
    return owner if owner == "nobody" else f"user {owner}"


def judge_shared(outcome: Outcome, options: t.Mapping[str, t.Any]) -> Verdict:
    """Whether every other host's files were seen here, whole, and as the application's."""
    round_, host = outcome.seen.get("round"), options["host"]
    if round_ is None:
        return SHARED.fails(f"no part was taken in it, since {_short(outcome)}", wrote=False, peers={})
    wrote = "write" in round_["done"]
    evidence: Json = {
        "wrote": wrote,
        "peers": {peer: problem or "seen" for peer, problem in round_["peers"].items()} if wrote else {},
    }
    if not wrote:
        return SHARED.fails("no part was taken in it, since nothing could be written", **evidence)
    faults = [f"{peer}: {problem}" for peer, problem in round_["peers"].items() if problem]
    if faults:
        return SHARED.fails(f"{'; '.join(faults)}. {_unseen(options)}", **evidence)
    if "appear" not in round_["done"]:
        return SHARED.fails(f"it was not finished: {round_['problem']}", **evidence)
    others = {peer: owner for peer, owner in _strange(outcome, options).items() if peer != host}
    if others:
        told = ", ".join(f"{peer}'s belong to {_user(owner)}" for peer, owner in sorted(others.items()))
        return SHARED.fails(
            f"the files of other hosts are not the application's here: {told}, and should belong to user {_expected_owner(outcome, options)}."
            " Give the application's user the same number on every host, or have the server map everybody to one account",
            **evidence,
        )
    if not round_["peers"]:
        return SHARED.passes("no other host took part, so none had to see it", **evidence)
    return SHARED.passes(f"read whole what {', '.join(round_['peers'])} stored", **evidence)


def _unseen(options: t.Mapping[str, t.Any]) -> str:
    return f"See that each runs the check at the same time, and that {_where(options)} is the same storage everywhere"


def _short(outcome: Outcome) -> str:
    if outcome.kind == "hangs":
        return "the storage hangs"
    return "it could not be looked at" if outcome.step == "look" else "the check ended early"


def judge_locks(outcome: Outcome, _options: t.Mapping[str, t.Any]) -> Verdict:
    """Whether each host's lock kept all others out."""
    round_ = outcome.seen.get("round")
    if round_ is None:
        return LOCKS.fails(f"no lock was tried, since {_short(outcome)}")
    if round_["locks"]:
        return LOCKS.fails(
            f"{'; '.join(round_['locks'])}. Mount it without nolock, local_lock or nobrl, and see that the server's locks work"
        )
    if round_["problem"] and round_["step"] == "lock":
        return LOCKS.fails(f"locking failed: {round_['problem']}")
    if "lock" not in round_["done"]:
        return LOCKS.fails("no lock was tried, since what comes before did not go well")
    others = ", ".join(round_["peers"])
    return LOCKS.passes(
        f"the lock was held against {others}, and refused while they held it"
        if others
        else "it took a lock; no other host took part"
    )


def judge_latency(outcome: Outcome, options: t.Mapping[str, t.Any]) -> Verdict:
    """Whether each step of one host was quick enough; how long others took to see it is told only, since they were waited for."""
    taken = dict((outcome.seen.get("round") or {}).get("milliseconds", {}))
    limit = options["latency_limit_ms"]
    evidence: Json = {"milliseconds": taken, "limit_ms": limit}
    own = {what: value for what, value in taken.items() if what != "peers"}
    if not own:
        return LATENCY.fails("nothing was measured, since nothing could be written", **evidence)
    slow = [f"{what} took {value:g} ms" for what, value in own.items() if value > limit]
    if slow:
        return LATENCY.fails(
            f"{', '.join(slow)} (limit {limit:g} ms). Look at the storage's disks and the network to it", **evidence
        )
    slowest = max(own, key=lambda what: own[what])
    return LATENCY.passes(f"the slowest step, {slowest}, took {own[slowest]:g} ms (limit {limit:g} ms)", **evidence)
