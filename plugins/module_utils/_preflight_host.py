# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe a host before anything is installed there: the standard library only, nothing changed, and what cannot be seen is None."""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
import time
import typing as t
from functools import partial

T = t.TypeVar("T")
Seen = t.Dict[str, t.Any]

_MIB = 1024 * 1024
_LISTENING = "0A"
# As the kernel has their names, cut to 15 characters.
_TIME_DAEMONS = ("chronyd", "ntpd", "ntpsec", "openntpd", "systemd-timesyn")
_ARP, _ARP_REQUEST, _ARP_REPLY, _ETHERNET, _IPV4 = 0x0806, 1, 2, 1, 0x0800
_ECHO_REQUEST, _ECHO_REPLY = 8, 0
_ARP_ASKED_EVERY_SECONDS = 0.3
_ARP_SECONDS = 1.0


class Questions(t.NamedTuple):
    """What is asked of one host; `reach` has what it must talk to, as name, address and port."""

    paths: t.Sequence[str]
    files: t.Sequence[str]
    names: t.Sequence[str]
    ports: t.Sequence[int]
    reach: t.Sequence[t.Mapping[str, t.Any]]
    virtual_address: t.Optional[str]
    interface: t.Optional[str]
    timeout_seconds: float


def observe(questions: Questions, root: str = "/") -> Seen:
    """All that can be seen, the slow part of it at once; `root` is another folder in tests."""
    begun = time.time(), time.monotonic()
    proc = os.path.join(root, "proc")
    asked = _ask_the_network(questions)
    return {
        "system": _or_none(lambda: system_from(_text(root, "etc/os-release"))),
        "python": ".".join(str(part) for part in sys.version_info[:3]),
        "container": os.path.exists(os.path.join(root, "run/systemd/container")),
        "time_daemon": _or_none(time_daemon, proc),
        "memory_mib": _or_none(lambda: memory_mib_from(_text(root, "proc/meminfo"))),
        "disks": [disk(path) for path in questions.paths],
        "files": {path: os.path.exists(os.path.join(root, path.lstrip("/"))) for path in questions.files},
        "interfaces": _or_none(interfaces, os.path.join(root, "sys/class/net")),
        "addresses": _or_none(local_addresses, proc),
        "listeners": _or_none(listeners, proc, questions.ports),
        **asked,
        # Last, so that both ends of the time that this took are known by this host's own clock.
        "clock": {"begun": begun[0], "ended": begun[0] + time.monotonic() - begun[1]},
    }


def _ask_the_network(questions: Questions) -> Seen:
    seconds = questions.timeout_seconds
    late = f"no answer within {seconds:g} s"
    calls: t.Dict[t.Tuple[str, int], t.Callable[[], t.Any]] = {}
    for number, name in enumerate(questions.names):
        calls["name", number] = partial(resolve, name)
    for number, target in enumerate(questions.reach):
        if target.get("ping"):
            calls["ping", number] = partial(answers_ping, target["address"], seconds)
        calls["reach", number] = partial(problem_reaching, target["address"], target["port"], seconds)
    if questions.virtual_address:
        wait = min(seconds, _ARP_SECONDS)
        calls["virtual", 0] = partial(who_answers, questions.virtual_address, questions.interface or "", wait)
    answers = together(calls, seconds + 0.5)
    nobody: Seen = {"addresses": [], "problem": late}
    return {
        "names": {name: answers.get(("name", n), nobody) for n, name in enumerate(questions.names)},
        "reach": [
            {**target, "problem": None if answers.get(("ping", n)) else answers.get(("reach", n), late)}
            for n, target in enumerate(questions.reach)
        ],
        "virtual_address": answers.get(("virtual", 0)),
    }


def together(calls: t.Mapping[t.Any, t.Callable[[], T]], seconds: float) -> t.Dict[t.Any, T]:
    """The results of all calls that come within the time; one that hangs is left behind and does not keep the process."""
    results: t.Dict[t.Any, T] = {}

    def work(key: t.Any, call: t.Callable[[], T]) -> None:
        results[key] = call()

    threads = [threading.Thread(target=work, args=item, daemon=True) for item in calls.items()]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    # A late thread may write while the caller reads.
    return dict(results)


def resolve(name: str) -> Seen:
    """The addresses of a name, by whatever this host asks."""
    try:
        found = sorted({str(entry[4][0]) for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)})
    except (OSError, UnicodeError) as error:
        return {"addresses": [], "problem": getattr(error, "strerror", None) or str(error)}
    return {"addresses": found, "problem": None}


def addresses_of(names: t.Sequence[str], seconds: float = 2) -> t.Dict[str, t.List[str]]:
    """The addresses of names; none where the resolver does not say in time."""
    answers = together({name: partial(resolve, name) for name in names}, seconds)
    return {name: answers[name]["addresses"] if name in answers else [] for name in names}


