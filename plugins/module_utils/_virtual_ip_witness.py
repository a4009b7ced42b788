# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See from a third host who answers for a virtual address: two balancers that do not see each other cannot tell.

The role virtual_ip_witness copies this file to hosts and runs it there as a program, so it imports nothing of the collection.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
import time
import typing as t

# A move of the address in order may show the old holder once more, and two rounds never.
ROUNDS = 2
_COLLECT_SECONDS = 0.3

_ETHERTYPE_ARP = 0x0806
_REQUEST, _REPLY = 1, 2
_FRAME = struct.Struct("!6s6sHHHBBH6s4s6s4s")
_BROADCAST = b"\xff" * 6
_ADDRESS_OF_INTERFACE = 0x8915  # SIOCGIFADDR

_ERROR, _INFO = "<3>", "<6>"
_TWO_HOLDERS_NEXT = (
    "see whether the balancers reach each other by VRRP (IP protocol 112) and whether one of them hangs;"
    " until then stop keepalived, or power off, on the one that should not have it"
)


class Config(t.NamedTuple):
    """What to ask for, from where, how often, and the balancers' own addresses by their names."""

    vip: str
    address: str
    interface: str
    interval_seconds: float
    balancers: t.Dict[str, str]
    state_file: str


class Answer(t.NamedTuple):
    """Who has which address, as one reply says."""

    address: str
    mac: str


class Look(t.NamedTuple):
    """One round: whose answers came, or why none could be asked for."""

    at: float
    macs: t.Tuple[str, ...]
    trouble: str = ""


class Sight(t.NamedTuple):
    """What is taken for true, and since when it has been seen."""

    since: float
    macs: t.Tuple[str, ...]
    trouble: str

    @property
    def state(self) -> str:
        if self.trouble:
            return "blind"
        return ("none", "one", "two")[min(len(self.macs), 2)]


class Memory(t.NamedTuple):
    """What is taken for true, and what may become so when it is seen often enough in a row."""

    settled: t.Optional[Sight] = None
    candidate: t.Optional[Sight] = None
    rounds: int = 0


def request(mac: bytes, address: str, wanted: str) -> bytes:
    """The frame that asks everybody in the network who has the wanted address."""
    return _FRAME.pack(
        _BROADCAST,
        mac,
        _ETHERTYPE_ARP,
        1,
        0x0800,
        6,
        4,
        _REQUEST,
        mac,
        socket.inet_aton(address),
        bytes(6),
        socket.inet_aton(wanted),
    )


def parse_reply(frame: bytes) -> t.Optional[Answer]:
    """What a frame answers, or None when it is no reply about an IPv4 address."""
    if len(frame) < _FRAME.size:
        return None
    fields = _FRAME.unpack_from(frame)
    ethertype, hardware, protocol, mac_size, address_size, kind, mac, address = fields[2:10]
    if (ethertype, hardware, protocol, mac_size, address_size, kind) != (_ETHERTYPE_ARP, 1, 0x0800, 6, 4, _REPLY):
        return None
    return Answer(socket.inet_ntoa(address), mac.hex(":"))


def judge(before: Memory, look: Look) -> Memory:
    """What to take for true after one more look: what was seen so often in a row that it is no passing state."""
    seen = Sight(look.at, tuple(sorted(set(look.macs))), look.trouble)
    if before.settled and _alike(before.settled, seen):
        return Memory(before.settled)
    rounds = 1
    if before.candidate and _alike(before.candidate, seen):
        seen, rounds = before.candidate, before.rounds + 1
    return Memory(seen) if rounds >= ROUNDS else Memory(before.settled, seen, rounds)


def _alike(one: Sight, other: Sight) -> bool:
    return one[1:] == other[1:]


def reason(sight: Sight, names: t.Mapping[str, str], config: Config) -> str:
    """What is seen, in a sentence that names the hosts and what to do."""
    holders = sorted(f"{names.get(mac, 'a host that is no balancer')} ({mac})" for mac in sight.macs)
    if sight.state == "blind":
        return f"nobody could be asked for {config.vip}: {sight.trouble}; see to this host's network"
    if sight.state == "none":
        balancers = ", ".join(sorted(config.balancers)) or "the balancers"
        return f"nobody answers for {config.vip}; run `systemctl status keepalived` on {balancers}"
    if sight.state == "one":
        return f"{holders[0]} holds {config.vip}"
    return f"{' and '.join(holders)} hold {config.vip} at the same time; {_TWO_HOLDERS_NEXT}"


def document(sight: Sight, names: t.Mapping[str, str], config: Config, checked_at: float) -> t.Dict[str, t.Any]:
    """What is written for others to read."""
    return {
        "address": config.vip,
        "checked_at": round(checked_at, 3),
        "since": round(sight.since, 3),
        "state": sight.state,
        "reason": reason(sight, names, config),
        "holders": [{"mac": mac, "host": names.get(mac)} for mac in sight.macs],
    }


def journal_line(sight: Sight, names: t.Mapping[str, str], config: Config) -> str:
    """A line for the journal, with its priority as systemd reads it."""
    return f"{_INFO if sight.state == 'one' else _ERROR}{reason(sight, names, config)}"


