import re

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _uploads_manifest as manifest
from ansible_collections.escala.ha.plugins.module_utils._uploads import MIB, Listing, Plan, Row, State, Thing

A, B = "t1/a", "t1/b"


def of(**things):
    return State("old_server", "s3", {f"t1/{key}": thing for key, thing in things.items()}, {}, [], {"at": "a time"}, 0)


def plan(*copy, foreign=()):
    return Plan(list(copy), [], list(foreign), [], [])


@pytest.mark.parametrize(
    ("free", "passed", "said"),
    [
        (None, True, "does not say how much room it has"),
        (11 * MIB, True, "10.0 MiB are to come, and s3 has room for 11.0 MiB"),
        (10 * MIB, False, "room for 10.0 MiB and 10.0 MiB are to come; make room there first"),
    ],
)
def test_what_is_to_come_must_fit_with_a_little_to_spare(free, passed, said):
    verdict = manifest.room(plan(A), Listing({A: 10 * MIB}), free, "s3")
    assert (verdict["passed"], said in verdict["reason"]) == (passed, True)


@pytest.mark.parametrize(
    ("foreign", "allowed", "passed"), [((), False, True), (("x/y",), False, False), (("x/y",), True, True)]
)
def test_what_nobody_knows_is_refused_unless_it_is_allowed(foreign, allowed, passed):
    verdict = manifest.ours(plan(foreign=foreign), "s3", allowed)
    assert verdict["passed"] is passed
    assert not foreign or "x/y" in verdict["reason"]


@pytest.mark.parametrize(
    ("lacking", "tolerated", "passed", "said"),
    [
        (None, 0, True, "the database was not asked"),
        ([], 0, True, "has the files of all 9 uploads"),
        ([A], 0, False, "lacks the files of 1 of 9 uploads: t1/a; .* migrate_uploads_tolerated: 1 .now 0."),
        ([A], 1, True, "apart from 1 that are known to be lost"),
    ],
)
def test_uploads_that_are_lost_already_are_found_before(lacking, tolerated, passed, said):
    verdict = manifest.rows_have_files(lacking, 9, "old_server", tolerated)
    assert verdict["passed"] is passed
    assert re.search(said, verdict["reason"])


@pytest.mark.parametrize(
    ("thing", "passed", "said"),
    [
        (Thing(1, True, "x", "x"), True, "1 uploads have one SHA-256 in old_server and s3"),
        (Thing(1, True, "x", "y"), False, "1 of 1 uploads are not the same"),
        (Thing(1, True, "x"), False, "1 uploads were not read on both sides: t1/a; run again"),
    ],
)
def test_both_sides_must_have_been_read_and_be_the_same(thing, passed, said):
    verdict = manifest.same(of(a=thing))
    assert verdict["passed"] is passed
    assert said in verdict["reason"]


def test_what_was_deleted_before_it_could_be_read_is_in_nobody_s_way():
    state = of(a=Thing(1, True))
    assert manifest.same(state, Listing({}))["passed"]
    assert not manifest.same(state, Listing({A: 1}))["passed"]


@pytest.mark.parametrize(
    ("rows", "tolerated", "passed"),
    [
        (None, 0, True),
        ({A: Row(1, "x")}, 0, True),
        ({A: Row(1, "y")}, 0, False),
        ({A: Row(1, "y")}, 1, True),
        ({}, 0, True),
    ],
)
def test_what_was_damaged_before_is_not_moved_in_silence(rows, tolerated, passed):
    assert manifest.as_uploaded(of(a=Thing(1, True, "x", "x")), rows, tolerated)["passed"] is passed


@pytest.mark.parametrize(
    ("thing", "row", "there", "became"),
    [
        (Thing(1, True, "x", "x"), Row(1, "x"), True, "moved"),
        (Thing(1, True, "x", "x", late=True), Row(1, "x"), True, "moved late"),
        (Thing(1, True, "x", "x"), None, True, "moved"),
        (Thing(1, True, "x", "x"), Row(1, "y"), True, "moved, damaged before"),
        (Thing(1, True, "x", "y"), Row(1, "x"), True, "differs"),
        (Thing(1, True, "x"), Row(1, "x"), True, "not read"),
        (Thing(1, True, "x", "x"), Row(1, "x"), False, "lost"),
        (Thing(1, True, "x", "x"), None, False, "deleted after the switch"),
        (Thing(1, True, deleted=True), None, False, "deleted before the switch"),
    ],
)
def test_of_each_object_is_said_what_became_of_it(thing, row, there, became):
    found = manifest.account(of(a=thing), {A: row} if row else {}, Listing({A: 1} if there else {}))
    assert found["became"] == {became: 1}
    assert found["each"][0]["database_sha256"] == (row.sha256 if row else "")


def test_without_a_database_an_object_that_is_gone_is_lost():
    found = manifest.account(of(a=Thing(1, True, "x", "x")), None, Listing({}))
    assert (found["became"], found["database_asked"], found["without_row"]) == ({"lost": 1}, False, 0)


def test_the_page_has_the_sums_the_verdicts_and_whatever_is_notable():
    state = of(a=Thing(MIB, True, "x", "x"), b=Thing(MIB, True, "x", "x", late=True))
    found = manifest.account(state, {A: Row(MIB, "x")}, Listing({A: MIB, B: MIB}))
    text = manifest.page(found, [manifest.same(state)])
    assert "# Uploads moved from old_server to s3" in text
    assert "Switched at a time. 2 objects, 2.0 MiB." in text
    assert "| moved | 1 |" in text
    assert f"| {B} | {MIB} | moved late |" in text
    assert A not in text
    assert "1 of them have no row" in text
    assert "- yes: Every upload was read back" in text
