import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.filter.scram_secret import FilterModule

scram_secret = FilterModule().filters()["scram_secret"]

# PostgreSQL 17 let this one in with the password `correct horse` (ALTER ROLE ... PASSWORD with the secret, then a login by TCP).
KNOWN = "SCRAM-SHA-256$4096:75azMmFIL2qR4YDZFf3/2g==$DWe0yWjpTGO/ktOo1Q/sWhKBYJAr6umL89fxV0oENSk=:b3vwW0ICIwIwoqWwNFwp/I8+56q747B8LRCEgLql+u4="


def test_it_is_the_one_that_postgresql_takes():
    assert scram_secret("correct horse", "app", "a seed") == KNOWN


def test_it_differs_by_user_password_and_seed():
    made = {
        scram_secret(password, user, seed)
        for password in ("correct horse", "other")
        for user in ("app", "escala_probe")
        for seed in ("a seed", "another")
    }
    assert len(made) == 8


@pytest.mark.parametrize("password", ["", "pässword", "with\ttab"])
def test_what_would_be_hashed_otherwise_by_the_server_is_refused(password):
    with pytest.raises(AnsibleFilterError, match="of app"):
        scram_secret(password, "app", "a seed")


def test_an_empty_seed_is_refused():
    with pytest.raises(AnsibleFilterError, match="seed of app"):
        scram_secret("correct horse", "app", "")
