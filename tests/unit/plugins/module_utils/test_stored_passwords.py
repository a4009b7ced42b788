import hashlib

import pytest

from ansible_collections.escala.ha.plugins.filter.scram_secret import scram_secret
from ansible_collections.escala.ha.plugins.module_utils._stored_passwords import other_passwords, password_matches

STORED = scram_secret("correct horse", "app", "another seed")


@pytest.mark.parametrize(
    "stored", [STORED, "md5" + hashlib.md5(b"correct horseapp", usedforsecurity=False).hexdigest()]
)
def test_a_password_is_known_by_what_the_server_keeps_of_it(stored):
    assert password_matches(stored, "correct horse", "app")
    assert not password_matches(stored, "correct horsf", "app")
    assert not password_matches(stored, "", "app")


def test_md5_is_of_the_user_as_well():
    assert not password_matches(
        "md5" + hashlib.md5(b"correct horseapp", usedforsecurity=False).hexdigest(), "correct horse", "other"
    )


@pytest.mark.parametrize("stored", [None, "", "correct horse", "SCRAM-SHA-256$4096:x", "SCRAM-SHA-256$1:%$%:%", "md5"])
def test_what_is_none_of_both_is_of_no_password(stored):
    assert not password_matches(stored, "correct horse", "app")


def test_accounts_that_are_not_there_or_have_another_password_are_named():
    accounts = [{"name": name, "password": "correct horse"} for name in ("app", "other", "absent")]
    stored = [{"name": "app", "stored": STORED}, {"name": "other", "stored": STORED.replace("=", "A")}]
    assert other_passwords(accounts, stored) == ["other", "absent"]
    assert other_passwords(accounts[:1], stored) == []
