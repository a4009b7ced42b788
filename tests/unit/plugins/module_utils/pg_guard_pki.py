"""Certificates for guards, and a door of a guard on this host."""

from __future__ import annotations

import contextlib
import threading

from ansible_collections.escala.ha.plugins.module_utils._pg_guard_server import Doors, HttpsServer
from ansible_collections.escala.ha.plugins.module_utils._pg_peers import Identity
from tests.unit.plugins.module_utils.test_tls import Authority


class Platform:
    """An authority and the identities that it gave."""

    def __init__(self, folder):
        self.authority = Authority(folder)

    def identity(self, name):
        both = self.authority.issue(name)
        return Identity(self.authority.file, both, both)


@contextlib.contextmanager
def door(identity, voters, doors):
    """A server on a free port, with the port that it got."""
    server = HttpsServer(("127.0.0.1", 0), identity, voters, doors)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5.0)


class Daemon:
    """Stands for the guard behind its doors."""

    def __init__(self):
        self.ballots, self.commands, self.asked = [], [], []
        self.version = 1
        self.told = threading.Condition()
        self.error = None

    @property
    def doors(self):
        return Doors(
            lambda *asked: self.state(*asked),
            lambda: "escala_pg_guard_joined 1\n",
            lambda body: self.vote(body),
            lambda question: self.command(question),
        )

    def state(self, after, wait_seconds):
        self.asked.append((after, wait_seconds))
        with self.told:
            self.told.wait_for(lambda: self.version != after, wait_seconds)
        return {"version": self.version}

    def change(self):
        with self.told:
            self.version += 1
            self.told.notify_all()

    def vote(self, body):
        self.ballots.append(body)
        if self.error:
            raise self.error
        return {"granted": True}

    def command(self, question):
        self.commands.append(question)
        if self.error:
            raise self.error
        return {"ok": True, "reason": "done"}
