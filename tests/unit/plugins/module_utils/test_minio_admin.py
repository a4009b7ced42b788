import datetime
import hashlib
import json
from urllib.parse import parse_qsl, urlsplit

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ansible_collections.escala.ha.plugins.module_utils import _minio_admin
from ansible_collections.escala.ha.plugins.module_utils._http import Endpoint, Response
from ansible_collections.escala.ha.plugins.module_utils._minio_admin import (
    AdminError,
    Keys,
    Server,
    User,
    bring_about,
    encrypted,
    normalized,
    signed,
    steps,
)

ROOT, APP = Keys("root", "root password"), Keys("app", "app secret")
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["a/*"]}]}
WANTED = User(True, True, "application", POLICY)
# What sio-go, the library by which MinIO opens it, opened with this password.
SEALED = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f020001020304050607d91ed455df5834b67020236937b5ab474c7aeb1ec087a3a70d651eec3805fa7dd9"


def server(name="192.0.2.1", port=9000, now=datetime.datetime(2013, 5, 24, tzinfo=datetime.UTC)):
    return Server(Endpoint(name, port, name, 1), None, "us-east-1", lambda: now)


def test_a_request_is_signed_as_in_the_example_of_aws():
    keys = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    at = server("examplebucket.s3.amazonaws.com", 443)
    assert signed(at, keys, "GET", "/", {"lifecycle": ""}, b"")["Authorization"].endswith(
        "Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    )


def test_a_port_of_one_s_own_is_part_of_what_is_signed():
    assert signed(server(), ROOT, "GET", "/", {}, b"")["Host"] == "192.0.2.1:9000"


def test_a_secret_key_is_sealed_as_minio_opens_it():
    assert encrypted("a password", b'{"secretKey":"x"}', lambda length: bytes(range(length))).hex() == SEALED


def test_two_seals_differ():
    assert encrypted("a password", b"x") != encrypted("a password", b"x")


def test_what_would_be_several_pieces_is_refused():
    with pytest.raises(ValueError, match="16385 bytes are more than the 16384"):
        encrypted("a password", b"x" * 16385)


class Minio:
    """Answers as MinIO does, as far as the module asks."""

    def __init__(self):
        self.keys = {ROOT.access_key: ROOT.secret_key}
        self.users = {}
        self.policies = {}
        self.changes = []
        self.broken = None

    def send(self, endpoint, method, address, tls, headers, body):
        if isinstance(self.broken, OSError):
            raise self.broken
        if self.broken:
            return Response(self.broken[0], {}, self.broken[1])
        parts = urlsplit(address)
        query = dict(parse_qsl(parts.query))
        access_key = headers["Authorization"].partition("Credential=")[2].partition("/")[0]
        if access_key not in self.keys:
            return Response(403, {}, b"<Error><Code>InvalidAccessKeyId</Code></Error>")
        keys = Keys(access_key, self.keys[access_key])
        if signed(server(), keys, method, parts.path, query, body or b"") != headers:
            return Response(403, {}, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
        if parts.path == "/":
            return Response(403, {}, b"<Error><Code>AccessDenied</Code></Error>")
        assert access_key == ROOT.access_key
        call = parts.path.rpartition("/")[2].replace("-", "_")
        if method != "GET":
            self.changes.append(call)
        return getattr(self, call)(query, body)

    def user_info(self, query, _):
        user = self.users.get(query["accessKey"])
        if user is None:
            return Response(404, {}, b'{"Code":"XMinioAdminNoSuchUser"}')
        return Response(200, {}, json.dumps(user).encode())

    def info_canned_policy(self, query, _):
        policy = self.policies.get(query["name"])
        if policy is None:
            return Response(404, {}, b'{"Code":"XMinioAdminNoSuchPolicy"}')
        return Response(200, {}, json.dumps(policy).encode())

    def add_canned_policy(self, query, body):
        self.policies[query["name"]] = json.loads(body)
        return Response(200, {}, b"")

    def add_user(self, query, body):
        self.keys[query["accessKey"]] = json.loads(opened(ROOT.secret_key, body))["secretKey"]
        self.users.setdefault(query["accessKey"], {})["status"] = "enabled"
        return Response(200, {}, b"")

    def set_user_or_group_policy(self, query, _):
        assert query["isGroup"] == "false"
        self.users[query["userOrGroup"]]["policyName"] = query["policyName"]
        return Response(200, {}, b"")

    def remove_user(self, query, _):
        del self.users[query["accessKey"]], self.keys[query["accessKey"]]
        return Response(200, {}, b"")


def opened(password, data):
    salt, nonce = data[:32], data[33:41]
    aead = AESGCM(hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 8192, 32))
    nothing = aead.encrypt(nonce + bytes(4), b"", b"")
    return aead.decrypt(nonce + b"\x01\x00\x00\x00", data[41:], b"\x80" + nothing)


@pytest.fixture
def minio(monkeypatch):
    there = Minio()
    monkeypatch.setattr(_minio_admin, "send", there.send)
    return there


def have(user=APP, wanted=WANTED, only_say=False):
    return bring_about(server(), ROOT, user, wanted, only_say)


def test_a_new_user_gets_keys_and_then_his_policy(minio):
    assert have().steps == ["policy", "keys", "attach"]
    assert minio.changes == ["add_canned_policy", "add_user", "set_user_or_group_policy"]
    assert minio.keys["app"] == "app secret"
    assert minio.users["app"] == {"status": "enabled", "policyName": "application"}


def test_a_second_time_nothing_is_done(minio):
    have()
    minio.changes.clear()
    assert have().steps == []
    assert minio.changes == []


def test_another_secret_key_counts_and_nothing_else_changes(minio):
    have()
    assert have(Keys("app", "another")).steps == ["keys"]
    assert minio.keys["app"] == "another"


def test_a_disabled_user_is_enabled_again(minio):
    have()
    minio.users["app"]["status"] = "disabled"
    assert have().steps == ["keys"]


@pytest.mark.parametrize("name", ["", "readwrite", "application,readwrite"])
def test_another_policy_than_his_own_is_taken_from_him(minio, name):
    have()
    minio.users["app"]["policyName"] = name
    assert have().steps == ["attach"]
    assert minio.users["app"]["policyName"] == "application"


def test_a_policy_that_says_something_else_is_put_right(minio):
    have()
    minio.policies["application"]["Statement"][0]["Action"].append("s3:*")
    assert have().steps == ["policy"]
    assert minio.policies["application"] == POLICY


def test_in_check_mode_all_is_said_and_nothing_is_done(minio):
    done = have(only_say=True)
    assert (done.steps, minio.changes) == (["policy", "keys", "attach"], [])


def test_in_check_mode_nobody_need_answer(minio):
    minio.broken = ConnectionRefusedError()
    assert have(only_say=True).steps == ["policy", "keys", "attach"]


def test_a_diff_never_has_a_secret_in_it(minio):
    done = have()
    assert done.before == {}
    assert done.after["secret_key"] == "as given"
    changed = have(Keys("app", "another"))
    assert (changed.before["secret_key"], changed.after["secret_key"]) == ("another", "as given")
    assert "app secret" not in repr([done, changed])


def test_a_former_user_is_removed_once(minio):
    have()
    assert have(Keys("app", ""), None).steps == ["remove"]
    assert minio.users == {}
    assert have(Keys("app", ""), None).steps == []


def test_a_former_user_stays_in_check_mode(minio):
    have()
    assert have(Keys("app", ""), None, only_say=True).steps == ["remove"]
    assert "app" in minio.users


def test_nobody_there_is_said_with_where_to_look(minio):
    minio.broken = ConnectionRefusedError()
    with pytest.raises(AdminError, match=r"https://192\.0\.2\.1:9000: connection refused; see `journalctl -u minio`"):
        have()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((403, b'{"Code":"SignatureDoesNotMatch"}'), "minio_root_user or minio_root_password is not what it runs with"),
        ((403, b'{"Code":"InvalidAccessKeyId"}'), "minio_root_user or minio_root_password is not what it runs with"),
        ((403, b'{"Code":"RequestTimeTooSkewed"}'), "more than 15 minutes apart"),
        ((503, b'{"Code":"XMinioServerNotInitialized"}'), "user-info was answered 503 .*XMinioServerNotInitialized"),
        ((500, b"oops"), "user-info was answered 500 oops"),
    ],
)
def test_a_refusal_says_what_mends_it(minio, answer, reason):
    minio.broken = answer
    with pytest.raises(AdminError, match=reason):
        have()


def test_a_policy_is_the_same_whatever_its_order_and_however_one_value_is_written():
    first = {
        "Statement": [
            {"Effect": "Allow", "Action": ["b", "a"], "Resource": "x"},
            {"Effect": "Deny", "Action": "c", "Resource": ["y"], "Condition": {}},
        ]
    }
    second = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Deny", "Action": ["c"], "Resource": ["y"]},
            {"Effect": "Allow", "Action": ["a", "b"], "Resource": ["x"]},
        ],
    }
    assert normalized(first) == normalized(second)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("Effect", "Deny"),
        ("Action", ["a"]),
        ("Resource", ["y"]),
        ("Condition", {"IpAddress": {"aws:SourceIp": "192.0.2.1"}}),
    ],
)
def test_a_policy_that_differs_in_anything_is_another(part, value):
    statement = {"Effect": "Allow", "Action": ["a", "b"], "Resource": ["x"]}
    assert normalized({"Statement": [statement]}) != normalized({"Statement": [{**statement, part: value}]})


def test_a_policy_without_its_user_is_kept_where_it_is_right():
    assert steps(User(False, False, "", POLICY), WANTED) == ["keys", "attach"]
