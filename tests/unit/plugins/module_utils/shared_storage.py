"""Storages in memory for the tests of the shared storage's check, good ones and such as have one fault."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.escala.ha.plugins.module_utils._shared_storage_round import Clock, Plan, Round, StorageError

# Hosts are threads here, which let each other go on.
CLOCK = Clock(time.monotonic, lambda _seconds: threading.Event().wait(0.001))
RUN = "run-1"


class Server:
    """What is stored, and who holds the lock."""

    def __init__(self):
        self.content = {}
        self.holder = None
        self.ended = []
        self.mutex = threading.Lock()


class Client:
    """One host's view of a server."""

    pause_seconds = 0.001

    def __init__(self, server, host, is_directory=True):
        self.server = server
        self.host = host
        self.is_directory = is_directory

    def begin(self):
        self.refuse("begin")

    def names(self):
        self.refuse("names")
        return set(self.server.content)

    def put(self, name, content):
        self.refuse("put")
        self.server.content[name] = content

    def appear(self, name, content):
        self.refuse("appear")
        self.server.content[name] = content

    def get(self, name):
        return self.server.content[name]

    def remove(self, name):
        self.refuse("remove")
        self.server.content.pop(name, None)

    def take_lock(self):
        self.refuse("lock")
        with self.server.mutex:
            if self.server.holder in (None, self.host):
                self.server.holder = self.host
                return True
        return False

    def free_lock(self):
        self.server.holder = None

    def end(self):
        self.server.ended.append(self.host)

    def refuse(self, act):
        """Nothing is refused by a good one."""


def refusing(act):
    """A client to which one act is refused."""

    class Refusing(Client):
        def refuse(self, asked):
            if asked == act:
                raise StorageError("full", "it is full")

    return Refusing


def meet(clients, timeout_seconds=0.3, peers=None):
    """What each host has seen, all of them at it at once."""
    hosts = [client.host for client in clients]

    def take_part(client):
        plan = Plan(client.host, peers or hosts, RUN, timeout_seconds)
        return Round(client, plan, CLOCK, lambda _step: None).take_part()

    with ThreadPoolExecutor(len(clients)) as pool:
        return dict(zip(hosts, pool.map(take_part, clients), strict=True))
