"""Uploads are led and held while a balancer serves, and nothing has to be alive for a hold to end."""

import fcntl
import itertools
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.escala.ha.plugins.module_utils import _load_balancer_uploads as uploads
from ansible_collections.escala.ha.plugins.module_utils._load_balancer_drain import Pace
from ansible_collections.escala.ha.plugins.module_utils._load_balancer_state import APPLICATION, UPLOAD_SERVERS, Uploads
from ansible_collections.escala.ha.plugins.module_utils._load_balancer_uploads import (
    Files,
    Haproxy,
    Nginx,
    Record,
    UploadsError,
    Wanted,
    decided,
    differs,
    parse_record,
    record_text,
    steps,
    switch,
    waited_for,
)

NOW = 1_000.4
AS_IT_IS = Wanted(None, None, 30)
HOLD = Wanted(None, True, 30)
RELEASE = Wanted(None, False, 30)
MOVE = Wanted(APPLICATION, None, 30)
MOVE_AND_RELEASE = Wanted(APPLICATION, False, 30)
BACK = Wanted(UPLOAD_SERVERS, None, 30)

routes = st.sampled_from([UPLOAD_SERVERS, APPLICATION])
records = st.builds(Record, routes, st.sampled_from([0, 990, 1010, 1031]))
wishes = st.builds(Wanted, st.none() | routes, st.sampled_from([None, True, False]), st.integers(1, 600))


@pytest.mark.parametrize(
    ("before", "wanted", "after"),
    [
        (Record(), AS_IT_IS, Record()),
        (Record(), HOLD, Record(UPLOAD_SERVERS, 1031)),
        (Record(), MOVE, Record(APPLICATION)),
        (Record(APPLICATION, 1010), AS_IT_IS, Record(APPLICATION, 1010)),
        # Asked for again, it lasts from now on, longer or shorter.
        (Record(APPLICATION, 1010), HOLD, Record(APPLICATION, 1031)),
        (Record(APPLICATION, 1500), HOLD, Record(APPLICATION, 1031)),
        (Record(UPLOAD_SERVERS, 1010), MOVE, Record(APPLICATION, 1010)),
        (Record(UPLOAD_SERVERS, 1010), MOVE_AND_RELEASE, Record(APPLICATION)),
        (Record(APPLICATION, 1010), BACK, Record(UPLOAD_SERVERS, 1010)),
        (Record(APPLICATION, 1010), RELEASE, Record(APPLICATION)),
    ],
)
def test_what_is_not_asked_for_stays_as_it_is(before, wanted, after):
    assert decided(before, wanted, NOW) == after


@given(records, wishes)
def test_the_way_ends_where_it_should_and_changes_one_thing_at_a_time(before, wanted):
    after = decided(before, wanted, NOW)
    way = [before, *steps(before, after)]
    assert way[-1] == after
    for one, next_one in itertools.pairwise(way):
        assert one.route == next_one.route or one.held_until == next_one.held_until


@given(records, wishes)
def test_the_route_never_changes_under_writes_where_a_hold_begins_or_ends_with_it(before, wanted):
    after = decided(before, wanted, NOW)
    for one, next_one in itertools.pairwise([before, *steps(before, after)]):
        if one.route != next_one.route and (before.held(NOW) or after.held(NOW)):
            assert one.held(NOW)
            assert next_one.held(NOW)


@given(records)
def test_a_record_is_read_as_it_was_written(record):
    assert parse_record(record_text(record)) == record


def test_without_a_file_nothing_was_asked_for():
    assert parse_record("") == Record(UPLOAD_SERVERS, 0)


@pytest.mark.parametrize("text", ["route application\n", "route nowhere\nheld_until 0\n", "held_until 0\n", "rubbish"])
def test_what_is_no_record_is_refused(text):
    with pytest.raises(ValueError, match="not a record of where uploads go"):
        parse_record(text)


