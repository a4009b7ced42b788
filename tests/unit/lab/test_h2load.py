"""What h2load prints is read, and a request that failed is never a measurement. Its place is taken by a small program."""

import json
import sys

import pytest

from tests.lab.h2load import Way, latencies, most_per_second

GOOD = """finished in 3.00s, 250.50 req/s, 8.13KB/s
requests: 750 total, 750 started, 750 done, 750 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 750 2xx, 0 3xx, 0 4xx, 0 5xx
"""
PROGRAM = """#!{python}
import json, sys
with open({asked!r}, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
for word in sys.argv:
    if word.startswith("--log-file="):
        open(word.partition("=")[2], "w").write({log!r})
print({output!r}, end="")
"""

DIRECT = Way("direct", ["http://a/live", "http://b/live"])
THROUGH = Way("through", ["https://name/live"], connect_to="10.0.0.1:443")


@pytest.fixture
def h2load(tmp_path, monkeypatch):
    """Put a program in h2load's place that prints this; what it was asked is returned."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    asked = tmp_path / "asked"

    def put(output=GOOD, log=""):
        program = tmp_path / "h2load"
        program.write_text(PROGRAM.format(python=sys.executable, asked=str(asked), output=output, log=log))
        program.chmod(0o755)
        return lambda: [json.loads(line) for line in asked.read_text().splitlines()]

    return put


def test_the_rates_of_all_urls_are_added(h2load):
    asked = h2load()
    assert most_per_second(DIRECT, 3) == 501
    assert sorted(words[-1] for words in asked()) == ["http://a/live", "http://b/live"]
    assert all("--clients=16" in words and "--duration=3" in words for words in asked())


def test_an_address_is_asked_for_the_name(h2load):
    asked = h2load()
    assert most_per_second(THROUGH, 3) == 250.5
    assert "--connect-to=10.0.0.1:443" in asked()[0]


def test_requests_of_the_first_second_do_not_count(h2load):
    h2load(log="1000000\t200\t9000\n1900000\t200\t9000\n2000000\t200\t500\n3000000\t200\t1500\n")
    assert latencies(THROUGH, 100, 5) == [0.5, 1.5]


def test_no_connection_sends_so_much_that_it_sends_in_bursts(h2load):
    asked = h2load(log="1\t200\t1\n")
    latencies(DIRECT, 1000, 4)
    assert all("--clients=10" in words and "--rps=50.0" in words and "--requests=2500" in words for words in asked())


@pytest.mark.parametrize(
    "output",
    [
        GOOD.replace("0 4xx", "1 4xx"),
        GOOD.replace("0 errored", "1 errored"),
        GOOD.replace("750 done", "0 done"),
        "the connection was refused\n",
    ],
)
def test_a_request_that_failed_is_no_measurement(h2load, output):
    h2load(output)
    with pytest.raises(AssertionError):
        most_per_second(THROUGH, 3)
