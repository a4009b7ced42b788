"""The lab as a story sees it: its command line, and what can be asked of its hosts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from lab.paths import INVENTORY
from tests.lab.eventually import eventually
from tests.lab.target import Target

ROOT = Path(__file__).resolve().parents[2]
_VERB_SECONDS = 180


class Lab:
    """Every fault and every look goes through the command line that people use."""

    def verb(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "lab", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=_VERB_SECONDS,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"`python3 -m lab {' '.join(words)}` ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}"
            )
        return done

    def on(self, host: str, command: str, *, check: bool = True) -> str:
        """Run a shell command on a host and return what it prints."""
        return self.verb("ssh", host, "--", command, check=check).stdout

    def hosts(self) -> dict[str, dict[str, Any]]:
        return {host["name"]: host for host in json.loads(self.verb("status", "--json").stdout)["hosts"]}

    def variables(self) -> dict[str, Any]:
        """What the inventory says for all hosts."""
        found: dict[str, Any] = yaml.safe_load((INVENTORY / "hosts.yml").read_text())["all"]["vars"]
        return found

    def group(self, name: str) -> list[str]:
        return [host for host, facts in self.hosts().items() if name in facts["groups"]]

    def target(self) -> Target:
        found = json.loads(self.verb("endpoints", "--json").stdout)
        login = found["load_login"]
        password = yaml.safe_load(Path(login["secrets_file"]).read_text())[login["secret"]]
        return Target(
            found["base_url"],
            found["vip"],
            found["server_name"],
            found["ca_file"],
            login["tenant"],
            login["email"],
            password,
        )

    def holders(self, vip: str) -> list[str]:
        """The running balancers that have the address, looked at from outside, so that a hung host answers too."""
        return [
            host
            for host, facts in self.hosts().items()
            if "load_balancers" in facts["groups"] and facts["pid"] and _has_address(facts["pid"], vip)
        ]

    def make_holder(self, host: str, vip: str) -> None:
        """Fix who holds the address: with nopreempt it stays where it is until its holder lets go."""
        for other in self.holders(vip):
            if other != host:
                self.on(other, "systemctl restart keepalived")
        eventually(f"{host} holds {vip}, and nobody else", lambda: self.holders(vip) == [host], within=10)

    def start_all(self) -> None:
        """Undo every fault that a story made and left."""
        self.verb("heal")
        for host, facts in self.hosts().items():
            if facts["state"] == "frozen":
                self.verb("thaw", host)
            elif facts["state"] == "off":
                self.verb("start", host)


def _has_address(process: int, address: str) -> bool:
    listing = subprocess.run(
        ["nsenter", "--target", str(process), "--net", "ip", "-json", "-4", "address", "show"],
        capture_output=True,
        text=True,
        check=False,
    )
    # The host may have gone in the meantime, and then holds nothing.
    links = json.loads(listing.stdout or "[]") if listing.returncode == 0 else []
    return any(entry.get("local") == address for link in links for entry in link.get("addr_info", []))


def command_of(name: str, *arguments: str) -> tuple[list[str], dict[str, str], Path]:
    """How one of the collection's playbooks is run on the lab: the command, its environment, its folder.

    In half the time by Mitogen, unless ANSIBLE_STRATEGY names another; molecule's scenarios are for Ansible's own way.
    """
    program = str(Path(sys.executable).parent / "ansible-playbook")
    environment = {"ANSIBLE_STRATEGY": "mitogen_linear"} | os.environ
    environment |= {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    return [program, f"playbooks/{name}", *arguments], environment, ROOT


def playbook(name: str, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Run one of the collection's playbooks on the lab as its users do, to its end."""
    command, environment, folder = command_of(name, *arguments)
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