@pytest.mark.parametrize(
    ("before", "after", "in_force", "expected"),
    [
        (Record(), Record(), Uploads(UPLOAD_SERVERS, False, ["old"]), False),
        (Record(), Record(APPLICATION), Uploads(UPLOAD_SERVERS, False, ["old"]), True),
        (Record(), Record(UPLOAD_SERVERS, 1031), Uploads(UPLOAD_SERVERS, False, ["old"]), True),
        # A hold that lasts longer is nothing that a client notices, and one that ended by itself is none.
        (Record(UPLOAD_SERVERS, 1010), Record(UPLOAD_SERVERS, 1031), Uploads(UPLOAD_SERVERS, True, ["old"]), False),
        (Record(UPLOAD_SERVERS, 990), Record(), Uploads(UPLOAD_SERVERS, False, ["old"]), False),
        # A module that was killed in the midst of it left what is not in force.
        (Record(APPLICATION), Record(APPLICATION), Uploads(UPLOAD_SERVERS, False, ["old"]), True),
        # Where there are no upload servers, uploads go to the application whatever was asked for; moved for good is more than that.
        (Record(), Record(), Uploads(APPLICATION, False, []), False),
        (Record(), Record(APPLICATION), Uploads(APPLICATION, False, []), True),
        (Record(APPLICATION), Record(APPLICATION), Uploads(APPLICATION, False, []), False),
    ],
)
def test_a_change_is_what_clients_would_notice(before, after, in_force, expected):
    assert differs(before, after, in_force, NOW) is expected


@pytest.mark.parametrize(
    ("in_force", "expected"),
    [
        (Uploads(UPLOAD_SERVERS, True, ["old"]), [UPLOAD_SERVERS, APPLICATION]),
        (Uploads(UPLOAD_SERVERS, False, ["old"]), [APPLICATION]),
        (Uploads(APPLICATION, False, ["old"]), [UPLOAD_SERVERS]),
    ],
)
def test_only_what_can_become_less_is_waited_for(in_force, expected):
    assert waited_for(in_force) == expected


def seconds_in(folder):
    return sorted(int(path.name) for path in (folder / "held").iterdir())


def test_both_forms_say_the_same(tmp_path):
    files = Files(str(tmp_path))
    assert files.record() == Record()
    files.write(Record(APPLICATION, 1004), NOW)
    assert files.record() == Record(APPLICATION, 1004)
    assert (tmp_path / "application").exists()
    # The second in which it begins and the one before, for a clock that is a moment behind; not the one in which it has ended.
    assert seconds_in(tmp_path) == [999, 1000, 1001, 1002, 1003]
    files.write(Record(APPLICATION, 1006), NOW + 2)
    assert seconds_in(tmp_path) == [1001, 1002, 1003, 1004, 1005]
    files.write(Record(UPLOAD_SERVERS, 1004), NOW + 2)
    assert seconds_in(tmp_path) == [1001, 1002, 1003]
    files.write(Record(), NOW + 3)
    assert seconds_in(tmp_path) == []
    assert not (tmp_path / "application").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["held", "uploads.map"]


def test_what_is_written_can_be_read_by_an_engine_that_is_not_root(tmp_path):
    Files(str(tmp_path)).write(Record(APPLICATION, 1004), NOW)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "uploads.map", tmp_path / "application")} == {0o644}
    assert (tmp_path / "held").stat().st_mode & 0o777 == 0o755


def test_only_one_at_a_time_writes(tmp_path):
    files = Files(str(tmp_path))
    handle = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    with files.locked(), pytest.raises(BlockingIOError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)


class Time:
    def __init__(self):
        self.seconds = NOW
        self.then = lambda: None

    def now(self):
        return self.seconds

    def sleep(self, seconds):
        self.seconds += seconds
        self.then()

    def pace(self, timeout_seconds=0):
        return Pace(timeout_seconds, self.now, self.sleep)


class Balancer:
    """An engine that goes by the files, as nginx does, and notes each step."""

    def __init__(self, files, time, upload_servers=("old",)):
        self.files, self.time = files, time
        self.upload_servers = list(upload_servers)
        self.told = []
        self.deaf = False
        self.requests = {UPLOAD_SERVERS: 0, APPLICATION: 0}

    def in_force(self):
        record = Record() if self.deaf else self.files.record()
        route = record.route if self.upload_servers else APPLICATION
        return Uploads(route, record.held(self.time.now()), self.upload_servers)

    def tell(self, record):
        self.told.append(record)

    def in_flight(self):
        return dict(self.requests)


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def files(tmp_path):
    return Files(str(tmp_path))


