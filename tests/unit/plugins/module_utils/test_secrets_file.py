from __future__ import annotations

import itertools
import os
import time

import pytest
import yaml

from ansible_collections.escala.ha.plugins.module_utils import _secrets_file as secrets_file
from ansible_collections.escala.ha.plugins.module_utils._secrets_file import (
    SecretsFileError,
    absent,
    changed_text,
    keys_in,
    with_added,
    with_renewed,
    without,
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


@pytest.mark.parametrize("old", ["old", "'old'", '"old"', "  old", "'it''s old'"])
def test_a_value_is_renewed_and_all_else_stays(old):
    before = f"---\n# ours\nsecret_a: keep\nsecret_b: {old}  # of 2019\n\nsecret_c: [1, 2]\n"
    after = with_renewed(before, ["secret_b"], numbered())
    assert after == before.replace(f"secret_b: {old}", 'secret_b: "value1"')


def test_several_are_renewed_each_by_a_value_of_its_own():
    after = yaml.safe_load(with_renewed("secret_a: x\nsecret_b: y\nsecret_c: z", ["secret_c", "secret_a"], numbered()))
    assert after["secret_b"] == "y"
    assert {after["secret_a"], after["secret_c"]} == {"value1", "value2"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (ENCRYPTED, "it is encrypted, and secret_a cannot be renewed in it: run `ansible-vault decrypt`"),
        ("secret_b: x\n", "it does not set secret_a"),
        ("", "it does not set secret_a"),
        ("secret_a: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3132\n", "secret_a is encrypted or no plain value there"),
        ("secret_a: [x]\n", "secret_a is encrypted or no plain value there"),
        ("secret_a: &same x\nsecret_b: *same\n", "it is not YAML"),
    ],
)
def test_a_value_that_cannot_be_renewed_is_refused(text, complaint):
    with pytest.raises(SecretsFileError, match=complaint):
        with_renewed(text, ["secret_a"], numbered())


def test_lines_are_taken_out_and_all_else_stays():
    text = "# ours\nsecret_a: x\nsecret_b: 'y'  # for a while\n# theirs\nsecret_c: z"
    assert without(text, ["secret_b", "secret_d"]) == "# ours\nsecret_a: x\n# theirs\nsecret_c: z"
    assert without(text, ["secret_c"]) == "# ours\nsecret_a: x\nsecret_b: 'y'  # for a while\n# theirs\n"
    assert without(text, ["secret_d"]) == text


def test_a_line_that_holds_more_than_one_variable_is_not_taken_out():
    with pytest.raises(SecretsFileError):
        without("{secret_a: x, secret_b: y}\n", ["secret_a"])


def test_nothing_is_taken_out_of_an_encrypted_file():
    with pytest.raises(SecretsFileError, match="secret_a cannot be removed in it"):
        without(ENCRYPTED, ["secret_a"])


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("present", {"added": ["secret_b"], "renewed": [], "removed": []}),
        ("absent", {"added": [], "renewed": [], "removed": ["secret_a"]}),
    ],
)
def test_what_was_done_is_said_by_name(state, said):
    text, done = changed_text("secret_a: hunter2\n", state, ["secret_a", "secret_b"], [], 32)
    assert done == said
    assert ("secret_a" in text, "secret_b" in text) == ((True, True) if state == "present" else (False, False))


def test_what_was_renewed_is_said_by_name():
    text, done = changed_text("secret_a: hunter2\n", "renewed", ["secret_a"], [], 32)
    assert done == {"added": [], "renewed": ["secret_a"], "removed": []}
    assert "hunter2" not in text


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


def test_a_draft_of_a_killed_run_goes_and_one_that_is_being_written_stays(tmp_path):
    for name, age in ((".secrets-old", 3600), (".secrets-new", 1), ("other", 3600)):
        (tmp_path / name).write_text("secret_a: x")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    secrets_file.write(str(tmp_path / "secrets.yml"), "new")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".secrets-new", "other", "secrets.yml"]


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
