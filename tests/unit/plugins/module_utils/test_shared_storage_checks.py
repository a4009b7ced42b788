from __future__ import annotations

import itertools

import pytest

from ansible_collections.escala.ha.plugins.module_utils._shared_storage_checks import judge
from ansible_collections.escala.ha.plugins.module_utils._shared_storage_child import Outcome

DIRECTORY = {
    "backend": "directory",
    "path": "/srv/uploads",
    "bucket": None,
    "host": "app1",
    "user": "my-app",
    "owner_id": None,
    "filesystems": ["nfs4"],
    "mount_options": ["vers=4.2"],
    "minimum_free_percent": 10.0,
    "latency_limit_ms": 1000.0,
}
BUCKET = {**DIRECTORY, "backend": "s3", "bucket": "uploads"}
MOUNT = {"point": "/srv/uploads", "type": "nfs4", "source": "192.0.2.41:/uploads", "options": ["rw", "vers=4.2"]}
SEEN = {
    "mount": MOUNT,
    "mounted": True,
    "is_mount_point": True,
    "read_only": False,
    "capacity_mib": 1000,
    "free_mib": 500,
    "free_percent": 50.0,
    "inodes": 100,
    "inodes_free": 90,
    "inodes_free_percent": 90.0,
    "first_names": [],
}
ALL = ["write", "meet", "appear", "lock", "delete"]
OPEN = {"where": "https://192.0.2.41:9000", "healthy": True, "versioning": "Enabled"}


def round_(**changes):
    good = {
        "step": "delete",
        "done": ALL,
        "problem": None,
        "kind": None,
        "left": [],
        "peers": {"app2": None},
        "locks": [],
        "milliseconds": {"write": 5.0, "rename": 9.0, "peers": 3000.0},
    }
    return {**good, **changes}


def mounted(directory=None, owners=None, **changes):
    seen = {"directory": {**SEEN, **(directory or {})}, "round": round_(**changes)}
    seen.update(owners=owners or {"app1.token": 994, "app2.token": 994}, user=[994])
    return Outcome(seen, "delete")


def opened(bucket=None, **changes):
    done = [step for step in ALL if step != "lock"]
    seen = {
        "clock_ahead_seconds": 0,
        "bucket": {**OPEN, **(bucket or {})},
        "round": round_(**{"done": done, **changes}),
    }
    return Outcome({**seen, "owners": {}, "user": [0]}, "delete")


def judged(outcome, options=DIRECTORY, check_mode=False):
    return {verdict["name"].removeprefix("shared_storage_"): verdict for verdict in judge(outcome, options, check_mode)}


def failed(verdicts):
    return {name: verdict["reason"] for name, verdict in verdicts.items() if not verdict["passed"]}


def test_a_good_directory_passes_everything():
    verdicts = judged(mounted())
    assert failed(verdicts) == {}
    assert list(verdicts) == ["mounted", "space", "writes", "shared", "locks", "latency"]
    assert verdicts["shared"]["reason"] == "read whole what app2 stored"
    assert verdicts["mounted"]["reason"] == "/srv/uploads is 192.0.2.41:/uploads, nfs4"


def test_a_good_bucket_passes_everything():
    verdicts = judged(opened(), BUCKET)
    assert failed(verdicts) == {}
    assert list(verdicts) == ["answers", "writes", "shared", "latency"]


def test_a_host_alone_passes_and_says_that_it_is():
    verdicts = judged(mounted(peers={}, owners={"app1.token": 994}))
    assert failed(verdicts) == {}
    assert "no other host took part" in verdicts["shared"]["reason"]
    assert "no other host took part" in verdicts["locks"]["reason"]


@pytest.mark.parametrize(
    ("directory", "words"),
    [
        ({"mounted": False}, "nothing is mounted at /srv/uploads, it is on this host's own root disk"),
        ({"mount": {**MOUNT, "type": "autofs"}}, "the automount of /srv/uploads has mounted nothing"),
        (
            {"mount": {**MOUNT, "type": "ext4"}},
            "/srv/uploads is on ext4 from 192.0.2.41:/uploads, and should be on nfs4",
        ),
        ({"mount": {**MOUNT, "options": ["rw"]}}, "/srv/uploads is mounted without vers=4.2"),
        ({"read_only": True}, "/srv/uploads is mounted read-only"),
    ],
)
def test_what_is_not_mounted_as_it_should_be_is_told(directory, words):
    found = failed(judged(mounted(directory)))
    assert list(found) == ["mounted"]
    assert words in found["mounted"]


def test_any_file_system_will_do_where_none_is_asked_for_but_not_the_root_disk():
    anything = {**DIRECTORY, "filesystems": [], "mount_options": []}
    assert failed(judged(mounted({"mount": {**MOUNT, "type": "ext4"}}), anything)) == {}
    assert "mounted" in failed(judged(mounted({"mounted": False}), anything))


@pytest.mark.parametrize(
    ("directory", "words"),
    [
        ({"free_percent": 9.9, "free_mib": 99}, "only 9.9 % of the space (99 of 1000 MiB) free, limit is 10 %"),
        ({"inodes_free_percent": 1.0}, "only 1 % of the inodes free"),
        ({"free_percent": None}, "only 0 % of the space"),
    ],
)
def test_little_room_is_told_with_the_limit(directory, words):
    found = failed(judged(mounted(directory)))
    assert list(found) == ["space"]
    assert words in found["space"]


def test_a_file_system_without_inodes_is_not_judged_by_them():
    none = {"inodes": None, "inodes_free": None, "inodes_free_percent": None}
    assert failed(judged(mounted(none))) == {}


