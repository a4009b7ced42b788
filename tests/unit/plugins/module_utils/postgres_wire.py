"""As much of a PostgreSQL server as a client's limits can be tried against: it says what it was told to say, or nothing."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading


def message(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


def notice(severity, text):
    return message(b"N", b"S" + severity + b"\0V" + severity + b"\0C01000\0M" + text + b"\0\0")


def error(sqlstate, text):
    return message(b"E", b"SERROR\0VERROR\0C" + sqlstate + b"\0M" + text + b"\0\0")


READY = message(b"Z", b"I")
WELCOME = message(b"R", struct.pack("!I", 0)) + READY
_STARTED = message(b"1", b"") + message(b"2", b"")
COMMITTED = _STARTED + message(b"n", b"") + message(b"C", b"INSERT 0 1\0") + READY
WARNED = notice(b"WARNING", b"canceling wait for synchronous replication due to user request") + COMMITTED
TOLD = notice(b"NOTICE", b"relation exists") + COMMITTED
REFUSED = error(b"25006", b"cannot execute INSERT in a read-only transaction") + READY
ROW = (
    _STARTED
    + message(b"T", struct.pack("!H", 1) + b"x\0" + struct.pack("!IHIhih", 0, 0, 25, -1, -1, 0))
    + message(b"D", struct.pack("!Hi", 1, 1) + b"t")
    + message(b"C", b"SELECT 1\0")
    + READY
)
SILENCE = b""
GOODBYE = None


class Server:
    """Gives each statement the next answer; `opened` counts its connections, those of a cancel request included."""

    def __init__(self, *answers, welcome=WELCOME):
        self._answers, self._welcome = list(answers), welcome
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.opened = 0
        self.ended = threading.Event()

    @contextlib.contextmanager
    def at_work(self):
        thread = threading.Thread(target=self._serve, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            thread.join(5)

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                self.opened += 1
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client):
        with client, contextlib.suppress(OSError):
            client.recv(8192)
            client.sendall(self._welcome)
            while data := client.recv(8192):
                if data.startswith(b"X"):
                    break
                answer = self._answers.pop(0)
                if answer is GOODBYE:
                    return
                client.sendall(answer)
            self.ended.set()