def problem_reaching(address: str, port: int, seconds: float) -> t.Optional[str]:
    """None where something answers, also where it refuses: nobody may listen there yet, and the way is open."""
    try:
        socket.create_connection((address, port), seconds).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return None
    except (socket.timeout, TimeoutError):
        return f"no answer within {seconds:g} s"
    except OSError as error:
        return error.strerror or str(error)
    return None


def answers_ping(address: str, seconds: float) -> bool:
    """Whether an echo comes back, which one that is let through to VRRP's peers may do where TCP is not."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as icmp:
            icmp.settimeout(seconds)
            # Two, since the first is lost where the neighbour's hardware address has to be found.
            for _try in range(2):
                icmp.sendto(echo_request(), (address, 0))
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                if is_echo(icmp.recvfrom(512), address):
                    return True
    except OSError:
        pass
    return False


def echo_request() -> bytes:
    """An ICMP echo request of this process."""
    identity = os.getpid() & 0xFFFF
    # With no payload and the sequence number 0, these two words are all there is to sum up.
    checksum = 0xFFFF - ((0x0800 + identity) % 0xFFFF)
    return struct.pack("!BBHHH", _ECHO_REQUEST, 0, checksum, identity, 0)


def is_echo(received: t.Tuple[bytes, t.Any], address: str) -> bool:
    """Whether this packet is the answer of that host to this process."""
    packet, sender = received
    start = (packet[0] & 0x0F) * 4
    answer = packet[start : start + 8]
    identity = struct.pack("!H", os.getpid() & 0xFFFF)
    return sender[0] == address and len(answer) == 8 and answer[0] == _ECHO_REPLY and answer[4:6] == identity


def who_answers(address: str, interface: str, seconds: float) -> Seen:
    """The hardware addresses that answer for an address in the network behind an interface."""
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ARP)) as link:
            link.bind((interface, _ARP))
            return {"answers": _arp_answers(link, address, seconds), "problem": None}
    except (OSError, ValueError) as error:
        return {"answers": [], "problem": getattr(error, "strerror", None) or str(error)}


def _arp_answers(link: socket.socket, address: str, seconds: float) -> t.List[str]:
    question = arp_question(link.getsockname()[4], address)
    found: t.Set[str] = set()
    deadline = time.monotonic() + seconds
    ask_next = 0.0
    while time.monotonic() < deadline:
        if time.monotonic() >= ask_next:
            link.send(question)
            ask_next = time.monotonic() + _ARP_ASKED_EVERY_SECONDS
        link.settimeout(_ARP_ASKED_EVERY_SECONDS)
        try:
            answer = arp_answer(link.recv(128), address)
        except (socket.timeout, TimeoutError):
            continue
        if answer:
            found.add(answer)
    return sorted(found)


def arp_question(hardware: bytes, address: str) -> bytes:
    """A probe as RFC 5227 has it: from nobody's address, so that no neighbour learns anything by it."""
    frame = struct.pack("!6s6sH", b"\xff" * 6, hardware, _ARP)
    head = struct.pack("!HHBBH", _ETHERNET, _IPV4, 6, 4, _ARP_REQUEST)
    return frame + head + hardware + bytes(4) + bytes(6) + socket.inet_aton(address)


def arp_answer(frame: bytes, address: str) -> t.Optional[str]:
    """Who says in this frame that the address is his."""
    if len(frame) < 42 or frame[12:14] != struct.pack("!H", _ARP) or frame[20:22] != struct.pack("!H", _ARP_REPLY):
        return None
    return frame[22:28].hex(":") if frame[28:32] == socket.inet_aton(address) else None


def system_from(os_release: str) -> str:
    """The distribution and its version, as /etc/os-release has them."""
    fields = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    fields = {name: value.strip("\"'") for name, value in fields.items()}
    version = fields.get("VERSION_ID") or fields.get("VERSION_CODENAME") or "of no version"
    return f"{fields['ID'].capitalize()} {version}"


