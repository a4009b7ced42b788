"""The shells of the balancer's modules: what they hand on, and what becomes of a fault."""

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest


@pytest.fixture
def nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture
def checker(tmp_path):
    """The state that the checker beside nginx would serve, with two instances that follow the list of drained ones at once."""
    drained = tmp_path / "drained.json"

    class State(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/uploads":
                route = "application" if (tmp_path / "application").exists() else "upload_servers"
                held = (tmp_path / "held" / str(int(time.time()))).exists()
                self.reply({"route": route, "held": held, "upload_servers": ["legacy1"]})
                return
            if self.path != "/backends":
                self.send_response(204)
                self.end_headers()
                return
            away = json.loads(drained.read_text()) if drained.exists() else []
            entry = {"address": "192.0.2.21", "port": 3001, "reason": "ready", "since": time.time()}
            backends = [
                {**entry, "name": name, "state": "drained" if name in away else "up", "in_rotation": name not in away}
                for name in ("app1-3001", "app2-3001")
            ]
            self.reply({"engine": "nginx", "checked_at": time.time(), "note": "", "backends": backends})

        def reply(self, said):
            body = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), State) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {"engine": "nginx", "address": "127.0.0.1", "port": server.server_port}, str(drained)
        server.shutdown()


def test_the_state_is_told(run_module, checker):
    place, _drained = checker
    result = run_module("load_balancer_info", place)
    assert (result["problem"], [one["name"] for one in result["backends"]]) == (None, ["app1-3001", "app2-3001"])


@pytest.mark.parametrize("engine", ["nginx", "haproxy"])
def test_a_balancer_that_is_not_there_does_not_fail_the_observation(run_module, nobody_there, engine):
    result = run_module("load_balancer_info", {"engine": engine, "address": "127.0.0.1", "port": nobody_there})
    assert result.get("failed", False) is False
    assert "connection refused" in result["problem"]


def test_a_drain_is_a_change_once_and_so_is_its_end(run_module, checker):
    place, drained = checker

    def asked(state, check_mode=False):
        options = {**place, "drained_file": drained, "names": ["app1-3001"], "state": state}
        return run_module("load_balancer_backend", options, check_mode)

    assert asked("drained", check_mode=True)["changed"]
    assert [asked(state)["changed"] for state in ("drained", "drained", "active", "active")] == [
        True,
        False,
        True,
        False,
    ]
    result = asked("drained")
    assert (result["names"], result["in_flight"]) == (["app1-3001"], None)
    assert [one["state"] for one in result["backends"]] == ["drained", "up"]


def test_the_last_one_is_not_drained(run_module, checker):
    place, drained = checker
    names = {"names": ["app1-3001", "app2-3001"], "state": "drained", "drained_file": drained}
    result = run_module("load_balancer_backend", {**place, **names})
    assert result["failed"] is True
    assert "no instance would be left in rotation" in result["msg"]


def test_a_rotation_is_judged(run_module, checker):
    place, drained = checker
    options = {**place, "instances": ["app1-3001", "app2-3001"], "seen_from": "lb1", "timeout_seconds": 0}
    assert run_module("load_balancer_rotation_check", options)["passed"]
    with open(drained, "w") as file:
        json.dump(["app1-3001"], file)
    result = run_module("load_balancer_rotation_check", options)
    assert result["failed"] is True
    assert "app1-3001 drained" in result["msg"]


def test_uploads_are_led_and_held_and_a_repetition_is_no_change(run_module, checker, tmp_path):
    place, _drained = checker

    def asked(check_mode=False, **wanted):
        return run_module("load_balancer_uploads", {**place, "directory": str(tmp_path), **wanted}, check_mode)

    assert asked(check_mode=True, held=True)["changed"]
    assert not (tmp_path / "held").exists()
    held = asked(held=True, hold_seconds=20)
    assert (held["changed"], held["held"], held["route"]) == (True, True, "upload_servers")
    assert 19 < held["held_seconds_left"] <= 21
    assert held["in_flight"] == {"upload_servers": 0, "application": 0}
    moved = [asked(route="application", held=False) for _ in range(2)]
    assert [one["changed"] for one in moved] == [True, False]
    assert (moved[1]["route"], moved[1]["held"], moved[1]["held_seconds_left"]) == ("application", False, 0)
    assert run_module("load_balancer_info", place)["uploads"]["route"] == "application"
    refused = asked(route="upload_servers", only_while_held=True)
    assert refused["failed"] is True
    assert "no longer held" in refused["msg"]


def test_what_was_kept_is_put_back(run_module, tmp_path):
    file = tmp_path / "environment"
    options = {"paths": [str(file)], "directory": str(tmp_path / "kept")}
    assert run_module("known_good", {**options, "state": "restored"})["failed"] is True
    file.write_text("A=1")
    assert run_module("known_good", {**options, "state": "kept"})["changed"]
    file.write_text("A=2")
    assert run_module("known_good", {**options, "state": "restored"})["paths"] == [str(file)]
    assert file.read_text() == "A=1"