@pytest.fixture
def balancer(files, time):
    return Balancer(files, time)


def test_uploads_are_held_moved_and_released(balancer, files, time):
    held = switch(HOLD, balancer, files, time.now, time.pace())
    assert (held.changed, held.in_force) == (True, Uploads(UPLOAD_SERVERS, True, ["old"]))
    moved = switch(MOVE, balancer, files, time.now, time.pace())
    assert (moved.changed, moved.in_force) == (True, Uploads(APPLICATION, True, ["old"]))
    released = switch(RELEASE, balancer, files, time.now, time.pace())
    assert (released.changed, released.in_force) == (True, Uploads(APPLICATION, False, ["old"]))
    assert balancer.told == [Record(UPLOAD_SERVERS, 1031), Record(APPLICATION, 1031), Record(APPLICATION)]


def test_moved_and_released_at_once_the_route_changes_first(balancer, files, time):
    switch(HOLD, balancer, files, time.now, time.pace())
    switch(MOVE_AND_RELEASE, balancer, files, time.now, time.pace())
    assert balancer.told[1:] == [Record(APPLICATION, 1031), Record(APPLICATION)]


@pytest.mark.parametrize("wanted", [MOVE, HOLD, MOVE_AND_RELEASE, RELEASE, AS_IT_IS, BACK])
def test_the_second_time_is_no_change(balancer, files, time, wanted):
    switch(wanted, balancer, files, time.now, time.pace())
    assert switch(wanted, balancer, files, time.now, time.pace()).changed is False


def test_a_hold_ends_by_itself_and_uploads_flow_to_where_the_route_leads(balancer, files, time):
    switch(HOLD, balancer, files, time.now, time.pace())
    time.seconds += 29
    assert switch(AS_IT_IS, balancer, files, time.now, time.pace()).in_force.held
    time.seconds += 2
    ended = switch(AS_IT_IS, balancer, files, time.now, time.pace())
    assert (ended.changed, ended.in_force) == (False, Uploads(UPLOAD_SERVERS, False, ["old"]))
    assert switch(RELEASE, balancer, files, time.now, time.pace()).changed is False


def test_a_hold_that_is_asked_for_again_lasts_from_then_on(balancer, files, time):
    switch(HOLD, balancer, files, time.now, time.pace())
    time.seconds += 20
    again = switch(HOLD, balancer, files, time.now, time.pace())
    assert (again.changed, again.record.held_until) == (False, 1051)


@pytest.mark.parametrize("seconds", [28, 29.7, 40])
def test_what_may_be_done_only_while_they_are_held_is_refused_afterwards(balancer, files, time, seconds):
    strict = MOVE_AND_RELEASE._replace(only_while_held=True)
    with pytest.raises(UploadsError, match="no longer held"):
        switch(strict, balancer, files, time.now, time.pace())
    switch(HOLD, balancer, files, time.now, time.pace())
    time.seconds += seconds
    if seconds < 29:
        assert switch(strict, balancer, files, time.now, time.pace()).in_force == Uploads(APPLICATION, False, ["old"])
    else:
        with pytest.raises(UploadsError, match="may have been written to upload_servers since; nothing was changed"):
            switch(strict, balancer, files, time.now, time.pace())
        assert files.record().route == UPLOAD_SERVERS


def test_check_mode_says_what_would_be_done_and_does_nothing(balancer, files, time, tmp_path):
    assert switch(MOVE, balancer, files, time.now, time.pace(), check_mode=True).changed
    assert list(tmp_path.iterdir()) == []
    balancer.upload_servers = []
    with pytest.raises(UploadsError, match="the balancer has none"):
        switch(BACK, balancer, files, time.now, time.pace(), check_mode=True)


