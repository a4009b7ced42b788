import base64
from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _object_storage_check
from ansible_collections.escala.ha.plugins.module_utils._http import Response
from ansible_collections.escala.ha.plugins.module_utils._object_storage import S3
from ansible_collections.escala.ha.plugins.module_utils._object_storage_check import (
    Limits,
    RefusedError,
    clock_offset,
    close_container,
    judge,
    storage_check,
)

NOW = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)
DATE = {"date": "Thu, 26 Nov 2026 12:00:00 GMT"}
EVERYTHING = Limits(300, False, True)
OPTIONS = {
    "endpoint": "https://s3.example.com",
    "region": "us-east-1",
    "bucket": "uploads",
    "access_key": "AKIAEXAMPLE",
    "access_key_secret": "very secret",
    "session_token": "",
    "key_of": "application",
    "expected_owner": "123456789012",
}
CONNECTION = f"AccountName=acme;AccountKey={base64.b64encode(b'a key').decode()}"


def refusal(code, status=403):
    return Response(status, DATE, f"<Code>{code}</Code><Message>m</Message>".encode())


class Service:
    """A bucket that does what it should, apart from the answers given for some methods, and remembers what it was asked."""

    def __init__(self, public=False, **answers):
        self.objects = {}
        self.asked = []
        self.public = public
        self.answers = answers

    def __call__(self, question):
        look = question.method == "GET" and "/.probe/" not in question.path
        what = "look" if look else question.method
        self.asked.append(what)
        if what == "look" and "any_owner" in self.answers and not question.headers:
            what = "any_owner"
        if what in self.answers:
            answer = self.answers[what]
            if isinstance(answer, OSError):
                raise answer
            return answer
        if question.method == "PUT":
            self.objects[question.path] = question.body
        if question.method == "DELETE":
            del self.objects[question.path]
        return Response(200, DATE, self.objects.get(question.path, b""))

    def unsigned(self, question):
        return Response(200 if self.public else 403, DATE, b"")

    def away(self, error):
        return f"away: {error}"


def judged(service, limits=EVERYTHING, storage=None, now=NOW):
    return judge(storage_check("app1"), storage or S3(OPTIONS), service, limits, lambda: now)


def test_what_works_passes_and_leaves_nothing_behind():
    service = Service()
    verdict = judged(service)
    assert verdict["passed"]
    assert verdict["name"] == "object_storage_from_app1"
    assert set(verdict["evidence"]["milliseconds"]) == {"written", "read", "deleted"}
    assert service.objects == {}


def test_where_nothing_is_to_be_written_nothing_is():
    service = Service()
    assert judged(service, Limits(300, False, False))["passed"]
    assert service.asked == ["look"]


def test_a_missing_bucket_fails_unless_it_may_be_missing():
    missing = Service(look=refusal("NoSuchBucket", 404))
    assert "has no bucket" in judged(missing)["reason"]
    verdict = judged(missing, Limits(300, True, True))
    assert (verdict["passed"], verdict["evidence"]["found"]) == (True, False)


def test_another_account_s_bucket_is_told_from_one_that_the_key_may_not_see():
    assert (
        "belongs to another account than 123456789012"
        in judged(Service(look=refusal("AccessDenied"), any_owner=Response(200, DATE, b"")))["reason"]
    )
    assert "may not look into" in judged(Service(look=refusal("AccessDenied")))["reason"]


def test_another_account_s_bucket_fails_also_where_it_may_be_missing():
    service = Service(look=refusal("AccessDenied"), any_owner=Response(200, DATE, b""))
    assert not judged(service, Limits(300, True, False))["passed"]


@pytest.mark.parametrize(
    ("seconds", "passed", "word"), [(300, True, ""), (301, False, "before"), (-300, True, ""), (-301, False, "behind")]
)
def test_a_clock_may_be_off_up_to_its_limit(seconds, passed, word):
    verdict = judged(Service(), now=NOW + timedelta(seconds=seconds))
    assert verdict["passed"] is passed
    assert (
        passed
        or f"the clock of this host is {abs(seconds)} s {word} that of https://s3.example.com" in verdict["reason"]
    )


