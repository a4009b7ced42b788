from __future__ import annotations

import itertools
import os

import pytest
import yaml

from ansible_collections.escala.ha.plugins.module_utils import _secrets_file as secrets_file
from ansible_collections.escala.ha.plugins.module_utils._secrets_file import (
    SecretsFileError,
    absent,
    keys_in,
    with_added,
)

ENCRYPTED = "$ANSIBLE_VAULT;1.1;AES256\n3132\n"


def numbered():
    numbers = itertools.count(1)
    return lambda: f"value{next(numbers)}"


def test_a_new_file_gets_a_header_and_every_name():
    text = with_added("", ["secret_a", "secret_b"], numbered())
    assert text == secrets_file.HEADER + 'secret_a: "value1"\nsecret_b: "value2"\n'


@pytest.mark.parametrize("ending", ["", "\n", "\n\n# a last word\n"])
def test_what_is_there_stays_as_it_is(ending):
    before = "# ours\nsecret_a: 'keep me'   # from the old server" + ending
    after = with_added(before, ["secret_b"], numbered())
    assert after.startswith(before)
    assert yaml.safe_load(after) == {"secret_a": "keep me", "secret_b": "value1"}


def test_nothing_to_add_leaves_the_text_alone():
    assert with_added("", [], numbered()) == ""


def test_only_what_has_no_value_is_absent():
    assert absent("secret_a: x\n", ["secret_a", "secret_b", "secret_c", "secret_b"], {"secret_c"}) == ["secret_b"]


def test_a_single_encrypted_value_counts_as_one():
    assert absent("secret_a: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3132\n", ["secret_a"], []) == []


@pytest.mark.parametrize("line", ["secret_a:", "secret_a: ''", 'secret_a: "  "'])
def test_an_empty_value_is_refused_by_name(line):
    with pytest.raises(SecretsFileError, match="secret_a has no value there"):
        absent(line + "\n", ["secret_a"], {"secret_a"})


def test_an_encrypted_file_with_everything_is_left_alone():
    assert absent(ENCRYPTED, ["secret_a"], {"secret_a"}) == []


def test_an_encrypted_file_that_lacks_something_says_what():
    with pytest.raises(SecretsFileError, match="lacks secret_b, secret_c; run `ansible-vault edit`"):
        absent(ENCRYPTED, ["secret_a", "secret_b", "secret_c"], {"secret_a"})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("- a\n- b\n", "holds no variables"),
        ("secret_a: 'hunter2\n", "not YAML"),
        ("a: b: c\n", r"not YAML \(line 1\)"),
    ],
)
def test_a_file_that_holds_no_variables_is_refused(text, complaint):
    with pytest.raises(SecretsFileError, match=complaint) as refused:
        keys_in(text)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("text", ["{secret_a: x}\n", "secret_a: x\n...\n"])
def test_a_file_that_would_swallow_new_lines_is_refused(text):
    with pytest.raises(SecretsFileError):
        with_added(text, ["secret_b"], numbered())


def test_values_are_strong_and_differ():
    values = {secrets_file.strong_value(32) for _ in range(100)}
    assert len(values) == 100
    assert min(map(len, values)) >= 43


def test_a_file_that_is_not_there_reads_as_empty(tmp_path):
    assert secrets_file.read(str(tmp_path / "secrets.yml")) == ("", None)


def test_a_file_that_is_not_text_is_refused(tmp_path):
    file = tmp_path / "secrets.yml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SecretsFileError, match="not text"):
        secrets_file.read(str(file))


def test_the_file_belongs_to_its_owner_alone_and_leaves_no_draft(tmp_path):
    file = tmp_path / "all" / "secrets.yml"
    file.parent.mkdir()
    file.write_text("old")
    file.chmod(0o644)
    secrets_file.write(str(file), "new")
    assert secrets_file.read(str(file)) == ("new", 0o600)
    assert [entry.name for entry in file.parent.iterdir()] == ["secrets.yml"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real.yml").write_text("old")
    link = tmp_path / "secrets.yml"
    link.symlink_to("real.yml")
    secrets_file.write(str(link), "new")
    assert link.is_symlink()
    assert (tmp_path / "real.yml").read_text() == "new"


def test_a_write_that_fails_keeps_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "secrets.yml"
    file.write_text("old")

    def full_disk(_descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space left"):
        secrets_file.write(str(file), "new")
    assert file.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["secrets.yml"]