def test_after_the_inventory_dropped_the_upload_servers_it_still_holds_and_does_not_lead_back(balancer, files, time):
    switch(MOVE, balancer, files, time.now, time.pace())
    balancer.upload_servers = []
    assert switch(MOVE, balancer, files, time.now, time.pace()).changed is False
    held = switch(HOLD, balancer, files, time.now, time.pace())
    assert (held.changed, held.in_force) == (True, Uploads(APPLICATION, True, []))
    with pytest.raises(UploadsError, match="set load_balancer_upload_servers and run the etapa's playbook"):
        switch(BACK, balancer, files, time.now, time.pace())


def test_without_upload_servers_a_hold_needs_no_route(files, time):
    balancer = Balancer(files, time, upload_servers=())
    assert switch(HOLD, balancer, files, time.now, time.pace()).in_force.held
    assert switch(RELEASE, balancer, files, time.now, time.pace()).in_force == Uploads(APPLICATION, False, [])


@pytest.mark.parametrize("seconds", [0, -1, 601])
def test_a_hold_of_no_sensible_length_is_refused(balancer, files, time, seconds):
    with pytest.raises(UploadsError, match=f"hold_seconds is {seconds}; a hold lasts 1 to 600 s"):
        switch(HOLD._replace(hold_seconds=seconds), balancer, files, time.now, time.pace())


def test_a_balancer_that_does_not_go_by_it_is_a_fault(balancer, files, time):
    balancer.deaf = True
    with pytest.raises(UploadsError, match="uploads still go to upload_servers and are not held 5 s after"):
        switch(MOVE, balancer, files, time.now, time.pace())


def test_requests_under_way_are_waited_for_and_what_is_left_is_said(balancer, files, time):
    balancer.requests[UPLOAD_SERVERS] = 2
    assert switch(HOLD, balancer, files, time.now, time.pace(3)).in_flight[UPLOAD_SERVERS] == 2
    assert 3 <= time.seconds - NOW < 3.2

    def one_ends():
        balancer.requests[UPLOAD_SERVERS] = 0

    time.then = one_ends
    assert switch(HOLD, balancer, files, time.now, time.pace(3)).in_flight[UPLOAD_SERVERS] == 0


def test_what_begins_all_the_time_is_not_waited_for(balancer, files, time):
    balancer.requests[APPLICATION] = 9
    assert switch(MOVE, balancer, files, time.now, time.pace(3)).in_flight == {UPLOAD_SERVERS: 0, APPLICATION: 9}
    assert time.seconds == NOW


def test_a_record_of_another_kind_is_said_in_words(balancer, files, time, tmp_path):
    (tmp_path / "uploads.map").write_text("rubbish")
    balancer.deaf = True
    with pytest.raises(UploadsError, match="not a record of where uploads go"):
        switch(MOVE, balancer, files, time.now, time.pace())


def answering(**pages):
    def fetch(path):
        return pages[path.strip("/").replace("/", "_")]

    return fetch


WORD = json.dumps({"route": "application", "held": False, "upload_servers": ["old"]})


def test_nginx_is_asked_for_what_it_does():
    fetch = answering(uploads=(200, WORD), uploads_in_flight_upload=(409, ""), uploads_in_flight_app=(204, ""))
    nginx = Nginx(fetch)
    assert nginx.in_force() == Uploads(APPLICATION, False, ["old"])
    assert nginx.in_flight() == {UPLOAD_SERVERS: 1, APPLICATION: 0}


def test_what_nginx_does_not_count_is_a_problem():
    with pytest.raises(ValueError, match="nginx answered 403"):
        Nginx(answering(uploads_in_flight_upload=(403, ""))).in_flight()


def test_a_configuration_that_cannot_be_switched_is_refused_with_the_next_step():
    with pytest.raises(UploadsError, match="set load_balancer_upload_servers, or load_balancer_upload_switch: true"):
        Nginx(answering(uploads=(403, "Forbidden"))).in_force()


PROCESSES = """#<PID>          <type>          <reloads>       <uptime>        <version>
2542            master          3 [failed: 0]   0d00h06m54s     2.6.12-1+deb12u4
# workers
{workers}# old workers
3244            worker          1               0d00h01m29s     2.6.12-1+deb12u4
# programs

"""


