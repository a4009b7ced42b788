import json

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _uploads as decide
from ansible_collections.escala.ha.plugins.module_utils._uploads import (
    MIB,
    Limits,
    Listing,
    Row,
    State,
    Thing,
    UploadsError,
)

A, B, C, D = "t1/a", "t1/b", "t2/c", "t2/d"


def of(things, before=()):
    return State("old_server", "s3", things, dict(before), [], {}, 0)


def listing(*keys, size=1):
    return Listing(dict.fromkeys(keys, size))


def rows(*keys, size=1):
    return {key: Row(size, f"sum of {key}") for key in keys}


def test_a_list_has_the_objects_and_tells_what_is_not_finished_from_what_is_not_ours():
    text = json.dumps(
        [
            {"Path": A, "Size": 3},
            {"Path": "t1", "Size": -1, "IsDir": True},
            {"Path": "t1/.x.part", "Size": 1},
            {"Path": ".probe/y", "Size": 1},
            {"Path": ".probe-z", "Size": 1},
            {"Path": "t1/two\nlines", "Size": 1},
        ]
    )
    assert decide.listing_of(text) == Listing({A: 3}, frozenset({"t1/.x.part"}), ("t1/two\nlines",))


def test_an_empty_answer_is_an_empty_place():
    assert decide.listing_of("") == Listing({}, frozenset(), ())


@pytest.mark.parametrize("text", ["{", '{"Path": 1}', '[{"Path": "a"}]', "[1]"])
def test_what_is_no_list_is_refused(text):
    with pytest.raises(UploadsError, match="cannot be read"):
        decide.listing_of(text)


def test_all_is_to_be_copied_at_first():
    seen = decide.reconciled(of({}), listing(A, B), listing(), switched=False)
    plan = decide.planned(seen, listing(A, B), None, switched=False, target=listing())
    assert plan == decide.Plan([A, B], [], [], [], [])


def test_what_an_interrupted_run_had_copied_and_not_noted_is_not_copied_again():
    seen = decide.reconciled(of({}), listing(A, B), listing(A), switched=False)
    assert decide.planned(seen, listing(A, B), None, switched=False).copy == [B]


def test_half_a_file_is_copied_and_read_back_anew():
    kept = of({A: Thing(5, True, "x", "x")})
    seen = decide.reconciled(kept, Listing({A: 5}), Listing({A: 2}), switched=False)
    assert seen.things[A] == Thing(5)
    assert decide.planned(seen, Listing({A: 5}), None, switched=False).copy == [A]


def test_what_is_whole_on_both_sides_keeps_its_sums():
    kept = of({A: Thing(1, True, "x", "x")})
    assert decide.reconciled(kept, listing(A), listing(A), switched=False) == kept


def test_what_came_back_to_the_source_is_not_deleted_any_more():
    kept = of({A: Thing(1, True, deleted=True)})
    assert not decide.reconciled(kept, listing(A), listing(A), switched=False).things[A].deleted


@pytest.mark.parametrize(
    ("thing", "switched", "deleted"),
    [
        (Thing(1, True), False, True),
        (Thing(1, True), True, True),
        (Thing(1, True, "x", "x"), False, True),
        (Thing(1, True, "x", "x"), True, False),
    ],
)
def test_what_is_in_neither_place_was_deleted_unless_that_was_after_the_switch(thing, switched, deleted):
    seen = decide.reconciled(of({A: thing}), listing(), listing(), switched=switched)
    assert seen.things[A].deleted is deleted


def test_what_was_deleted_meanwhile_is_removed_from_the_target():
    kept = of({A: Thing(1, True), B: Thing(1, True)})
    plan = decide.planned(kept, listing(B), rows(B), switched=False)
    assert (plan.copy, plan.remove) == ([], [A])


def test_what_was_deleted_before_it_was_copied_is_no_part_of_it_and_not_foreign_where_it_got_there_after_all():
    seen = decide.without_vanished(of({A: Thing(1), B: Thing(1)}), listing(B))
    assert seen == of({B: Thing(1)}, {A: 1})
    plan = decide.planned(seen, listing(B), rows(B), switched=False, target=listing(A))
    assert (plan.remove, plan.foreign) == ([A], [])


def test_what_was_removed_once_is_not_removed_again():
    kept = of({A: Thing(1, True, deleted=True)})
    assert decide.planned(kept, listing(), rows(), switched=False).remove == []


def test_what_the_database_knows_is_never_removed():
    kept = of({A: Thing(1, True)})
    plan = decide.planned(kept, listing(), rows(A), switched=False)
    assert (plan.remove, plan.kept) == ([], [A])


def test_a_deletion_from_between_two_migrations_is_made_up_for():
    """The way back: what the first migration moved is still in the old place, and its user has deleted it since."""
    plan = decide.planned(of({}, {A: 1}), listing(), rows(), switched=False, target=listing(A))
    assert (plan.remove, plan.foreign) == ([A], [])


def test_without_a_database_a_few_deletions_are_believed_and_many_are_not():
    things = {f"t/{number}": Thing(1, True) for number in range(1000)}
    few, many = ([f"t/{number}" for number in range(gone, 1000)] for gone in (50, 51))
    assert len(decide.planned(of(things), listing(*few), None, switched=False).remove) == 50
    plan = decide.planned(of(things), listing(*many), None, switched=False)
    assert (plan.remove, len(plan.kept)) == ([], 51)


def test_an_old_place_that_was_emptied_after_the_switch_empties_nothing_else():
    things = {A: Thing(1, True), B: Thing(1, True)}
    for known in (None, rows(A, B)):
        plan = decide.planned(of(things), listing(), known, switched=True, target=listing(A, B))
        assert plan.remove == []


