import json
import os

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _uploads_rclone as rclone
from ansible_collections.escala.ha.plugins.module_utils._uploads import Listing, UploadsError
from ansible_collections.escala.ha.plugins.module_utils._uploads_rclone import Answer

SUM = "a" * 64
SHARE = {
    "name": "share",
    "remote": "to:/srv",
    "staging": "to-staging:/srv/.escala-migration",
    "renamed": "to-final:/srv",
}
BUCKET = {"name": "s3", "remote": "to:bucket", "staging": "", "renamed": ""}


class Asked:
    """Answers to what rclone is asked, in turn, and what that was."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = []

    def __call__(self, arguments, sent, limit):
        self.calls.append((list(arguments), sent, limit))
        return self.answers.pop(0) if self.answers else Answer(0, "", "")


@pytest.fixture
def ask(tmp_path):
    def asked(*answers):
        asked = Asked(*answers)
        return asked, rclone.Rclone(asked, str(tmp_path / "keys"))

    return asked


def test_a_place_is_listed_without_what_others_keep_there(ask):
    asked, tool = ask(Answer(0, json.dumps([{"Path": "t/a", "Size": 1}]), ""))
    assert tool.listing("share", "to:/srv", 4) == Listing({"t/a": 1})
    (arguments, _sent, limit) = asked.calls[0]
    assert arguments[:2] == ["lsjson", "to:/srv"]
    assert {"/.escala-migration/**", "/lost+found/**", "/.probe/**"} <= set(arguments)
    assert limit == 4


def test_a_place_that_is_not_there_is_named(ask):
    _asked, tool = ask(Answer(3, "", "2026/01/01 ERROR : x\n2026/01/01 Failed to lsjson: directory not found\n"))
    with pytest.raises(UploadsError, match=r"share: /srv is not there \(.*directory not found\)"):
        tool.listing("share", "to:/srv")


def test_a_place_that_cannot_be_listed_says_why(ask):
    _asked, tool = ask(Answer(1, "", "Failed: AccessDenied"))
    with pytest.raises(UploadsError, match="s3 cannot be listed: Failed: AccessDenied"):
        tool.listing("s3", "to:bucket")


def test_files_are_written_beside_their_place_and_then_renamed(ask, tmp_path):
    asked, tool = ask()
    tool.copy(["t/a", "t/b c"], "from:/old", SHARE)
    (copied, _sent, _limit), (moved, _sent, _limit) = asked.calls
    assert copied[:3] == ["copy", "from:/old", SHARE["staging"]]
    assert moved[:3] == ["move", SHARE["staging"], SHARE["renamed"]]
    assert "--server-side-across-configs" in moved
    assert (tmp_path / "keys").read_text() == "t/a\nt/b c\n"


def test_objects_are_written_once(ask):
    asked, tool = ask()
    tool.copy(["t/a"], "from:/old", BUCKET, 3.5)
    assert [call[0][:3] for call in asked.calls] == [["copy", "from:/old", "to:bucket"]]
    assert asked.calls[0][2] == 3.5


@pytest.mark.parametrize(
    ("answers", "said"), [((Answer(1, "", "no space left"),), "s3: rclone could not copy .*no space left")]
)
def test_a_copy_that_fails_says_where_and_why(ask, answers, said):
    _asked, tool = ask(*answers)
    with pytest.raises(UploadsError, match=said):
        tool.copy(["t/a"], "from:/old", BUCKET)


def test_sums_are_read_byte_by_byte(ask):
    asked, tool = ask(Answer(0, f"{SUM}  t/a\nnot a sum  t/b\n{SUM}  t/c  d\n", ""))
    assert tool.sums("s3", "to:bucket", ["t/a", "t/b", "t/c  d"]) == {"t/a": SUM, "t/c  d": SUM}
    assert "--download" in asked.calls[0][0]


def test_what_is_deleted_while_it_is_read_has_no_sum_and_the_others_have(ask):
    _asked, tool = ask(Answer(1, f"{SUM}  t/a\n", "Failed to hashsum: file does not exist"))
    assert tool.sums("s3", "to:bucket", ["t/a", "t/b"]) == {"t/a": SUM}


def test_a_place_of_which_nothing_can_be_read_says_why(ask):
    _asked, tool = ask(Answer(1, "", "Failed to hashsum: connection refused"))
    with pytest.raises(UploadsError, match="rclone could not read .*connection refused"):
        tool.sums("s3", "to:bucket", ["t/a"])


def test_a_place_takes_a_file_gives_it_back_and_forgets_it(ask):
    asked, tool = ask()

    def answer(arguments, sent, _limit):
        asked.calls.append(arguments)
        return Answer(0, answer.kept, "") if arguments[0] == "cat" else keep(sent)

    def keep(sent):
        answer.kept = (sent or answer.kept.encode()).decode()
        return Answer(0, "", "")

    answer.kept = ""
    rclone.Rclone(answer, tool._list_file).try_writing("s3", "to:bucket")
    assert [call[0] for call in asked.calls] == ["rcat", "cat", "deletefile"]


def test_a_place_that_gives_back_something_else_is_refused(ask):
    _asked, tool = ask(Answer(0, "", ""), Answer(0, "other", ""))
    with pytest.raises(UploadsError, match="was read back as something else"):
        tool.try_writing("s3", "to:bucket")


def test_a_place_that_takes_nothing_is_refused(ask):
    _asked, tool = ask(Answer(1, "", "permission denied"))
    with pytest.raises(UploadsError, match="share: rclone could not write .*permission denied"):
        tool.try_writing("share", "to:/srv")


@pytest.mark.parametrize(("out", "free"), [('{"free": 5}', 5), ("{}", None), ("", None), ('{"free": null}', None)])
def test_the_room_of_a_place_is_what_it_says_if_it_does(ask, out, free):
    _asked, tool = ask(Answer(0, out, ""))
    assert tool.free_bytes("to:/srv") == free


def test_what_a_broken_off_run_left_on_its_way_is_removed_where_there_is_such_a_thing(ask):
    asked, tool = ask(Answer(3, "", "directory not found"))
    tool.forget_staged("")
    assert asked.calls == []
    tool.forget_staged("to-staging:/srv/.escala-migration")
    assert asked.calls[0][0] == ["purge", "to-staging:/srv/.escala-migration"]


def test_what_cannot_be_removed_is_said(ask):
    _asked, tool = ask(Answer(1, "", "permission denied"))
    with pytest.raises(UploadsError, match="could not purge"):
        tool.forget_staged("to-staging:/srv")


def test_without_rclone_the_host_is_told_so(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UploadsError, match="rclone is not installed here"):
        rclone.runner_as(rclone.Account(0, 0), "/x", "")


@pytest.fixture
def program(monkeypatch, tmp_path):
    """A stand-in for rclone that says how it was called."""
    file = tmp_path / "rclone"
    file.write_text('#!/bin/sh\necho "$@"\necho "$SSL_CERT_FILE" >&2\n[ "$1" != slow ] || exec sleep 30\n')
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.mark.usefixtures("program")
def test_rclone_is_told_where_its_configuration_is_and_trusts_one_authority_more():
    run = rclone.runner_as(rclone.Account(os.getuid(), os.getgid()), "/run/x/rclone.conf", "/run/x/ca.pem")
    answer = run(["lsjson", "to:bucket"], None, 10)
    assert answer.code == 0
    assert answer.out.startswith("lsjson to:bucket --config /run/x/rclone.conf --transfers")
    assert answer.error == "/run/x/ca.pem\n"


@pytest.mark.usefixtures("program")
def test_rclone_is_ended_when_its_time_is_over():
    run = rclone.runner_as(rclone.Account(os.getuid(), os.getgid()), "/x", "")
    assert run(["slow"], None, 0.3) == Answer(124, "", "it did not end within 0.3 s")
