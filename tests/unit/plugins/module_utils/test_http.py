import socket
import threading

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _http
from ansible_collections.escala.ha.plugins.module_utils._http import Endpoint


@pytest.fixture
def server():
    """Answers one connection with the given bytes, and keeps what it was asked."""
    listener = socket.create_server(("127.0.0.1", 0))
    asked = []
    threads = []

    def answering(reply):
        def serve():
            connection, _peer = listener.accept()
            with connection:
                asked.append(connection.recv(65536))
                if reply is None:
                    connection.recv(1)
                else:
                    connection.sendall(reply)

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        return Endpoint("127.0.0.1", listener.getsockname()[1], "app.example.com", 1.0), asked

    yield answering
    for thread in threads:
        thread.join(10)
    listener.close()


def test_the_request_goes_to_the_address_and_asks_for_the_name(server):
    endpoint, asked = server(b"HTTP/1.1 200 OK\r\nX-Served-By: app1-3001\r\nContent-Length: 2\r\n\r\nok")
    answer = _http.get(endpoint, "/health/ready")
    assert (answer.status, answer.headers["x-served-by"], answer.body) == (200, "app1-3001", b"ok")
    assert asked[0].startswith(b"GET /health/ready HTTP/1.1\r\n")
    assert b"Host: app.example.com\r\n" in asked[0]
    assert asked[0].count(b"Host:") == 1


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b"", "connection reset"),
        (b"nonsense\r\n\r\n", "the answer is not HTTP (BadStatusLine)"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "the answer is not HTTP (IncompleteRead)"),
    ],
)
def test_an_answer_that_is_broken_is_an_error_of_the_network(server, reply, said):
    endpoint, _asked = server(reply)
    with pytest.raises(OSError) as error:  # noqa: PT011  what it says is compared below
        _http.get(endpoint, "/")
    assert _http.problem(error.value) == said


def test_a_silent_server_is_left_after_the_time_limit(server):
    endpoint, _asked = server(None)
    with pytest.raises(TimeoutError) as error:
        _http.get(endpoint._replace(timeout_seconds=0.1), "/")
    assert _http.problem(error.value) == "no answer in time"


def test_nobody_there_is_said_in_two_words():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionRefusedError) as error:
        _http.get(Endpoint("127.0.0.1", port, "app.example.com", 1.0), "/")
    assert _http.problem(error.value) == "connection refused"