def test_what_is_refused_while_writing_is_told_with_the_step():
    found = failed(judged(mounted(step="write", done=[], problem="it is full", kind="full", milliseconds={})))
    assert found["writes"] == "the first file failed: it is full"
    assert set(found) == {"writes", "shared", "locks", "latency"}


@pytest.mark.parametrize(
    ("owner", "words"),
    [
        (65534, "what user 994 stores here comes out as nobody's"),
        (0, "what user 994 stores here comes out as user 0's"),
    ],
)
def test_files_that_come_out_as_another_s_fail_the_writing(owner, words):
    found = failed(judged(mounted(owners={"app1.token": owner, "app2.token": 994})))
    assert list(found) == ["writes"]
    assert words in found["writes"]


def test_other_hosts_files_that_are_another_s_here_fail_the_sharing():
    found = failed(judged(mounted(owners={"app1.token": 994, "app2.token": 991})))
    assert list(found) == ["shared"]
    assert "app2's belong to user 991, and should belong to user 994" in found["shared"]


@pytest.mark.parametrize(("owner", "good"), [(3000, True), (994, False), (65534, False)])
def test_a_server_that_does_everything_as_one_account_has_all_files_belong_to_it(owner, good):
    seen = mounted(owners={"app1.token": owner, "app2.token": 3000})
    found = failed(judged(seen, {**DIRECTORY, "owner_id": 3000}))
    assert (found == {}) is good
    assert good or "and should be 3000's" in found["writes"]


def test_what_was_left_behind_is_told():
    assert "app1.token could not be deleted" in failed(judged(mounted(left=["app1.token"])))["writes"]


def test_a_peer_that_was_not_seen_is_told_with_what_to_look_at():
    found = failed(
        judged(mounted(step="meet", done=["write"], peers={"app2": "nothing of it is seen here within 5 s"}))
    )
    assert found["shared"].startswith("app2: nothing of it is seen here within 5 s. See that each runs the check")


def test_a_lock_that_does_not_exclude_is_told():
    found = failed(judged(mounted(locks=["app1 got the lock while app2 held it"])))
    assert list(found) == ["locks"]
    assert "without nolock, local_lock or nobrl" in found["locks"]


def test_a_storage_that_takes_no_locks_fails_the_locks_only():
    found = failed(
        judged(mounted(step="lock", done=["write", "meet", "appear"], problem="takes no locks", kind="lockless"))
    )
    assert found == {"locks": "locking failed: takes no locks"}


def test_a_slow_step_is_told_with_the_limit_and_the_waiting_for_others_is_none():
    found = failed(judged(mounted(milliseconds={"write": 5.0, "rename": 1000.5, "peers": 9000.0})))
    assert list(found) == ["latency"]
    assert found["latency"].startswith("rename took 1000.5 ms (limit 1000 ms)")


def test_a_storage_that_hangs_from_the_beginning_is_said_to_hang():
    found = failed(judged(Outcome({}, "look", "hangs", "no answer within 15 s")))
    assert found["mounted"].startswith("/srv/uploads hangs: looking at it had no end, no answer within 15 s")
    assert len(found) == 6


def test_a_storage_that_hangs_while_it_is_written_is_said_to_hang_there():
    found = failed(judged(Outcome({"directory": SEEN}, "appear", "hangs", "no answer within 15 s")))
    assert found["writes"].startswith("/srv/uploads hangs: a file that appears at once had no end")
    assert set(found) == {"writes", "shared", "locks", "latency"}


def test_a_bucket_that_does_not_open_is_told_once_with_the_reason():
    found = failed(judged(Outcome({"clock_ahead_seconds": 1300}, "look", "clock", "the clocks differ"), BUCKET))
    assert found["answers"] == "the clocks differ"
    assert found["writes"] == "nothing was written, since it could not be looked at"


def test_a_bucket_whose_server_lacks_disks_is_told():
    assert "too few of its disks take writes" in failed(judged(opened({"healthy": False}), BUCKET))["answers"]
    assert failed(judged(opened({"healthy": None}), BUCKET)) == {}


@pytest.mark.parametrize(("seen", "options"), [({"directory": SEEN}, DIRECTORY), ({"bucket": OPEN}, BUCKET)])
def test_in_check_mode_it_is_said_that_nothing_was_written(seen, options):
    for writable in (True, False):
        verdicts = judged(Outcome({**seen, "writable": writable}, "look"), options, check_mode=True)
        assert verdicts["writes"]["passed"] is writable
        assert verdicts["writes"]["reason"].startswith("check mode, so nothing was written")
        assert not {"shared", "locks", "latency"} & set(verdicts)
    assert "writes" in failed(judged(Outcome({}, "look", "stale", "it is stale"), options, check_mode=True))


# A round does not end early for no reason at all.
ENDS = [
    end
    for end in itertools.product(range(len(ALL) + 1), (None, "broken"), (None, "not seen"), ([], ["wrong"]))
    if end[0] == len(ALL) or any(end[1:])
]


@pytest.mark.parametrize(("length", "problem", "unseen", "locks"), ENDS)
def test_wherever_a_round_ends_some_verdict_fails_and_only_a_whole_one_passes(length, problem, unseen, locks):
    step = ALL[min(length, len(ALL) - 1)]
    seen = mounted(done=ALL[:length], step=step, problem=problem, kind="error", peers={"app2": unseen}, locks=locks)
    whole = length == len(ALL) and not problem and not unseen and not locks
    assert (failed(judged(seen)) == {}) is whole
