from __future__ import annotations

import pytest

from ansible_collections.escala.ha.plugins.module_utils._shared_storage_round import WHOLE_BYTES, Plan
from tests.unit.plugins.module_utils.shared_storage import Client, Server, meet, refusing

ALL = ["write", "meet", "appear", "lock", "delete"]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_hosts_of_one_storage_go_through_all_of_it_and_leave_nothing(count):
    server = Server()
    seen = meet([Client(server, f"app{number}") for number in range(count)], 20)
    assert {host: (one["done"], one["problem"], one["locks"], one["left"]) for host, one in seen.items()} == {
        f"app{number}": (ALL, None, [], []) for number in range(count)
    }
    assert not any(problem for one in seen.values() for problem in one["peers"].values())
    assert server.content == {}
    assert sorted(server.ended) == sorted(seen)


def test_objects_have_no_locks_and_are_deleted_by_their_writers():
    server = Server()
    seen = meet([Client(server, host, is_directory=False) for host in ("app1", "app2")], 20)
    assert [one["done"] for one in seen.values()] == [["write", "meet", "appear", "delete"]] * 2
    assert server.content == {}
    assert set(seen["app1"]["milliseconds"]) == {"write", "read", "list", "put", "peers", "delete"}


def test_each_step_of_a_directory_is_measured():
    seen = meet([Client(Server(), "app1")], 20)["app1"]
    assert set(seen["milliseconds"]) == {"write", "read", "list", "rename", "lock", "delete"}


def test_hosts_with_a_storage_of_their_own_see_nobody():
    servers = [Server(), Server()]
    seen = meet([Client(server, f"app{number}") for number, server in enumerate(servers)])
    assert {host: (one["done"], one["peers"]) for host, one in seen.items()} == {
        "app0": (["write"], {"app1": "nothing of it is seen here within 0.3 s"}),
        "app1": (["write"], {"app0": "nothing of it is seen here within 0.3 s"}),
    }
    assert [server.content for server in servers] == [{}, {}]


@pytest.mark.parametrize(
    ("act", "step"), [("begin", "write"), ("put", "write"), ("appear", "appear"), ("lock", "lock"), ("names", "write")]
)
def test_what_is_refused_ends_it_at_that_step_with_the_reason(act, step):
    seen = meet([refusing(act)(Server(), "app1")])["app1"]
    assert (seen["step"], seen["kind"], seen["problem"]) == (step, "full", "it is full")
    assert step not in seen["done"]


def test_a_file_that_cannot_be_deleted_is_said_to_be_left():
    seen = meet([refusing("remove")(Server(), "app1")])["app1"]
    assert (seen["step"], seen["problem"]) == ("delete", "it is full")
    assert "app1.token" in seen["left"]


class Half(Client):
    """Shows at first sight a part of what another host stored."""

    def get(self, name):
        content = super().get(name)
        return content[:1000] if name.endswith(".whole") and not name.startswith(self.host) else content


def test_a_file_that_is_not_whole_at_first_sight_is_found():
    server = Server()
    seen = meet([Half(server, "app1"), Client(server, "app2")])
    assert seen["app1"]["peers"]["app2"] == f"of the {WHOLE_BYTES} bytes that it stored 1000 are read here, not all"
    assert "appear" not in seen["app1"]["done"]


class Foreign(Client):
    """Reads other hosts' files as something else."""

    def get(self, name):
        content = super().get(name)
        return content if name.startswith(self.host) else content[::-1]


def test_a_token_with_other_content_is_found():
    server = Server()
    seen = meet([Foreign(server, "app1"), Client(server, "app2")])
    assert seen["app1"]["peers"]["app2"].endswith("are read here, altered")


class Altering(Client):
    def get(self, name):
        return super().get(name) + b"!"


def test_what_is_read_back_as_something_else_is_found():
    assert meet([Altering(Server(), "app1")])["app1"]["kind"] == "altered"


class Forgetful(Client):
    def names(self):
        return set()


def test_what_is_not_in_the_list_is_found():
    assert meet([Forgetful(Server(), "app1")])["app1"]["kind"] == "unlisted"


class Lockless(Client):
    """Gives everybody the lock, as a mount with local locks does."""

    def take_lock(self):
        return True


def test_a_lock_that_does_not_exclude_is_found_by_who_got_it_too():
    server = Server()
    seen = meet([Lockless(server, "app1"), Lockless(server, "app2")], 20)
    assert seen["app1"]["locks"] == ["app1 got the lock while app2 held it"]
    assert seen["app2"]["locks"] == ["app2 got the lock while app1 held it"]
    assert server.content == {}


class Taken(Client):
    def take_lock(self):
        return False


def test_a_lock_that_nobody_gets_is_found():
    server = Server()
    seen = meet([Taken(server, "app1"), Taken(server, "app2")])
    assert seen["app1"]["locks"] == ["app1 did not get the lock, which nobody should hold"]
    # Whether the other sees that, or that its peer has gone, is a matter of who is quicker.
    assert "lock" not in seen["app2"]["done"]
    assert seen["app2"]["locks"] == ["app1 did not come to hold the lock"] or seen["app2"]["peers"]["app1"]


class Staying(Client):
    """Goes on showing what was deleted, as a client whose cache is wrong."""

    def names(self):
        return super().names() | {"app1.whole"}


def test_a_deleted_file_that_is_still_seen_is_found():
    seen = meet([Staying(Server(), "app1")])["app1"]
    assert (seen["kind"], seen["problem"]) == ("stays", "what was to be deleted of app1 is still seen here")


def test_a_peer_that_ends_in_the_middle_is_said_to_have_begun():
    server = Server()
    server.content["app2.token"] = Plan("app2", [], "run-1", 1).token("app2")
    seen = meet([Client(server, "app1")], peers=["app1", "app2"])["app1"]
    assert seen["peers"]["app2"] == "it began, and did not go on within 0.3 s; see what it says itself"
    assert set(server.content) == {"app2.token"}


def test_what_hosts_store_is_different_for_each_host_and_each_run():
    plans = [Plan("app1", [], run, 1) for run in ("one", "two")]
    contents = {plan.whole(host) for plan in plans for host in ("app1", "app2")}
    assert len(contents) == 4
    assert {len(content) for content in contents} == {WHOLE_BYTES}
