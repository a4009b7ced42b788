"""What every story gets: the running lab, the way in, a platform that is whole before and after, and logs when it fails."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.lab import measurements
from tests.lab.edge import instances_that_answer
from tests.lab.eventually import eventually
from tests.lab.handle import ROOT, Lab, playbook
from tests.lab.postgres import cluster, whole_cluster  # noqa: F401  (fixtures of the stories of etapa 3)
from tests.lab.target import Target

_FAILED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--soak", action="store_true", help="run each story as often as it says, and write docs/measurements.md"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak(runs): how often --soak runs the story")
    config.addinivalue_line(
        "markers", "either_engine: about the balancers' engine, so it is run with each (ESCALA_LOAD_BALANCER_ENGINE)"
    )
    config.addinivalue_line(
        "markers", "haproxy_in_soak_only: too long for every run with each engine, so only --soak runs it with HAProxy"
    )
    config.addinivalue_line("markers", "etapa_2: needs the shared storage, which only larger topologies have")
    config.addinivalue_line(
        "markers", "topology(names): runs on a lab of one of these topologies, and is skipped elsewhere"
    )
    config.addinivalue_line("markers", "etapa_3: needs the database cluster, which only larger topologies have")
    config.addinivalue_line("markers", "first_run: begins with data nodes that no run of an etapa has touched")
    config.addinivalue_line(
        "markers", "soak_only: too long for every run, so only --soak runs the story, once where it says no number"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    mark = metafunc.definition.get_closest_marker("soak")
    if mark and metafunc.config.getoption("--soak"):
        metafunc.fixturenames.append("run")
        metafunc.parametrize("run", range(1, mark.kwargs["runs"] + 1))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--soak"):
        items[:] = [item for item in items if item.get_closest_marker("soak") or item.get_closest_marker("soak_only")]
    else:
        too_long = {"soak_only"} | ({"haproxy_in_soak_only"} if measurements.ENGINE == "haproxy" else set())
        items[:] = [item for item in items if not too_long & {mark.name for mark in item.iter_markers()}]


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--soak") and any(not one.within_limits for one in measurements.recorded().values()):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    series = measurements.recorded().values()
    if not series:
        return
    terminalreporter.section("measurements")
    for one in series:
        terminalreporter.line(str(one))
    if config.getoption("--soak"):
        before = measurements.PAGE.read_text()
        measurements.PAGE.write_text(measurements.page(series, measurements.machine(), before))
        terminalreporter.line(f"{measurements.PAGE.relative_to(ROOT)} is written")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if mark := item.get_closest_marker("topology"):
        topology = json.loads(Lab().verb("status", "--json").stdout)["topology"]
        if topology not in mark.args:
            pytest.skip(f"the lab is {topology}, and this story needs {' or '.join(mark.args)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.fixture(scope="session")
def lab() -> Lab:
    lab = Lab()
    hosts = lab.hosts()
    if not hosts:
        pytest.exit(
            "no lab is up, and the stories are about a running one: `make lab` boots and converges it", returncode=3
        )
    return lab


@pytest.fixture(scope="session")
def target(lab: Lab) -> Target:
    return lab.target()


@pytest.fixture(scope="session")
def instances(lab: Lab) -> list[str]:
    """The names of all instances, as the inventory has them."""
    return [f"{host}-{port}" for host in lab.group("app_servers") for port in lab.variables()["lab_app_ports"]]


@pytest.fixture(scope="session")
def moved_uploads() -> None:
    """Uploads that go to the shared storage; where they are there already nothing moves."""
    done = playbook("migrate_uploads.yml")
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.fixture
def output(request: pytest.FixtureRequest) -> Path:
    """A folder for what this story leaves behind, empty at its beginning."""
    folder = ROOT / "tests" / "output" / "lab" / str(request.node.name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def whole_platform(
    request: pytest.FixtureRequest, lab: Lab, target: Target, instances: list[str], output: Path
) -> Iterator[None]:
    """Begin with every instance answering, and leave it so, whatever the story broke; keep all logs when it failed."""
    begun = time.time()
    _wait_until_whole(lab, target, instances)
    yield
    if request.node.stash.get(_FAILED, False):
        _keep_logs(lab, output, begun)
    lab.start_all()
    _wait_until_whole(lab, target, instances)


def _wait_until_whole(lab: Lab, target: Target, instances: list[str]) -> None:
    eventually(
        "every host is running", lambda: all(host["state"] == "running" for host in lab.hosts().values()), within=60
    )
    eventually("one balancer holds the address", lambda: len(lab.holders(target.vip)) == 1, within=30)
    eventually(
        f"each of {', '.join(instances)} answers through the virtual address",
        lambda: set(instances) <= instances_that_answer(target, requests=4 * len(instances)),
        within=60,
    )


def _keep_logs(lab: Lab, folder: Path, since: float) -> None:
    """The journal of every host that runs, and the logs that the balancers' engines write beside it."""
    journal = f"journalctl --no-pager -o short-iso-precise --since @{int(since)}"
    edge = "tail -n 5000 /var/log/nginx/*.log /var/log/haproxy/*.log 2>/dev/null; true"

    def keep(host: str, facts: dict[str, Any]) -> None:
        if facts["state"] == "running":
            for kind, command in (("journal", journal), ("edge", edge)):
                if text := lab.on(host, f"sh -c {shlex.quote(command)}", check=False):
                    (folder / f"{host}.{kind}.log").write_text(text)

    hosts = lab.hosts()
    (folder / "status.json").write_text(json.dumps(hosts, indent=1) + "\n")
    with ThreadPoolExecutor(len(hosts)) as pool:
        list(pool.map(keep, hosts, hosts.values()))
    print(f"logs kept in {folder.relative_to(ROOT)}")
