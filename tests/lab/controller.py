"""A controller as an operator has it: a host with a systemd of its own, a user that is not root, a checkout, an inventory, a way to the other hosts."""

from __future__ import annotations

import datetime
import io
import json
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.paths import INVENTORY, STATE
from tests.lab.handle import ROOT, Lab

USER = "deploy"
HOME = f"/home/{USER}"
CHECKOUT = f"{HOME}/escala.ha"
VAULT_PASSWORD_FILE = f"{HOME}/.vault-password"
UNIT = "escala-renewal-lab"

_HOSTS = "inventories/lab/hosts.yml"
_SECRETS = "inventories/lab/group_vars/all/secrets.yml"
_PACKAGES = "make openssh-client python3-venv sudo"
_SUDOERS = f"/etc/sudoers.d/{USER}"
# The virtual environment is some 600 MB, from the package index.
_LONGEST_SECONDS = 480


@dataclass(frozen=True)
class Unit:
    """What systemd says of the service's last run: how it is, how it ended, which run it was, and what that said."""

    active: str
    result: str
    invocation: str
    process: int
    journal: str


class Controller:
    """What is done there: as root, by whom the host is kept, or as the user that runs the playbooks."""

    def __init__(self, lab: Lab, host: str) -> None:
        self._lab, self.host = lab, host

    def run(
        self, command: str, *, stdin: bytes | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        """A shell command as root."""
        done = subprocess.run(
            [sys.executable, "-m", "lab", "ssh", self.host, "--", command],
            cwd=ROOT,
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            timeout=_LONGEST_SECONDS,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{command}: {_said(done)}"
        return done

    def as_user(
        self, command: str, *, stdin: bytes | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        """A shell command as the user, as after a login, in the checkout."""
        inside = f"mkdir -p {CHECKOUT} && cd {CHECKOUT} && {command}"
        return self.run(f"runuser --login {USER} --command {shlex.quote(inside)}", stdin=stdin, check=check)

    def install_timer(self, **settings: object) -> str:
        """Run renewal_timer.yml there, as the user, and return what it said."""
        own = {"renewal_timer_user": USER, "renewal_timer_vault_password_file": VAULT_PASSWORD_FILE} | settings
        words = [".venv/bin/ansible-playbook", "--inventory", _HOSTS, "--vault-password-file", VAULT_PASSWORD_FILE]
        words += ["playbooks/renewal_timer.yml", "--extra-vars", json.dumps(own)]
        done = self.as_user(shlex.join(words), check=False)
        assert done.returncode == 0, _said(done)
        return _said(done)

    def start(self) -> Unit:
        """Start the service and wait for its end."""
        self.run(f"systemctl start {UNIT}.service", check=False)
        return self.unit()

    def unit(self) -> Unit:
        names = ("ActiveState", "Result", "InvocationID", "MainPID")
        shown = self._asked(f"systemctl show {UNIT}.service --property {','.join(names)}")
        found = dict(line.split("=", 1) for line in shown.splitlines())
        invocation = found["InvocationID"]
        journal = f"journalctl --no-pager --output cat _SYSTEMD_INVOCATION_ID={invocation}" if invocation else "true"
        return Unit(found["ActiveState"], found["Result"], invocation, int(found["MainPID"]), self._asked(f"{journal}"))

    def _asked(self, command: str) -> str:
        return self.run(command).stdout.decode()

    def time_ahead(self, seconds: int) -> str:
        """A moment of this host's clock, as systemd.time(7) writes it."""
        at = datetime.datetime.fromtimestamp(int(self._asked("date +%s")) + seconds, datetime.UTC)
        return f"{at:%Y-%m-%d %H:%M:%S} UTC"

    def set_variables(self, group: str, **variables: object) -> None:
        """Write the user's inventory: the lab's, with the key and the known hosts that ssh has for the user anyway, and these variables."""
        hosts: dict[str, Any] = yaml.safe_load((INVENTORY / "hosts.yml").read_text())
        for name in ("ansible_ssh_private_key_file", "ansible_ssh_common_args"):
            del hosts["all"]["vars"][name]
        hosts["all"]["children"][group]["vars"] = variables
        self.as_user(f"cat > {_HOSTS}", stdin=json.dumps(hosts).encode())


@contextmanager
def installed_controller(lab: Lab, host: str) -> Iterator[Controller]:
    """Make a host a controller, as docs/certificates.md says, and leave nothing of it there."""
    controller = Controller(lab, host)
    packages = _packages(controller)
    try:
        controller.run(
            "export DEBIAN_FRONTEND=noninteractive;"
            f" apt-get install -y -qq --no-install-recommends {_PACKAGES}"
            f" && useradd --create-home --shell /bin/bash {USER}"
            f" && echo '{USER} ALL=(ALL) NOPASSWD: ALL' > {_SUDOERS} && chmod 0440 {_SUDOERS}"
        )
        controller.as_user(f"tar -x -C {HOME}", stdin=_everything())
        controller.as_user(f"{_index_settings()} make --silent venv")
        controller.as_user(f".venv/bin/ansible-vault encrypt --vault-password-file {VAULT_PASSWORD_FILE} {_SECRETS}")
        yield controller
    finally:
        _remove(controller, packages)


def _remove(controller: Controller, packages: set[str]) -> None:
    new = " ".join(sorted(_packages(controller) - packages))
    controller.run(
        f"systemctl disable --quiet --now {UNIT}.timer; systemctl stop {UNIT}.service;"
        f" systemctl clean --what=state {UNIT}.timer; systemctl reset-failed {UNIT}.service;"
        f" rm -f /etc/systemd/system/{UNIT}.service /etc/systemd/system/{UNIT}.timer {_SUDOERS}; systemctl daemon-reload;"
        f" userdel --remove {USER}",
        check=False,
    )
    if new:
        controller.run(f"DEBIAN_FRONTEND=noninteractive apt-get purge -y -qq {new}")
    left = f"getent passwd {USER}; ls -d {HOME} {_SUDOERS} /etc/systemd/system/*{UNIT}* /var/lib/systemd/timers/*{UNIT}* 2>/dev/null; true"
    said = controller.run(left).stdout.decode()
    assert (said, _packages(controller)) == ("", packages), f"{controller.host} keeps something of the controller's"


def _packages(controller: Controller) -> set[str]:
    return set(controller.run("dpkg-query --show --showformat '${Package}\\n'").stdout.decode().split())


def _index_settings() -> str:
    """A site with a package index of its own has it in pip's configuration; without one the default serves."""
    pip = Path(sys.executable).parent / "pip"
    asked = subprocess.run([pip, "config", "get", "global.index-url"], capture_output=True, text=True, check=False)
    settings = {"PIP_CERT": "/etc/ssl/certs/ca-certificates.crt", "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"}
    if asked.returncode == 0:
        settings |= dict.fromkeys(("PIP_INDEX_URL", "UV_DEFAULT_INDEX"), asked.stdout.strip())
    return " ".join(f"{name}={shlex.quote(value)}" for name, value in settings.items())


def _everything() -> bytes:
    """What the user's home is to hold, as a tar: the checkout, the inventory with its secrets and its authority, the way into the hosts."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    folder = Path(CHECKOUT).name
    files = {f"{folder}/{name}": ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    files[f"{folder}/{_SECRETS}"] = ROOT / _SECRETS
    files[f"{folder}/{_HOSTS}"] = ROOT / _HOSTS
    state = (INVENTORY / ".state").resolve()
    files |= {
        f"{folder}/inventories/lab/.state/{file.relative_to(state)}": file
        for file in state.rglob("*")
        if file.is_file()
    }
    files |= {f".ssh/{name}": STATE / "ssh" / name for name in ("id_ed25519", "known_hosts")}
    content = {name: (file.read_bytes(), file.stat().st_mode) for name, file in files.items()}
    content[Path(VAULT_PASSWORD_FILE).name] = (b"of a story\n", 0o600)
    return _tar(content)


def _tar(content: Mapping[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, (data, mode) in content.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode & 0o777
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    return (done.stdout + done.stderr).decode(errors="replace")