def memory_mib_from(meminfo: str) -> int:
    """The memory in all."""
    return next(int(line.split()[1]) // 1024 for line in meminfo.splitlines() if line.startswith("MemTotal:"))


def time_daemon(proc: str) -> t.Optional[str]:
    """The program that keeps the clock, if any runs."""
    running = {program_of(proc, pid) for pid in _processes(proc)}
    return next((name for name in _TIME_DAEMONS if name in running), None)


def program_of(proc: str, pid: str) -> t.Optional[str]:
    """What a process calls itself."""
    comm = _or_none(_text, proc, pid, "comm")
    return comm.strip() if comm else None


def disk(path: str) -> Seen:
    """How much a service may still write below a path; of one that is not there yet, where it will be."""
    place = os.path.abspath(path)
    while not os.path.exists(place):
        place = os.path.dirname(place)
    try:
        seen = os.statvfs(place)
        device: t.Optional[int] = os.stat(place).st_dev
    except OSError:
        return {"path": path, "device": None, "free_mib": None, "read_only": False}
    free = seen.f_bavail * seen.f_frsize // _MIB
    return {"path": path, "device": device, "free_mib": free, "read_only": bool(seen.f_flag & os.ST_RDONLY)}


def interfaces(folder: str) -> t.Dict[str, str]:
    """The hardware address of each interface."""
    return {name: _text(folder, name, "address").strip() for name in sorted(os.listdir(folder))}


def local_addresses(proc: str) -> t.List[str]:
    """Every address that is this host's own."""
    found = set()
    branch = ""
    for line in _text(proc, "net/fib_trie").splitlines():
        words = line.split()
        if "LOCAL" in words and "/32" in words:
            found.add(branch)
        elif words and words[0] in ("|--", "+--"):
            branch = words[1]
    v6 = _or_none(_text, proc, "net/if_inet6") or ""
    found |= {socket.inet_ntop(socket.AF_INET6, bytes.fromhex(line.split()[0])) for line in v6.splitlines()}
    return sorted(found)


def listeners(proc: str, ports: t.Collection[int]) -> t.List[Seen]:
    """Who listens on these ports."""
    sockets: t.Dict[str, t.Tuple[str, int]] = {}
    for table in ("net/tcp", "net/tcp6"):
        text = _or_none(_text, proc, table) or ""
        sockets.update(_listening(text, ports))
    holders = _holders(proc, sockets) if sockets else {}
    return [
        {"address": address, "port": port, **holders.get(inode, {"program": None, "unit": None})}
        for inode, (address, port) in sorted(sockets.items(), key=lambda item: item[1][::-1])
    ]


def _listening(table: str, ports: t.Collection[int]) -> t.Iterator[t.Tuple[str, t.Tuple[str, int]]]:
    for fields in (line.split() for line in table.splitlines()[1:]):
        address, _colon, port = fields[1].partition(":")
        if fields[3] == _LISTENING and int(port, 16) in ports:
            yield fields[9], (address_from(address), int(port, 16))


def address_from(digits: str) -> str:
    """An address as /proc/net/tcp has it: words of four bytes, each in the processor's own order."""
    packed = b"".join(struct.pack("=I", int(digits[at : at + 8], 16)) for at in range(0, len(digits), 8))
    mapped = len(packed) == 16 and packed[:12] == bytes(10) + b"\xff\xff"
    if mapped or len(packed) == 4:
        return socket.inet_ntop(socket.AF_INET, packed[-4:])
    return socket.inet_ntop(socket.AF_INET6, packed)


def _holders(proc: str, inodes: t.Collection[str]) -> t.Dict[str, Seen]:
    """Which program has each of these sockets open."""
    found: t.Dict[str, Seen] = {}
    for pid in _processes(proc):
        for inode in _or_none(_sockets_of, os.path.join(proc, pid, "fd")) or ():
            if inode in inodes and inode not in found:
                unit = unit_from(_or_none(_text, proc, pid, "cgroup") or "")
                found[inode] = {"program": program_of(proc, pid), "unit": unit}
    return found


def _sockets_of(folder: str) -> t.List[str]:
    links = (_or_none(os.readlink, os.path.join(folder, name)) for name in os.listdir(folder))
    return [link[len("socket:[") : -1] for link in links if link and link.startswith("socket:[")]


def unit_from(cgroup: str) -> t.Optional[str]:
    """The systemd unit that a process belongs to, from its /proc/PID/cgroup."""
    paths = [
        line.split(":", 2)[2] for line in cgroup.splitlines() if line.startswith("0::") or ":name=systemd:" in line
    ]
    parts = [part for path in paths for part in path.split("/") if part.endswith((".service", ".scope", ".socket"))]
    return parts[-1] if parts else None


def _processes(proc: str) -> t.List[str]:
    return sorted((name for name in os.listdir(proc) if name.isdigit()), key=int)


def text_of(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _text(*parts: str) -> str:
    with open(os.path.join(*parts), encoding="utf-8", errors="replace") as file:
        return file.read()


def _or_none(look: t.Callable[..., T], *arguments: t.Any) -> t.Optional[T]:
    """What cannot be seen, such as a process that has just ended, is no reason to see nothing else."""
    try:
        return look(*arguments)
    except (OSError, ValueError, KeyError, IndexError, StopIteration):
        return None
