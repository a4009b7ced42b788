import itertools
import json
import os
import signal
import socket
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.escala.ha.plugins.module_utils import _virtual_ip_witness as witness
from ansible_collections.escala.ha.plugins.module_utils._virtual_ip_witness import Answer, Config, Look, Memory, Sight

VIP = "192.0.2.100"
LB1, LB2, STRANGER = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:99"
NAMES = {LB1: "lb1", LB2: "lb2"}
VALUES = {
    "vip": VIP,
    "address": "192.0.2.21",
    "interface": "",
    "interval_seconds": 1.0,
    "balancers": {"lb1": "192.0.2.11", "lb2": "192.0.2.12"},
    "state_file": "/nowhere/state.json",
}
CONFIG = Config(**VALUES)


def after(*rounds):
    """What is taken for true after looks that are a second apart, beginning at 100."""
    memory = Memory()
    for number, macs in enumerate(rounds):
        memory = witness.judge(memory, Look(100.0 + number, tuple(macs)))
    return memory.settled


def reply_to(frame, mac):
    """The frame by which a host with this MAC address answers."""
    own = bytes.fromhex(mac.replace(":", ""))
    return frame[6:12] + own + frame[12:20] + b"\x00\x02" + own + frame[38:42] + frame[22:32] + bytes(18)


def test_the_answer_to_a_request_names_who_has_the_address():
    frame = witness.request(b"\x02\x00\x00\x00\x00\x21", "192.0.2.21", VIP)
    assert frame[:6] == b"\xff" * 6
    assert witness.parse_reply(reply_to(frame, LB1)) == Answer(VIP, LB1)


def test_a_request_is_no_answer():
    assert witness.parse_reply(witness.request(b"\x02" * 6, "192.0.2.21", VIP)) is None


@given(st.binary(max_size=100))
def test_any_frame_can_be_looked_at(frame):
    found = witness.parse_reply(frame)
    assert found is None or len(frame) >= 42


def test_one_look_settles_nothing():
    assert after([LB1]) is None


def test_what_is_seen_twice_is_true_since_it_was_seen_first():
    found = after([LB1], [LB1], [LB1])
    assert (found.state, found.since, found.macs) == ("one", 100.0, (LB1,))


def test_an_address_that_moves_in_order_never_has_two_holders():
    looks = [[LB1], [LB1], [LB1, LB2], [LB2], [LB2]]
    assert {after(*looks[:count]).state for count in range(2, 6)} == {"one"}
    assert after(*looks).macs == (LB2,)


def test_two_holders_are_reported_at_the_second_look():
    looks = [[LB1], [LB1], [LB1, LB2], [LB2, LB1]]
    assert after(*looks[:3]).state == "one"
    assert (after(*looks).state, after(*looks).since) == ("two", 102.0)


def test_one_answer_that_is_lost_ends_nothing():
    assert after([LB1, LB2], [LB1, LB2], [LB1], [LB1, LB2], [LB1]).state == "two"


def test_three_holders_are_at_least_two():
    assert after([LB1, LB2, STRANGER], [LB1, LB2, STRANGER]).state == "two"


def test_nobody_is_a_state_too():
    assert after([], []).state == "none"


def test_who_cannot_ask_is_blind_and_does_not_say_that_nobody_answers():
    look = Look(100.0, (), "Network is down")
    found = witness.judge(witness.judge(Memory(), look), look).settled
    assert found.state == "blind"
    assert "Network is down" in witness.reason(found, NAMES, CONFIG)


@given(st.lists(st.sets(st.sampled_from([LB1, LB2])), min_size=2))
def test_what_is_taken_for_true_was_seen_twice_in_a_row(looks):
    found = after(*looks)
    pairs = [tuple(sorted(one)) for one, two in itertools.pairwise(looks) if one == two]
    assert (found is None and not pairs) or (found and found.macs == pairs[-1])


def test_two_holders_are_an_error_with_both_names_and_what_to_do():
    line = witness.journal_line(Sight(1.0, (LB2, LB1), ""), NAMES, CONFIG)
    assert line.startswith(f"<3>lb1 ({LB1}) and lb2 ({LB2}) hold {VIP} at the same time; ")
    assert "stop keepalived" in line


def test_a_holder_that_is_no_balancer_is_called_so():
    assert f"a host that is no balancer ({STRANGER})" in witness.reason(Sight(1.0, (LB1, STRANGER), ""), NAMES, CONFIG)


