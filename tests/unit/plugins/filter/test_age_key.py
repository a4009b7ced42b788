from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.filter.age_key import FilterModule, age_key
from ansible_collections.escala.ha.plugins.module_utils._age_key import bech32, key_pair

SECRET = "x" * 43


# BIP 173's own.
@pytest.mark.parametrize(("prefix", "text"), [("a", "a12uel5l"), ("?", "?1ezyfcl")])
def test_bech32(prefix, text):
    assert bech32(prefix, b"") == text


def test_the_recipient_is_the_one_that_age_derives():
    # By `age-keygen -y` 1.1.1, of the identity.
    assert age_key(SECRET)["recipient"] == "age1lrtnqjdedjts7fh39yn632waunhxznjuyc0xcp0cw8x2yyjscyqqnvrasu"
    assert age_key(SECRET)["identity"].startswith("AGE-SECRET-KEY-1FGK7")


def test_the_same_secret_gives_the_same_keys():
    keys = age_key(SECRET)
    assert keys == age_key(SECRET) != age_key(SECRET + "y")
    assert set(keys) == {"identity", "recipient"}
    assert FilterModule().filters()["age_key"](SECRET) == keys


@pytest.mark.parametrize("secret", ["", "short", None, 5, ["x" * 43]])
def test_a_secret_that_is_none_is_refused_and_not_shown(secret):
    with pytest.raises(AnsibleFilterError, match="at least 32 characters") as refused:
        age_key(secret)
    assert "short" not in str(refused.value)


def test_a_key_of_another_length_is_refused():
    with pytest.raises(ValueError, match="32 bytes, not 31 and 32"):
        key_pair(b"x" * 31, b"x" * 32)
