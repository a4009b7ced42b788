"""Debian's packages: from the machine's own mirror and proxy, through a cache that all hosts and all runs share."""

import os
import shutil
import socket
from pathlib import Path

from lab.errors import LabError
from lab.paths import CACHE, STATE
from lab.shell import background, run, say, ticks

CACHE_PORT = 3143
_PROCESS = STATE / "apt-cacher-ng.pid"


def sources(suite: str) -> list[str]:
    """The `deb` lines of a suite and its security updates, with the mirrors that the machine itself uses."""
    targets = run("apt-get", "indextargets", "--format", "$(SITE)|$(RELEASE)|$(CREATED_BY)").stdout.splitlines()
    main = security = ""
    for site, release, made_by in (line.split("|") for line in targets):
        if made_by != "Packages" or site.startswith("file:"):
            continue
        if release.endswith("-security"):
            security = security or site
        elif not main:
            main = site
    if not main:
        raise LabError("apt knows no Debian mirror; give the machine one in /etc/apt and run `apt-get update`")
    lines = [f"deb {main} {suite} main"]
    if security:
        lines.append(f"deb {security} {suite}-security main")
    return lines


def proxy_setting(gateway: str) -> str:
    """The apt setting that sends a host's downloads through the shared cache, or the machine's own proxy without one."""
    if shutil.which("apt-cacher-ng"):
        return f'Acquire::http::Proxy "http://{gateway}:{CACHE_PORT}";\n'
    return _own_proxy_lines()


def _own_proxy_lines() -> str:
    dump = run("apt-config", "dump").stdout.splitlines()
    return "".join(
        f"{line}\n" for line in dump if line.lower().startswith(("acquire::http::proxy", "acquire::https::proxy"))
    )


def start_cache(gateway: str) -> None:
    """Serve the package cache on the bridge's address; without apt-cacher-ng the hosts go to the mirror themselves."""
    if not shutil.which("apt-cacher-ng") or _answers(gateway):
        return
    folder = CACHE / "apt"
    folder.mkdir(parents=True, exist_ok=True)
    settings = [
        f"CacheDir: {folder}",
        f"LogDir: {STATE}",
        f"Port: {CACHE_PORT}",
        f"BindAddress: {gateway}",
        "ForeGround: 1",
        "ExThreshold: 30",
    ]
    proxy = run("apt-config", "shell", "proxy", "Acquire::http::Proxy").stdout.strip().removeprefix("proxy=").strip("'")
    if proxy and proxy != "DIRECT":
        settings.append(f"Proxy: {proxy}")
    # A configuration folder of our own: none of the packaged rewriting of mirrors is wanted.
    configuration = STATE / "apt-cacher-ng"
    configuration.mkdir(exist_ok=True)
    (configuration / "lab.conf").write_text("\n".join(settings) + "\n")
    with background(["apt-cacher-ng", "-c", str(configuration)], STATE / "apt-cacher-ng.log") as process:
        _PROCESS.write_text(str(process.pid))
    for _ in ticks(10):
        if _answers(gateway):
            return
    raise LabError(f"the package cache does not answer on {gateway}:{CACHE_PORT}; see {STATE}/apt-cacher-ng.log")


def stop_cache() -> None:
    """End the package cache that an earlier command started, if it still runs."""
    if not _PROCESS.exists():
        return
    pid = int(_PROCESS.read_text())
    command = Path(f"/proc/{pid}/cmdline")
    if command.exists() and b"apt-cacher-ng" in command.read_bytes():
        os.kill(pid, 15)
        say("package cache stopped")
    _PROCESS.unlink()


def _answers(gateway: str) -> bool:
    try:
        with socket.create_connection((gateway, CACHE_PORT), timeout=1):
            return True
    except OSError:
        return False
