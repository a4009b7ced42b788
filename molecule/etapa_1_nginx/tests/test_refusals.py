"""What is not a proper request is refused cleanly, and the balancer goes on serving: each balancer is asked at its own address."""

import re
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

testinfra_hosts = ["ansible://load_balancers"]

NAME = b"Host: app.escala.test\r\n"
GET = b"GET /health/live HTTP/1.1\r\n" + NAME
POST = b"POST /api/notes HTTP/1.1\r\n" + NAME

MALFORMED = {
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: other.example\r\n\r\n",
    "two lengths": POST + b"Content-Length: 6\r\nContent-Length: 5\r\n\r\nabcdef",
    "a length that is no number": POST + b"Content-Length: five\r\n\r\nabcde",
    "a space before the colon": POST + b"Content-Length : 5\r\n\r\nabcde",
    "an unknown transfer encoding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a chunk without a length": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "a zero byte in a header": GET + b"X-A: a\x00b\r\n\r\n",
    "a header of 70 kB": GET + b"X-A: " + b"a" * 70000 + b"\r\n\r\n",
    "two thousand headers": GET + b"".join(b"X-%d: a\r\n" % number for number in range(2000)) + b"\r\n",
    "no HTTP at all": b"\x00\x01\x02\x03\r\n\r\n",
    "a request line without a version": b"GET / \r\n\r\n",
    "another host in the request line": b"GET http://other.example/ HTTP/1.1\r\n" + NAME + b"\r\n",
}
# Both lengths: what follows must not become a request of its own.
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + NAME + b"\r\n"
AMBIGUOUS = {
    "a length and chunks": b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunks and a length": b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunks twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
}


@pytest.fixture
def address(host):
    return host.ansible.get_variables()["ansible_host"]


@pytest.fixture
def still_serves(address):
    yield
    assert exchange(address, GET + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 200")


def connect(address, timeout=5):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection((address, 443), timeout), server_hostname="app.escala.test")


def exchange(address, request):
    """All that comes back for a request until the balancer closes, or says no more for a while."""
    said = b""
    with connect(address) as tls:
        try:
            tls.sendall(request)
            while part := tls.recv(65536):
                said += part
        except TimeoutError:
            # A connection that is kept without a word has not refused anything.
            assert said, "no answer, and the connection is open"
        except OSError:
            pass
    return said


@pytest.mark.usefixtures("still_serves")
@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=list(MALFORMED))
def test_a_malformed_request_is_refused(address, request_bytes):
    said = exchange(address, request_bytes)
    # An error of the client's, or a closed connection; never an answer of the application's, and never an error of ours.
    # To a request line without a version nginx answers as HTTP 0.9 did, without a head.
    status = re.match(rb"HTTP/1\.[01] (\d+)|<html>\r\n<head><title>(\d+)", said)
    codes = (b"400", b"405", b"413", b"414", b"421", b"431", b"501", b"505")
    assert said == b"" or (status and (status[1] or status[2]) in codes), said[:200]
    assert b"x-served-by" not in said.lower()


@pytest.mark.usefixtures("still_serves")
@pytest.mark.parametrize("framing", AMBIGUOUS.values(), ids=list(AMBIGUOUS))
def test_what_follows_an_ambiguous_request_is_no_request(address, framing):
    said = exchange(address, POST + framing)
    assert said.count(b"HTTP/1.1 ") <= 1, said[:400]
    assert b"text/html" not in said or b" 400 " in said


@pytest.mark.usefixtures("still_serves")
def test_what_is_not_tls_is_refused(address):
    for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\x00" * 512, b"SSH-2.0-x\r\n"):
        with socket.create_connection((address, 443), 5) as plain:
            plain.sendall(junk)
            try:
                said = plain.recv(4096)
            except TimeoutError:
                raise AssertionError(f"{junk[:20]!r} keeps its connection") from None
            except OSError:
                said = b""
            assert b" 200 " not in said


@pytest.mark.usefixtures("still_serves")
def test_a_client_that_sends_its_head_or_its_body_slowly_is_cut_off(address):
    def said_to(beginning):
        with connect(address, timeout=30) as tls:
            begin = time.monotonic()
            tls.sendall(beginning)
            try:
                said = tls.recv(4096)
            except OSError:
                said = b""
            return said, time.monotonic() - begin

    body = POST + b"Content-Length: 1000\r\nContent-Type: application/json\r\n\r\n{"
    with ThreadPoolExecutor() as pool:
        for said, seconds in pool.map(said_to, (GET, body)):
            assert said == b"" or b" 408 " in said
            assert seconds < 15