class Master:
    """HAProxy's master, which hands commands on to the processes that it has; `reload` comes after that many commands."""

    def __init__(self, reload_after=None):
        self.workers = [3440]
        self.told = []
        self.reload_after = reload_after
        self.answers = {}

    def __call__(self, command):
        if command == "show proc":
            lines = "".join(f"{pid}            worker          0  0d00h00m02s     2.6.12\n" for pid in self.workers)
            return PROCESSES.format(workers=lines)
        if self.reload_after == len(self.told):
            self.workers.append(4000)
        self.told.append(command)
        for part, answer in self.answers.items():
            if part in command:
                return answer
        return "\n"


def test_haproxy_s_processes_are_all_told_those_of_before_too():
    master = Master()
    Haproxy(answering(), master, "/m").tell(Record(APPLICATION, 1031))
    assert sorted(master.told) == sorted(
        f"@!{pid} set map /m {what}" for pid in (3440, 3244) for what in ("route application", "held_until 1031")
    )


@pytest.mark.parametrize("after", range(4))
def test_one_that_a_reload_made_meanwhile_is_told_too(after):
    master = Master(reload_after=after)
    Haproxy(answering(), master, "/m").tell(Record(APPLICATION))
    assert "@!4000 set map /m route application" in master.told


def test_one_that_ended_meanwhile_needs_no_word():
    master = Master()
    haproxy = Haproxy(answering(), master, "/m")

    def ends(command):
        if command.startswith("@!3440"):
            master.workers = []
            return "Can't find the target PID matching the prefix '@!3440'\n"
        return master(command)

    Haproxy(answering(), ends, "/m").tell(Record())
    assert master.told == ["@!3244 set map /m route upload_servers", "@!3244 set map /m held_until 0"]
    master.workers = [3440]
    master.answers["@!3440"] = "entry not found.\n"
    with pytest.raises(ValueError, match=r"HAProxy's process 3440 does not take it: entry not found\."):
        haproxy.tell(Record())


def test_a_process_of_before_the_switch_is_refused_as_it_would_let_writes_through():
    master = Master()
    master.answers["@!3244 show map"] = "Unknown map identifier. Please use #<id> or <file>.\n"
    with pytest.raises(UploadsError, match="process 3244 is of a configuration that cannot switch uploads"):
        Haproxy(answering(uploads=(200, WORD)), master, "/m").in_force()
    master.answers.clear()
    assert Haproxy(answering(uploads=(200, WORD)), master, "/m").in_force().route == APPLICATION


def test_haproxy_counts_what_is_under_way_in_all_its_processes():
    master = Master()
    table = (
        "# table: uploads_in_flight, type: string, size:10, used:2\n"
        "0x7f1: key=upload_servers use={use} exp=59000 shard=0 conn_cur={use}\n"
        "0x7f2: key=application use=0 exp=1200 conn_cur=0\n"
    )
    master.answers = {"@!3440": table.format(use=2), "@!3244": table.format(use=1)}
    assert Haproxy(answering(), master, "/m").in_flight() == {UPLOAD_SERVERS: 3, APPLICATION: 0}


def test_a_master_that_names_no_process_is_a_problem():
    with pytest.raises(ValueError, match="HAProxy names no process that serves: Permission denied"):
        Haproxy(answering(), lambda _command: "Permission denied\n", "/m").in_flight()


def test_a_balancer_that_is_away_is_said_in_words(files, time):
    def fetch(_path):
        raise ConnectionRefusedError

    with pytest.raises(UploadsError, match="the balancer cannot be asked: connection refused"):
        switch(MOVE, Nginx(fetch), files, time.now, time.pace())


@pytest.mark.parametrize(("engine", "kind"), [("nginx", Nginx), ("haproxy", Haproxy)])
def test_the_options_name_the_engine(engine, kind):
    options = {"engine": engine, "address": "127.0.0.1", "port": 1, "directory": "/x", "master_socket": "/s"}
    assert isinstance(uploads.engine_from(options), kind)
