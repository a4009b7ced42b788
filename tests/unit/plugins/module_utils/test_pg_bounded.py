import time
from pathlib import Path

import pytest

from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import Session, SessionError, conninfo
from tests.unit.plugins.module_utils import postgres_wire as wire


def session(server, limit=2.0):
    return Session(
        conninfo(host="127.0.0.1", port=server.port, user="probe", sslmode="disable", gssencmode="disable"), limit
    )


def error_of(server, limit=2.0):
    with server.at_work():
        opened = session(server)
        with pytest.raises(SessionError) as caught:
            opened.execute("INSERT", limit_seconds=limit)
    return caught.value


def test_what_is_empty_is_left_out_and_what_is_odd_is_quoted():
    assert conninfo(host="a", password=r"it's \ odd", dbname=None, user="") == r"host='a' password='it\'s \\ odd'"


def test_rows_come_back_as_text():
    with wire.Server(wire.ROW).at_work() as server:
        assert session(server).execute("SELECT $1", ["x"], limit_seconds=2).rows == [["t"]]


def test_a_commit_without_a_warning_has_none():
    with wire.Server(wire.COMMITTED).at_work() as server:
        assert session(server).execute("INSERT", limit_seconds=2).warnings == []


def test_a_warning_is_told_apart_from_a_notice_and_belongs_to_its_statement():
    with wire.Server(wire.WARNED, wire.TOLD).at_work() as server:
        opened = session(server)
        first = opened.execute("INSERT", limit_seconds=2).warnings
        assert first == ["canceling wait for synchronous replication due to user request"]
        assert opened.execute("INSERT", limit_seconds=2).warnings == []


def test_an_error_of_the_server_leaves_the_session_open():
    with wire.Server(wire.REFUSED, wire.COMMITTED).at_work() as server:
        opened = session(server)
        with pytest.raises(SessionError, match="read-only transaction") as caught:
            opened.execute("INSERT", limit_seconds=2)
        assert (caught.value.kind, caught.value.sqlstate) == ("refused", "25006")
        opened.execute("INSERT", limit_seconds=2)


def test_a_statement_without_an_answer_ends_with_its_limit_and_is_never_cancelled():
    server = wire.Server(wire.SILENCE)
    begin = time.monotonic()
    assert error_of(server, 0.2).kind == "limit"
    assert 0.2 <= time.monotonic() - begin < 1.5
    assert server.ended.wait(2)
    assert server.opened == 1


def test_a_connection_that_ends_is_said_to():
    assert error_of(wire.Server(wire.GOODBYE)).kind == "connection"


def test_a_server_that_accepts_and_says_nothing_is_given_up():
    with wire.Server(welcome=b"").at_work() as server, pytest.raises(SessionError) as caught:
        session(server, 0.2)
    assert caught.value.kind == "limit"


def test_a_refused_connection_is_one_line():
    with wire.Server().at_work() as server:
        pass
    with pytest.raises(SessionError) as caught:
        session(server)
    assert caught.value.kind == "connection"
    assert "\n" not in str(caught.value)


def test_nothing_in_it_can_cancel():
    source = Path(Session.execute.__code__.co_filename).read_text()
    assert "get_cancel" not in source
    assert "cancel_conn" not in source