def test_one_holder_is_no_error():
    assert witness.journal_line(Sight(1.0, (LB1,), ""), NAMES, CONFIG) == f"<6>lb1 ({LB1}) holds {VIP}"


def test_nobody_names_where_to_look():
    assert "on lb1, lb2" in witness.reason(Sight(1.0, (), ""), NAMES, CONFIG)


def test_the_document_is_what_others_read():
    assert witness.document(Sight(90.0, (LB1, STRANGER), ""), NAMES, CONFIG, 100.0) == {
        "address": VIP,
        "checked_at": 100.0,
        "since": 90.0,
        "state": "two",
        "reason": witness.reason(Sight(90.0, (LB1, STRANGER), ""), NAMES, CONFIG),
        "holders": [{"mac": LB1, "host": "lb1"}, {"mac": STRANGER, "host": None}],
    }


@pytest.mark.parametrize(
    ("names", "seen", "asked"),
    [({}, [], 3), (NAMES, [LB1], 1), (NAMES, [STRANGER], 3), ({LB1: "lb1"}, [LB1], 3)],
)
def test_the_balancers_are_asked_for_while_their_names_are_needed(names, seen, asked):
    assert len(witness.wanted(CONFIG, names, seen)) == asked


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"vip": "2001:db8::1"}, "no IPv4 address"),
        ({"interval_seconds": 0.1}, "interval_seconds"),
        ({"balancers": ["192.0.2.11"]}, "balancers"),
        ({"more": 1}, "must be an object with the keys"),
    ],
)
def test_a_wrong_configuration_is_refused(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        witness.config_from(json.dumps({**VALUES, **changes}))


def test_a_check_of_a_wrong_configuration_says_so(tmp_path, capsys):
    file = tmp_path / "config.json"
    file.write_text("{}")
    assert witness.main(["--check", str(file)]) == 78
    assert str(file) in capsys.readouterr().err
    file.write_text(json.dumps(VALUES))
    assert witness.main(["--check", str(file)]) == 0


def test_the_names_of_balancers_are_learnt_from_their_answers(monkeypatch):
    answers = [Answer("192.0.2.11", LB1), Answer(VIP, LB2), Answer("192.0.2.12", LB2)]
    monkeypatch.setattr(witness, "ask", lambda config, addresses: answers)
    watching = witness.Witness(CONFIG)
    assert watching.look().macs == (LB2,)
    assert watching.names == NAMES
    answers[0] = Answer("192.0.2.11", STRANGER)
    watching.look()
    assert watching.names == {STRANGER: "lb1", LB2: "lb2"}


def test_each_round_leaves_a_whole_file_and_each_change_a_line_and_a_status(monkeypatch, tmp_path, capsys):
    said = []
    monkeypatch.setattr(witness, "notify", lambda *words: said.extend(words))
    monkeypatch.setattr(witness, "ask", lambda config, addresses: [Answer(VIP, LB1)])
    watching = witness.Witness(CONFIG._replace(state_file=str(tmp_path / "state.json")))
    for _ in range(4):
        watching.round()
    assert json.loads((tmp_path / "state.json").read_text())["state"] == "one"
    assert os.listdir(tmp_path) == ["state.json"]
    assert capsys.readouterr().err.count("\n") == 1
    assert [word[:12] for word in said] == ["STATUS=one: "]


def test_a_host_without_the_address_is_blind_and_goes_on():
    assert "no interface of this host has" in witness.Witness(CONFIG).look().trouble


def test_systemd_is_told_where_it_listens(monkeypatch, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        witness.notify("READY=1", "STATUS=x")
        assert listener.recv(100) == b"READY=1\nSTATUS=x"


def test_it_starts_anew_on_sighup_in_the_same_process_and_ends_on_sigterm(tmp_path):
    config, state = tmp_path / "config.json", tmp_path / "state.json"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(20)
        config.write_text(json.dumps({**VALUES, "state_file": str(state)}))
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        program = subprocess.Popen([sys.executable, "-I", witness.__file__, str(config)], env=environment)
        assert VIP.encode() in listener.recv(200)
        config.write_text(json.dumps({**VALUES, "vip": "192.0.2.200", "state_file": str(state)}))
        program.send_signal(signal.SIGHUP)
        while b"192.0.2.200" not in listener.recv(500):
            pass
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 0
