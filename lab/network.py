"""The bridge, the way out, and the faults between hosts. The machine itself always keeps its way to every host."""

import ipaddress
import json
import shutil
from pathlib import Path

from lab.errors import LabError
from lab.shell import run
from lab.state import Fault
from lab.topology import Host, Topology

# A bridge with this address is the lab's ("escal" in hex, locally administered): it is set in the same call that makes the bridge.
_OUR_MARK = "02:65:73:63:61:6c"
_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


def ensure(topology: Topology) -> None:
    """Make the bridge and the masquerade rule, or raise LabError where the name or the address is somebody else's."""
    links = {link["ifname"]: link for link in json.loads(run("ip", "-json", "address").stdout)}
    bridge = links.get(topology.bridge)
    if bridge and bridge["address"] != _OUR_MARK:
        raise LabError(
            f"the link {topology.bridge} exists and is not the lab's; remove it, or give the topology another `bridge`"
        )
    for name, link in links.items():
        for address in link["addr_info"]:
            if name != topology.bridge and address["family"] == "inet" and _inside(address["local"], topology):
                raise LabError(
                    f"the lab's network {topology.network} is in use: {name} has {address['local']}; free it, or change the topology's `network`"
                )
    if not bridge:
        run("ip", "link", "add", topology.bridge, "address", _OUR_MARK, "type", "bridge")
    run("ip", "link", "set", topology.bridge, "mtu", str(mtu()), "up")
    if not bridge or not bridge["addr_info"]:
        run("ip", "address", "replace", f"{topology.gateway}/{topology.network.prefixlen}", "dev", topology.bridge)
    _FORWARD.write_text("1")
    run("nft", "-f", "-", stdin=_masquerade(topology))


def _inside(address: str, topology: Topology) -> bool:
    return ipaddress.IPv4Address(address) in topology.network


def mtu() -> int:
    """The MTU in bytes that the hosts' links carry: the machine's own, since a larger packet would be lost on the way out."""
    links = json.loads(run("ip", "-json", "route", "show", "default").stdout)
    return min((int(Path(f"/sys/class/net/{link['dev']}/mtu").read_text()) for link in links), default=1500)


def remove(topology: Topology) -> None:
    """Take away the bridge, cables that dead hosts left and every rule of the lab's; a machine without nftables never had any."""
    for host in filter(has_link, topology.hosts.values()):
        remove_link(host)
    run("ip", "link", "delete", topology.bridge, check=False)
    for family in ("ip", "bridge") if shutil.which("nft") else ():
        run("nft", "delete", "table", family, "escala_lab", check=False)


def add_tap(host: Host, topology: Topology) -> None:
    """Lay the cable of a virtual machine: this machine's end, into which QEMU plugs the other."""
    run("ip", "tuntap", "add", "dev", host.link, "mode", "tap")
    run("ip", "link", "set", host.link, "mtu", str(mtu()), "master", topology.bridge, "up")


def cut_cable(host: Host) -> None:
    """Take the host's cable off at the machine's end, so that what dies behind it can say no goodbye."""
    run("ip", "link", "set", host.link, "down", check=False)


def has_link(host: Host) -> bool:
    """Whether the machine's end of the host's cable exists."""
    return Path(f"/sys/class/net/{host.link}").exists()


def remove_link(host: Host) -> None:
    """Delete what a dead host left of its cable."""
    run("ip", "link", "delete", host.link, check=False)


def apply(faults: list[Fault]) -> None:
    """Put exactly these faults in force."""
    run("nft", "-f", "-", stdin=faults_ruleset(faults))


def faults_ruleset(faults: list[Fault]) -> str:
    """The nftables script, one transaction, that replaces all faults by these."""
    rules = [rule for fault in faults for rule in _rules(fault)]
    lines = "".join(f"    {rule}\n" for rule in rules)
    return (
        "table bridge escala_lab {}\ndelete table bridge escala_lab\n"
        "table bridge escala_lab {\n  chain between_hosts {\n    type filter hook forward priority 0; policy accept;\n"
        + lines
        + "  }\n}\n"
    )


def _rules(fault: Fault) -> list[str]:
    a, b = f'"vb-{fault.a}"', f'"vb-{fault.b}"'
    if fault.kind == "cut":
        there = f"iifname {a} oifname {b} drop"
        back = f"iifname {b} oifname {a} drop"
        return [there] if fault.one_way else [there, back]
    if fault.kind == "isolate":
        return [f"iifname {a} drop", f"oifname {a} drop"]
    return [f"{side} {a} numgen random mod 100 < {fault.percent} drop" for side in ("iifname", "oifname")]


def _masquerade(topology: Topology) -> str:
    network = topology.network
    return (
        "table ip escala_lab {}\ndelete table ip escala_lab\n"
        "table ip escala_lab {\n  chain way_out {\n    type nat hook postrouting priority 100;\n"
        f"    ip saddr {network} ip daddr != {network} masquerade\n  }}\n}}\n"
    )
