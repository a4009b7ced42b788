"""A hop that does nothing but pass bytes on: what a machine's own time for one more hop is, beside what a balancer takes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence

from tests.lab.eventually import eventually

_HERE = "127.0.0.1"


@contextlib.contextmanager
def bare_hops(targets: Sequence[str]) -> Iterator[list[str]]:
    """A TCP relay on this machine for each `address:port`; their own `address:port`, in that order, while they run.

    Each connection has a process of its own, so none waits for another. An AssertionError says which one did not start.
    """
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(_bare_hop(target)) for target in targets]


@contextlib.contextmanager
def _bare_hop(target: str) -> Iterator[str]:
    port = _free_port()
    listen = f"TCP-LISTEN:{port},bind={_HERE},fork,reuseaddr,nodelay,backlog=512"
    # In a session of its own, with its connections' processes, so that all of them can be ended at once.
    relay = subprocess.Popen(["socat", listen, f"TCP:{target},nodelay"], start_new_session=True)
    try:
        eventually(f"the hop to {target} listens", lambda: relay.poll() or _listens(port), within=5, every=0.05)
        assert relay.poll() is None, f"socat ended with {relay.returncode}"
        yield f"{_HERE}:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(relay.pid, signal.SIGKILL)
        relay.wait()
        # The processes of its connections are nobody's to wait for, and listen until they are gone.
        eventually(f"the hop to {target} is gone", lambda: _closed(port), within=5, every=0.01)


def _listens(port: int) -> bool:
    with socket.create_connection((_HERE, port), 1):
        return True


def _closed(port: int) -> bool:
    try:
        return not _listens(port)
    except ConnectionRefusedError:
        return True


def _free_port() -> int:
    with socket.create_server((_HERE, 0)) as probe:
        return int(probe.getsockname()[1])
