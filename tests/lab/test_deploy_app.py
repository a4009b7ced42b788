"""A new release on a platform that serves: nobody notices a good one, a broken one goes back, and a run that was killed is made good."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.lab.edge import instances_that_answer
from tests.lab.eventually import eventually
from tests.lab.handle import ROOT, Lab, playbook
from tests.lab.interrupted import chance, kill_at_a_task, killed_at_the_end
from tests.lab.load import BESIDE_A_RUN, running_load
from tests.lab.measurements import record
from tests.lab.recap import changed_hosts, changing_tasks
from tests.lab.release import another
from tests.lab.rotation import away_from, out_of_rotation, watching_rotation
from tests.lab.target import Target
from tests.lab.test_bad_input import fingerprints
from tests.lab.unnoticed import REQUESTS, assert_nobody_noticed

# A request that was under way when its instance was drained may still be answered; the slowest one says how long that may take.
SETTLED_SECONDS = 1.0


def new_version() -> str:
    """A version that no host has: a story begins with whichever the one before it has left."""
    return f"tenant_app-{uuid.uuid4().hex[:8]}"


def deploying(release: Path, *arguments: str) -> list[str]:
    """How a release is deployed that the inventory does not name."""
    return ["--extra-vars", f"app_release_file={release}", *arguments]


pytestmark = pytest.mark.usefixtures("_first_release_again", "_one_release_everywhere")


def releases(lab: Lab) -> dict[str, str]:
    """The release that each host has for its current one, balancers included."""
    links = {"app_servers": "/opt/tenant-app/current", "load_balancers": "/srv/frontend/current"}
    return {
        host: lab.on(host, f"readlink {link}").strip().rpartition("/")[2]
        for group, link in links.items()
        for host in lab.group(group)
    }


@pytest.fixture(scope="module")
def _first_release_again(lab: Lab) -> Iterator[None]:
    """Leave the platform with the release that the inventory names, which it begins with."""
    first = releases(lab)
    yield
    if releases(lab) != first:
        _deploy_what_the_inventory_names()
        assert releases(lab) == first


@pytest.fixture
def _one_release_everywhere(lab: Lab, whole_platform: None) -> Iterator[None]:
    """Leave all hosts with one release, in rotation, whatever the story broke."""
    yield
    if len(set(releases(lab).values())) > 1 or any(out_of_rotation(lab).values()):
        _deploy_what_the_inventory_names()


def _deploy_what_the_inventory_names() -> None:
    done = playbook("deploy_app.yml")
    assert done.returncode == 0, done.stdout[-3000:]


def processes(lab: Lab) -> dict[str, str]:
    """When each instance was started and which process it is, by host."""
    show = "systemctl show --property=Id,MainPID,ExecMainStartTimestampMonotonic 'tenant-app@*'"
    return {host: lab.on(host, show) for host in lab.group("app_servers")}


def started(lab: Lab, instance: str) -> float:
    """When an instance was started last, in seconds of time.time()."""
    host, _, port = instance.rpartition("-")
    shown = f"$(systemctl show --property=ExecMainStartTimestamp --value tenant-app@{port})"
    return float(lab.on(host, f'date +%s.%N --date "{shown}"'))


@pytest.mark.either_engine
@pytest.mark.soak(runs=3)
@pytest.mark.haproxy_in_soak_only
def test_nobody_notices_a_release_and_no_instance_is_restarted_while_it_is_in_rotation(
    lab: Lab, target: Target, instances: list[str], output: Path, tmp_path: Path
) -> None:
    version = new_version()
    release = another(tmp_path, version)
    with running_load(target, requests=REQUESTS, rate=BESIDE_A_RUN, save_to=output / "load.json") as load:
        eventually("the load is steady", lambda: load.result.requests > REQUESTS // 10, within=30)
        # The balancer that the clients are at: the other is drained a moment before it, or after.
        (holder,) = lab.holders(target.vip)
        with watching_rotation(lab, holder, load.result.by_instance) as watch:
            begin = time.monotonic()
            done = playbook("deploy_app.yml", *deploying(release))
            seconds = time.monotonic() - begin
        (output / "deploy.log").write_text(done.stdout)
        answered = dict(load.result.by_instance)
        eventually(
            "every instance answers again",
            lambda: all(load.result.by_instance[name] > answered[name] + 50 for name in instances),
            within=30,
        )
    assert done.returncode == 0, done.stdout[-3000:]
    assert set(releases(lab).values()) == {version}
    settled = max(SETTLED_SECONDS, load.result.quantile(1))
    for name in instances:
        (away,) = watch.were_away(name)
        assert away[0] < started(lab, name) < away[1], f"{name} was restarted while it was in rotation"
        assert watch.answers(name, away[0] + settled, started(lab, name)) == 0
    assert all(len({name.split("-")[0] for name in away}) <= 1 for _moment, away, _answers in watch.seen)
    assert_nobody_noticed(load.result, "deploy", "a release over both hosts")
    record("deploy_seconds", seconds, "s", what="deploy_app.yml over two hosts, under load")

    before = processes(lab)
    with watching_rotation(lab, "lb2") as watch:
        again = playbook("deploy_app.yml", *deploying(release))
    assert again.returncode == 0, again.stdout[-3000:]
    assert changed_hosts(again.stdout) == {}
    assert processes(lab) == before
    assert {away for _moment, away, _answers in watch.seen} == {frozenset()}


@pytest.mark.either_engine
@pytest.mark.haproxy_in_soak_only
@pytest.mark.soak(runs=1)
def test_a_check_says_what_a_release_would_change_and_changes_nothing(lab: Lab, tmp_path: Path) -> None:
    version = new_version()
    release = another(tmp_path, version)
    before, running = fingerprints(lab), processes(lab)
    with watching_rotation(lab, "lb2") as watch:
        done = playbook("deploy_app.yml", *deploying(release, "--check", "--diff"))
    assert done.returncode == 0, done.stdout[-3000:]
    assert fingerprints(lab) == before
    assert processes(lab) == running
    assert {away for _moment, away, _answers in watch.seen} == {frozenset()}
    assert out_of_rotation(lab) == {"lb1": [], "lb2": []}
    on_a_host = (
        "escala.ha.app : Make it the current release",
        "Every balancer: instances of this host drained",
        "escala.ha.app : Bring the instances up to date",
    )
    would = {(host, name) for host in lab.group("app_servers") for name in on_a_host}
    would |= {(host, "escala.ha.load_balancer : Make it the current release") for host in lab.group("load_balancers")}
    assert would <= changing_tasks(done.stdout), done.stdout
    for link in (f"/opt/tenant-app/releases/{version}", f"/srv/frontend/{version}"):
        assert done.stdout.count(f"+    src: {link}\n") == 2, done.stdout


@pytest.mark.soak(runs=3)
def test_a_release_that_never_becomes_ready_goes_back_by_itself(
    lab: Lab, target: Target, instances: list[str], output: Path, tmp_path: Path
) -> None:
    release = another(tmp_path, "tenant_app-broken", broken=True)
    before, others = releases(lab), processes(lab)["app2"]
    with running_load(target, requests=REQUESTS, rate=BESIDE_A_RUN, save_to=output / "load.json") as load:
        eventually("the load is steady", lambda: load.result.requests > REQUESTS // 10, within=30)
        done = playbook("deploy_app.yml", *deploying(release, "--extra-vars", "app_ready_timeout_seconds=10"))
    (output / "deploy.log").write_text(done.stdout + done.stderr)
    assert done.returncode != 0
    message = " ".join((done.stdout + done.stderr).split())
    went_back = f"The host has gone back to {before['app1']} and serves"
    assert f"app1: the release tenant_app-broken did not come into service. {went_back}" in message
    assert "tenant-app@3001.service is not ready after 10 s" in message
    assert "this release was broken on purpose" in message
    assert releases(lab) == before
    assert processes(lab)["app2"] == others
    assert out_of_rotation(lab) == {"lb1": [], "lb2": []}
    assert instances_that_answer(target, 4 * len(instances)) == set(instances)
    assert_nobody_noticed(load.result, "deploy_broken", "a release that never becomes ready")


@pytest.mark.soak_only
def test_a_host_on_which_neither_release_runs_stays_drained_and_is_mended_by_the_next_run(
    lab: Lab, target: Target, instances: list[str], tmp_path: Path
) -> None:
    of_app1 = sorted(name for name in instances if name.startswith("app1-"))
    program = "/opt/tenant-app/releases/{}/backend/dist/server.js".format(releases(lab)["app1"])
    release = another(tmp_path, "tenant_app-broken", broken=True)
    # What runs has it in memory, and would not start again.
    lab.on("app1", f"mv {program} {program}.away")
    try:
        with running_load(target, requests=3_000, rate=BESIDE_A_RUN) as load:
            done = playbook("deploy_app.yml", *deploying(release, "--extra-vars", "app_ready_timeout_seconds=5"))
        away = out_of_rotation(lab)
    finally:
        lab.on("app1", f"mv {program}.away {program}")
    assert done.returncode != 0
    message = " ".join((done.stdout + done.stderr).split())
    assert "did not come into service, and going back did not help. The host stays drained." in message
    assert away == {"lb1": of_app1, "lb2": of_app1}
    load.result.assert_unharmed()
    mended = playbook("deploy_app.yml")
    assert mended.returncode == 0, mended.stdout[-3000:]
    assert out_of_rotation(lab) == {"lb1": [], "lb2": []}


@pytest.mark.soak_only
@pytest.mark.soak(runs=1)
def test_a_balancer_that_dies_leaves_no_host_drained_at_the_other(
    lab: Lab, target: Target, instances: list[str], output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By Mitogen a host that loses its power is waited for even longer.
    monkeypatch.setenv("ANSIBLE_STRATEGY", "linear")
    version = new_version()
    release = another(tmp_path, version)
    of_app1 = sorted(name for name in instances if name.startswith("app1-"))
    (holder,) = lab.holders(target.vip)
    (other,) = set(lab.group("load_balancers")) - {holder}
    with (
        running_load(target, requests=2_000, rate=BESIDE_A_RUN, save_to=output / "load.json") as load,
        ThreadPoolExecutor() as runs,
    ):
        run = runs.submit(playbook, "deploy_app.yml", *deploying(release))
        eventually(f"app1 is out of rotation at {holder}", lambda: away_from(lab, holder) == of_app1, within=120)
        lab.verb("kill", other)
        done = run.result()
        (output / "deploy.log").write_text(done.stdout + done.stderr)
        assert done.returncode != 0
        assert away_from(lab, holder) == []
    assert f"{other} cannot be entered" in " ".join((done.stdout + done.stderr).split())
    load.result.assert_unharmed()
    lab.verb("start", other)
    eventually(f"{other} can be entered", lambda: lab.on(other, "systemctl is-active nginx", check=False), within=60)
    again = playbook("deploy_app.yml", *deploying(release))
    assert again.returncode == 0, again.stdout[-3000:]
    assert set(releases(lab).values()) == {version}
    assert out_of_rotation(lab) == {"lb1": [], "lb2": []}


def test_a_limited_run_is_refused(lab: Lab) -> None:
    before = releases(lab), processes(lab)
    for limit in ("load_balancers", "app1"):
        done = playbook("deploy_app.yml", *deploying(Path("/nowhere/app.tar.gz"), "--limit", limit))
        assert done.returncode != 0
        assert f"Nothing was changed: --limit {limit} would leave out" in " ".join((done.stdout + done.stderr).split())
    assert (releases(lab), processes(lab)) == before


@pytest.mark.soak_only
def test_a_run_that_was_killed_is_made_good_by_the_next(lab: Lab, instances: list[str], tmp_path: Path) -> None:
    version = new_version()
    release = another(tmp_path, version)
    of_app1 = [name for name in instances if name.startswith("app1-")]
    with killed_at_the_end("deploy_app.yml", *deploying(release)):
        eventually(
            "app1 is out of rotation at both balancers",
            lambda: all(sorted(away) == of_app1 for away in out_of_rotation(lab).values()),
            within=120,
        )
    proof = playbook("verify.yml", "--extra-vars", "verify_timeout_seconds=1")
    assert proof.returncode != 0
    report = json.loads((ROOT / "inventories/lab/.state/report.json").read_text())
    reasons = {verdict["name"]: verdict["reason"] for verdict in report["verdicts"] if not verdict["passed"]}
    for balancer in ("lb1", "lb2"):
        assert "app1-3001" in reasons[f"backends_in_rotation_from_{balancer}"]
        assert "deploy_app.yml" in reasons[f"backends_in_rotation_from_{balancer}"]
    done = playbook("deploy_app.yml", *deploying(release))
    assert done.returncode == 0, done.stdout[-3000:]
    assert set(releases(lab).values()) == {version}
    assert out_of_rotation(lab) == {"lb1": [], "lb2": []}


@pytest.mark.either_engine
@pytest.mark.soak_only
@pytest.mark.soak(runs=5)
def test_a_run_that_was_killed_anywhere_is_made_good_by_the_next_and_nobody_notices(
    lab: Lab, target: Target, instances: list[str], output: Path, tmp_path: Path
) -> None:
    version = new_version()
    deploy = ("deploy_app.yml", *deploying(another(tmp_path, version)))
    with running_load(target, requests=2_000, rate=BESIDE_A_RUN, save_to=output / "load.json") as load:
        kill_at_a_task(*deploy, by=chance(), output=output / "killed.log", among=70)
        done = playbook(*deploy)
    (output / "deploy.log").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout[-3000:]
    assert set(releases(lab).values()) == {version}
    assert out_of_rotation(lab) == {"lb1": [], "lb2": []}
    assert instances_that_answer(target, 4 * len(instances)) == set(instances)
    load.result.assert_unharmed()
    again = playbook(*deploy)
    assert changing_tasks(again.stdout) == set(), again.stdout[-6000:]


def test_a_release_that_the_controller_does_not_have_changes_nothing(lab: Lab) -> None:
    before = releases(lab), processes(lab)
    done = playbook("deploy_app.yml", *deploying(Path("/nowhere/app.tar.gz")))
    assert done.returncode != 0
    assert "app_release_file = /nowhere/app.tar.gz: the controller has no such .tar.gz" in " ".join(
        (done.stdout + done.stderr).split()
    )
    assert (releases(lab), processes(lab)) == before


@pytest.mark.soak_only
def test_a_migration_that_fails_restarts_nothing(lab: Lab, tmp_path: Path) -> None:
    version = new_version()
    release = another(tmp_path, version)
    before = releases(lab), processes(lab)
    done = playbook("deploy_app.yml", *deploying(release, "--extra-vars", "app_migrate_command=/bin/false"))
    assert done.returncode != 0
    message = " ".join((done.stdout + done.stderr).split())
    assert f"app1: the database could not be brought to the release {version}. No instance was restarted" in message
    assert (releases(lab), processes(lab)) == before
    assert out_of_rotation(lab) == {"lb1": [], "lb2": []}