def config_from(text: str) -> Config:
    """The configuration in JSON; raises ValueError that says what is wrong with it."""
    values = json.loads(text)
    if not isinstance(values, dict) or set(values) != set(Config._fields):
        raise ValueError(f"the configuration must be an object with the keys {', '.join(Config._fields)}")
    config = Config(**values)
    if not isinstance(config.balancers, dict) or float(config.interval_seconds) <= 2 * _COLLECT_SECONDS:
        raise ValueError(
            f"balancers must be names with addresses, interval_seconds more than {2 * _COLLECT_SECONDS:g}: {text}"
        )
    for address in (config.vip, config.address, *config.balancers.values()):
        if len(address.split(".")) != 4:
            raise ValueError(f"{address} is no IPv4 address, and ARP knows no other")
        socket.inet_aton(address)
    return config


def wanted(config: Config, names: t.Mapping[str, str], seen: t.Iterable[str]) -> t.List[str]:
    """The addresses to ask for: the virtual one, and the balancers' own as long as some are not known or fail to explain who answers."""
    known = set(names.values()) >= set(config.balancers) and all(mac in names for mac in seen)
    return [config.vip, *([] if known else config.balancers.values())]


def interface_with(address: str) -> str:
    """The name of the interface that has an address; raises OSError when none has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _index, name in socket.if_nameindex():
            with contextlib.suppress(OSError):
                found = fcntl.ioctl(asking, _ADDRESS_OF_INTERFACE, struct.pack("256s", name.encode()[:15]))
                if socket.inet_ntoa(found[20:24]) == address:
                    return name
    raise OSError(f"no interface of this host has {address}")


def ask(config: Config, addresses: t.Sequence[str]) -> t.List[Answer]:
    """Ask for the addresses, twice so that one lost frame is not taken for silence, and return who answered."""
    interface = config.interface or interface_with(config.address)
    answers: t.List[Answer] = []
    # A socket of its own for each round has no old answers in it, and survives an interface that went away and came back.
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETHERTYPE_ARP)) as network:
        network.bind((interface, _ETHERTYPE_ARP))
        mac = network.getsockname()[4]
        for _round in range(2):
            for address in addresses:
                network.send(request(mac, config.address, address))
            answers += _collect(network, _COLLECT_SECONDS / 2)
    return answers


def _collect(network: socket.socket, seconds: float) -> t.Iterator[Answer]:
    end = time.monotonic() + seconds
    while select.select([network], [], [], max(0.0, end - time.monotonic()))[0]:
        answer = parse_reply(network.recv(2048))
        if answer:
            yield answer
        if time.monotonic() > end:
            return


def write(path: str, content: t.Mapping[str, t.Any]) -> None:
    """Replace the file, so that whoever reads it finds it whole."""
    draft = f"{path}.new"
    with open(draft, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.write("\n")
    os.replace(draft, path)


def notify(*words: str) -> None:
    """Tell systemd, where it listens."""
    listener = os.environ.get("NOTIFY_SOCKET", "")
    if listener:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto("\n".join(words).encode(), listener.replace("@", "\0", 1))


class Witness:
    """What one run of the program knows."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.memory = Memory()
        self.names: t.Dict[str, str] = {}

    def look(self) -> Look:
        """Ask once, and learn by the way which balancer has which MAC address."""
        at = time.time()
        seen = self.memory.candidate or self.memory.settled
        try:
            answers = ask(self.config, wanted(self.config, self.names, seen.macs if seen else ()))
        except OSError as error:
            return Look(at, (), str(error))
        hosts = {address: name for name, address in self.config.balancers.items()}
        for answer in answers:
            if answer.address in hosts:
                self.names = {mac: name for mac, name in self.names.items() if name != hosts[answer.address]}
                self.names[answer.mac] = hosts[answer.address]
        return Look(at, tuple(answer.mac for answer in answers if answer.address == self.config.vip))

    def round(self) -> None:
        """Look, and say it where it is read."""
        before = self.memory.settled
        self.memory = judge(self.memory, self.look())
        sight = self.memory.settled
        if not sight:
            return
        if sight != before:
            say(journal_line(sight, self.names, self.config))
        found = document(sight, self.names, self.config, time.time())
        write(self.config.state_file, found)
        if sight != before:
            notify(f"STATUS={found['state']}: {found['reason']}")


def say(line: str) -> None:
    """To the journal, which reads the level from the beginning of the line."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main(arguments: t.Sequence[str]) -> int:
    """Run until SIGTERM; SIGHUP has the program start anew in the same process. With --check only the configuration is read."""
    only_check = arguments[:1] == ["--check"]
    path = arguments[-1]
    try:
        with open(path, encoding="utf-8") as file:
            config = config_from(file.read())
    except (OSError, ValueError, TypeError, AttributeError) as error:
        say(f"{_ERROR}{path} cannot be used: {error}")
        return 78
    if only_check:
        return 0
    # Blocked and waited for below, so that none is lost while the program starts anew.
    signals = {signal.SIGHUP, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    witness = Witness(config)
    notify("READY=1", f"STATUS=looking who answers for {config.vip}")
    due = time.monotonic()
    while True:
        witness.round()
        due = max(due + config.interval_seconds, time.monotonic())
        came = signal.sigtimedwait(signals, max(0.0, due - time.monotonic()))
        if came and came.si_signo == signal.SIGTERM:
            notify("STOPPING=1")
            return 0
        if came:
            os.execv(sys.executable, [sys.executable, "-I", *sys.argv])  # noqa: S606  this very program, by its full path


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
