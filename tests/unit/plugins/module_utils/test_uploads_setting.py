import json

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _uploads_setting as setting
from ansible_collections.escala.ha.plugins.module_utils._http import Response
from ansible_collections.escala.ha.plugins.module_utils._uploads import UploadsError
from ansible_collections.escala.ha.plugins.module_utils._uploads_setting import Said, Wanted

BUCKET = Wanted({"driver": "s3"}, "https://192.0.2.41:9000/uploads")
AT_SHARE = {"driver": "local", "path": "/srv/uploads", "choices": ["local", "s3"], "writeTest": {"ok": True}}
AT_BUCKET = {**AT_SHARE, "driver": "s3", "path": BUCKET.location}


def answer(body, status=200):
    return Response(status, {}, json.dumps(body).encode())


class Clock:
    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Servers:
    """Servers of the application, of which all but the first follow so many seconds after a PUT."""

    def __init__(self, clock, follow_after=0.5, put_status=200):
        self.clock, self.follow_after, self.put_status = clock, follow_after, put_status
        self.put_at = None
        self.logins = 0
        self.puts = []

    def ask(self, url, method, _headers, body):
        if url.endswith("/login"):
            self.logins += 1
            return answer({"accessToken": "a token"})
        if method == "PUT":
            self.puts.append((url, json.loads(body)))
            if self.put_status != 200:
                return answer({"error": {"message": "A test file could not be written"}}, self.put_status)
            self.put_at = self.clock.now
            return answer(AT_BUCKET)
        followed = self.put_at is not None and ("one" in url or self.clock.now >= self.put_at + self.follow_after)
        return answer(AT_BUCKET if followed else AT_SHARE)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def asker(monkeypatch):
    def of(servers):
        class Place:
            def __init__(self, url):
                self.url = url

            def ask(self, method="GET", headers=None, body=None):
                return servers.ask(self.url, method, headers, body)

        monkeypatch.setattr(setting, "place", lambda url, *_rest: Place(url))
        named = {"one": "http://one:3001/", "two": "http://two:3001"}
        return setting.Asker(named, {"email": "x"}, "/api/auth/login", "accessToken", 1)

    return of


def test_all_are_had_to_use_the_place_by_one_put_and_waited_for(clock, asker):
    servers = Servers(clock)
    changed, said = setting.settled(asker(servers), BUCKET, True, False, clock, 6)
    assert changed
    assert setting.elsewhere(said, BUCKET) == []
    assert servers.puts == [("http://one:3001/api/settings/storage", {"driver": "s3"})]
    assert servers.logins == 1
    assert 0.5 <= clock.now < 0.8


def test_who_uses_the_place_already_is_left_alone(clock, asker):
    servers = Servers(clock)
    servers.put_at = -9.0
    assert setting.settled(asker(servers), BUCKET, True, False, clock, 6)[0] is False
    assert servers.puts == []


@pytest.mark.parametrize(("use", "only_looks", "changed"), [(False, False, False), (True, True, True)])
def test_a_look_changes_nothing(clock, asker, use, only_looks, changed):
    servers = Servers(clock)
    found, said = setting.settled(asker(servers), BUCKET, use, only_looks, clock, 6)
    assert (found, servers.puts) == (changed, [])
    assert setting.elsewhere(said, BUCKET) == ["one uses local /srv/uploads", "two uses local /srv/uploads"]


def test_who_does_not_follow_is_named(clock, asker):
    with pytest.raises(UploadsError, match="not all follow within 6 s to https.*: two uses local /srv/uploads"):
        setting.settled(asker(Servers(clock, follow_after=60)), BUCKET, True, False, clock, 6)


def test_a_place_that_is_not_taken_says_why(clock, asker):
    with pytest.raises(
        UploadsError, match="one does not take the storage https.*: 422, A test file could not be written"
    ):
        setting.settled(asker(Servers(clock, put_status=422)), BUCKET, True, False, clock, 6)


def test_a_login_without_a_token_says_what_to_set(clock, asker):
    servers = Servers(clock)
    servers.ask = lambda *_rest: answer({"error": {"message": "no"}}, 401)
    with pytest.raises(
        UploadsError, match="the login at one answered 401 without accessToken; set migrate_uploads_login_body"
    ):
        asker(servers).said()


def test_a_server_that_does_not_answer_is_named(clock, asker):
    servers = Servers(clock)

    def refuse(*_rest):
        raise ConnectionRefusedError

    servers.ask = refuse
    with pytest.raises(UploadsError, match="one does not answer at http://one:3001/: connection refused"):
        asker(servers).said()


def test_a_server_that_stops_to_answer_after_the_login_is_named(clock, asker):
    servers = Servers(clock)
    asked = servers.ask

    def refuse(url, *rest):
        if url.endswith("/login"):
            return asked(url, *rest)
        raise ConnectionRefusedError

    servers.ask = refuse
    with pytest.raises(UploadsError, match="one does not answer"):
        asker(servers).said()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            answer({"error": {"message": "You may not"}}, 403),
            "one does not say where its uploads are: 403, You may not",
        ),
        (Response(502, {}, b"<html>"), "one does not say where its uploads are: status 502"),
        (answer({"driver": "s3"}), "answers /api/settings/storage with something else"),
        (Response(200, {}, b"<html>"), "answers /api/settings/storage with something else"),
    ],
)
def test_an_answer_that_is_none_is_said(given, said):
    with pytest.raises(UploadsError, match=said):
        setting.said_in("one", given)


def test_who_could_not_use_the_place_is_named_with_the_reason():
    said = {
        "one": Said("local", "/srv/uploads", ("local",), ""),
        "two": Said("s3", BUCKET.location, ("local", "s3"), "no answer in time"),
        "three": Said("local", "/srv/uploads", ("local", "s3"), "its own trouble"),
    }
    assert setting.unable(said, BUCKET) == [
        "one has no configuration for s3; give all instances its STORAGE_ variables first",
        f"two uses s3 {BUCKET.location}, and it does not work: no answer in time",
    ]


def test_a_write_test_that_failed_is_kept():
    given = answer({**AT_SHARE, "writeTest": {"ok": False, "reason": "read-only file system"}})
    assert setting.said_in("one", given).fault == "read-only file system"