def test_what_nobody_knows_in_the_target_is_foreign_before_the_switch_only():
    assert decide.planned(of({}), listing(A), rows(), switched=False, target=listing(B)).foreign == [B]
    assert decide.planned(of({}), listing(A), rows(B), switched=False, target=listing(B)).foreign == []
    assert decide.planned(of({B: Thing(1)}), listing(), rows(), switched=False, target=listing(B)).foreign == []
    assert decide.planned(of({}), listing(A), rows(), switched=True, target=listing(B)).foreign == []


def test_after_the_switch_what_a_user_deleted_is_not_brought_back():
    kept = of({A: Thing(1, True, "x", "x")})
    seen = decide.reconciled(kept, listing(A), listing(), switched=True)
    assert seen == kept
    assert decide.planned(seen, listing(A), rows(), switched=True, target=listing()).copy == []


def test_after_the_switch_only_what_the_database_knows_comes_late():
    seen = decide.reconciled(of({}), listing(A, B), listing(), switched=True)
    plan = decide.planned(seen, listing(A, B), rows(A), switched=True, target=listing())
    assert (plan.copy, plan.unlisted) == ([A], [B])
    assert decide.planned(seen, listing(A, B), None, switched=True, target=listing()).copy == [A, B]


def test_after_the_switch_what_is_in_both_places_counts_as_moved_though_nothing_was_noted():
    seen = decide.reconciled(of({}), listing(A), listing(A), switched=True)
    assert seen.things == {A: Thing(1, True)}


@pytest.mark.parametrize(
    ("files", "mib", "expected"),
    [(2, 100, [["a", "b"], ["c", "d"]]), (9, 2, [["a"], ["b", "c"], ["d"]]), (9, 100, [["a", "b", "c", "d"]])],
)
def test_batches_are_limited_by_files_and_by_size_and_a_large_file_is_one_of_its_own(files, mib, expected):
    sizes = {"a": 3 * MIB, "b": MIB, "c": MIB, "d": MIB}
    assert list(decide.batches(list(sizes), sizes, files, mib)) == expected


def test_no_keys_are_no_batch():
    assert list(decide.batches([], {}, 5, 5)) == []


@pytest.mark.parametrize(
    ("files", "size", "seconds", "small", "said"),
    [
        (10, MIB, 1.0, True, "within 10 files, 1 MiB and 1 s"),
        (11, MIB, 1.0, False, "more than the limit of 10 files"),
        (10, MIB + 1, 1.0, False, "more than the limit of 1 MiB"),
        (10, MIB, 1.1, False, "more than the limit of 1 s"),
        (11, 2 * MIB, 3.0, False, "more than the limit of 10 files and of 1 MiB and of 1 s"),
    ],
)
def test_little_is_left_when_the_last_pass_found_little_in_little_time(files, size, seconds, small, said):
    found, reason = decide.is_small(files, size, seconds, Limits(10, 1, 1))
    assert found is small
    assert reason.endswith(said)


@pytest.mark.parametrize(
    ("left", "unread", "found", "full_passes", "enough"),
    [
        (1, 0, 1, 0, False),
        (0, 0, 10, 1, True),
        (0, 1, 10, 1, False),
        (0, 0, 11, 1, False),
        (0, 0, 11, 2, True),
        (0, 1, 11, 2, False),
        (1, 0, 1, 2, False),
    ],
)
def test_it_is_enough_when_little_came_or_when_the_second_pass_left_nothing(left, unread, found, full_passes, enough):
    assert decide.is_enough(left, unread, found, full_passes, Limits(10, 1, 1)) is enough


def test_a_row_without_a_file_is_missing_only_when_it_was_there_before_and_after_the_list():
    assert decide.missing(rows(A, B, C), listing(A), rows(A, B, D)) == [B]


def test_what_differs_was_read_on_both_sides():
    kept = of({A: Thing(1, True, "x", "y"), B: Thing(1, True, "x", "x"), C: Thing(1, True, "x")})
    assert decide.differing(kept) == [A]
    assert decide.unread(kept) == [C]


def test_what_was_removed_need_not_be_read():
    assert decide.unread(of({A: Thing(1, True, deleted=True), B: Thing(1, False)})) == []


def test_what_the_source_has_otherwise_than_the_database_was_damaged_before():
    kept = of(
        {A: Thing(1, True, "x", "x"), B: Thing(1, True, f"sum of {B}", "y"), C: Thing(1, True, "x", "x", deleted=True)}
    )
    assert decide.damaged(kept, rows(A, B, C)) == [A]


def test_a_state_is_the_same_after_it_was_kept():
    kept = State(
        "old_server",
        "s3",
        {A: Thing(3, True, "x", "y", True, True), B: Thing(0)},
        {C: 2},
        ["t/.p.part"],
        {"at": "now"},
        3,
    )
    assert decide.begun(json.loads(json.dumps(decide.to_keep(kept))), "old_server", "s3") == kept


def test_without_a_state_a_migration_begins_with_nothing():
    assert decide.begun(None, "old_server", "s3") == of({})


def test_the_way_back_begins_anew_and_knows_what_the_way_there_has_moved():
    there = of({A: Thing(3, True, "x", "x")}, {B: 2})._replace(switched={"at": "now"})
    back = decide.begun(decide.to_keep(there), "s3", "old_server")
    assert back == State("s3", "old_server", {}, {A: 3, B: 2}, [], {}, 0)


def test_a_message_names_a_few_and_counts_the_rest():
    assert decide.some(["a", "b", "c"]) == "a, b, c"
    assert decide.some(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