@pytest.mark.parametrize("date", [{}, {"date": "yesterday"}])
def test_a_storage_that_says_no_time_is_not_held_to_one(date):
    assert clock_offset(Response(200, date, b""), NOW) == 0


@pytest.mark.parametrize(
    ("service", "words"),
    [
        (Service(PUT=refusal("AccessDenied")), "may not write"),
        (Service(DELETE=refusal("AccessDenied")), "may not delete"),
        (Service(public=True), "gives an object to whoever asks without a key"),
        (Service(look=OSError("x")), "away: x"),
        (Service(PUT=OSError("x")), "away: x"),
    ],
)
def test_the_first_thing_that_does_not_hold_is_the_reason(service, words):
    verdict = judged(service)
    assert not verdict["passed"]
    assert words in verdict["reason"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Response(200, DATE, b"other"), "returned 5 other bytes than the 32"),
        (refusal("AccessDenied"), "may not read"),
        (OSError("x"), "away: x"),
    ],
)
def test_what_was_written_is_removed_also_where_reading_fails(answer, words):
    class Forgetful(Service):
        def __call__(self, question):
            if question.method == "GET" and "/.probe/" in question.path:
                if isinstance(answer, OSError):
                    raise answer
                return answer
            return super().__call__(question)

    service = Forgetful()
    assert words in judged(service)["reason"]
    assert service.objects == {}


@pytest.fixture
def closing(monkeypatch):
    """Run close_container at a container that answers so."""

    def run(rules, done=MADE, check_mode=False, string=CONNECTION):
        asked = []

        class Ask:
            def __init__(self, *_arguments):
                pass

            def __call__(self, question):
                asked.append(question)
                answer = rules if question.method == "GET" else done
                if isinstance(answer, OSError):
                    raise answer
                return answer

            def away(self, error):
                return f"away: {error}"

        monkeypatch.setattr(_object_storage_check, "Asker", Ask)
        options = {"connection_string": string, "container": "uploads", "ca_file": "", "request_timeout_seconds": 1}
        return close_container(options, check_mode), [question.query for question in asked if question.method == "PUT"]

    return run


MADE = Response(201, {}, b"")
MISSING = Response(404, {"x-ms-error-code": "ContainerNotFound"}, b"")
OPEN = Response(200, {"x-ms-blob-public-access": "container"}, b"<SignedIdentifiers/>")


def test_a_missing_container_is_made_and_an_open_one_is_closed(closing):
    assert closing(MISSING) == (True, [{"restype": "container"}])
    assert closing(OPEN) == (True, [{"restype": "container", "comp": "acl"}])


def test_a_private_container_stays_as_it_is(closing):
    assert closing(Response(200, {}, b"")) == (False, [])


@pytest.mark.parametrize("answer", [MISSING, OPEN])
def test_check_mode_says_so_and_changes_nothing(closing, answer):
    assert closing(answer, check_mode=True) == (True, [])


@pytest.mark.parametrize(
    ("rules", "done", "words"),
    [
        (Response(403, {"x-ms-error-code": "AuthenticationFailed"}, b""), None, "does not accept the key"),
        (MISSING, Response(403, {"x-ms-error-code": "AuthorizationFailure"}, b""), "change the container uploads"),
        (OSError("x"), None, "away: x"),
        (MISSING, OSError("x"), "away: x"),
    ],
)
def test_what_keeps_a_container_from_being_made_is_said(closing, rules, done, words):
    with pytest.raises(RefusedError, match=words):
        closing(rules, done)


def test_a_signature_that_was_given_cannot_close_a_container_and_is_refused_before_it_tries(closing):
    with pytest.raises(ValueError, match="set object_storage_manage to false"):
        closing(
            OPEN, string="BlobEndpoint=https://acme.blob.core.windows.net;SharedAccessSignature=sv=1&sig=very-secret"
        )
