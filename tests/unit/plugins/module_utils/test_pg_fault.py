import subprocess

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pg_fault
from ansible_collections.escala.ha.plugins.module_utils._pg_fault import Host, Order

UNIT = "postgresql@17-main.service"
FOLDER = "/sys/fs/cgroup/system.slice/unit"
HOST = Host(FOLDER, container=False, sysrq=True)


def commands(fault, host=HOST, **order):
    order = {"seconds": 60, "reachable": ["192.0.2.9"], **order}
    return _pg_fault.plan(Order(fault, UNIT, **order), host)


@pytest.mark.parametrize("fault", ["frozen", "postmaster_stopped", "isolated"])
def test_what_lasts_is_undone_by_a_timer_that_is_armed_first(fault):
    first, second = commands(fault, seconds=45)
    assert first.argv[:5] == ["systemd-run", "--quiet", "--collect", "--unit=escala-drill-undo", "--on-active=45s"]
    assert second.argv[0] != "systemd-run"


def test_the_postmaster_alone_is_killed_and_a_standby_whole():
    assert commands("postmaster_killed")[0].argv == ["systemctl", "kill", "--signal=KILL", "--kill-whom=main", UNIT]
    assert "--kill-whom=all" in commands("standby_down")[0].argv


def test_the_postmaster_goes_on_after_its_stop():
    undo, stop = commands("postmaster_stopped")
    assert undo.argv[-4:] == ["kill", "--signal=CONT", "--kill-whom=main", UNIT]
    assert "--signal=STOP" in stop.argv


def test_freezing_is_done_where_systemd_does_not_know_of_it(tmp_path):
    undo, freeze = commands("frozen", Host(str(tmp_path), container=False, sysrq=False))
    assert (freeze.argv, freeze.stdin) == (["tee", f"{tmp_path}/cgroup.freeze"], "1\n")
    thaw = undo.argv[undo.argv.index("--") + 1 :]
    assert subprocess.run(thaw).returncode == 0
    assert not (tmp_path / "cgroup.freeze").exists()
    (tmp_path / "cgroup.freeze").write_text("1\n")
    subprocess.run(thaw, check=True)
    assert (tmp_path / "cgroup.freeze").read_text() == "0\n"


def test_what_does_not_run_cannot_be_frozen():
    with pytest.raises(ValueError, match="does not run here"):
        commands("frozen", Host("", container=False, sysrq=True))


def test_the_operator_s_own_command_powers_a_host_off():
    assert commands("host_power_off", power_off=["ipmitool", "power", "off"])[0].argv == ["ipmitool", "power", "off"]


def test_a_kernel_is_told_to_reset_the_host_after_the_answer_has_left():
    assert "--on-active=1s" in commands("host_power_off")[0].argv


@pytest.mark.parametrize("host", [Host(FOLDER, True, True), Host(FOLDER, False, False)])
def test_a_kernel_that_is_shared_or_takes_no_order_is_not_asked(host):
    with pytest.raises(ValueError, match="give the command that powers it off"):
        commands("host_power_off", host)


def test_isolation_leaves_the_controller_a_way_of_either_family():
    script = _pg_fault.isolation(["192.0.2.9", "2001:db8::9"])
    assert script.count("policy accept") == 2
    for rule in ("ip saddr 192.0.2.9 accept", "ip daddr 192.0.2.9 accept", "ip6 saddr 2001:db8::9 accept", 'iif "lo"'):
        assert rule in script
    assert script.count("    drop\n") == 2
    assert "icmpv6" in script
    assert "icmpv6" not in _pg_fault.isolation(["192.0.2.9"])


def test_a_host_that_nobody_could_reach_any_more_is_not_isolated():
    with pytest.raises(ValueError, match="name the controller's"):
        commands("isolated", reachable=[])


def test_what_is_no_address_becomes_no_rule():
    with pytest.raises(ValueError, match="does not appear to be"):
        commands("isolated", reachable=["lb1; flush ruleset"])


@pytest.mark.parametrize("seconds", [0, 601])
def test_no_fault_lasts_beyond_its_bounds(seconds):
    with pytest.raises(ValueError, match="choose 1 to 600"):
        commands("frozen", seconds=seconds)


def test_an_unknown_fault_is_told_which_there_are():
    with pytest.raises(ValueError, match="choose one of frozen, host_power_off"):
        commands("flood")


def test_a_host_is_looked_at_where_its_unit_is(tmp_path):
    (tmp_path / "sys/fs/cgroup/system.slice/unit").mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/sysrq-trigger").write_text("")
    found = _pg_fault.look("/system.slice/unit\n", False, str(tmp_path))
    assert found == (str(tmp_path / "sys/fs/cgroup/system.slice/unit"), False, True, None)
    assert _pg_fault.look("\n", True, str(tmp_path / "nowhere")) == ("", True, False, None)


def test_the_controller_is_found_above_what_sudo_hides(tmp_path):
    for process, above, environment in (
        ("self", "20", b"SUDO_USER=ops\0"),
        ("20", "1", b"A=b\0SSH_CONNECTION=192.0.2.9 51000 192.0.2.31 22\0"),
        ("1", "0", b""),
    ):
        (tmp_path / process).mkdir()
        (tmp_path / process / "environ").write_bytes(environment)
        (tmp_path / process / "status").write_text(f"Name:\tx\nPPid:\t{above}\n")
    assert _pg_fault.controller(_pg_fault.environments_above(str(tmp_path))) == ["192.0.2.9"]
    assert _pg_fault.controller([b"", b"X=1"]) == []


PATRONI_S = Host("", container=True, sysrq=False, processes=(41, 42, 43))


@pytest.mark.parametrize(
    ("fault", "last"),
    [
        ("postmaster_killed", ["kill", "-KILL", "41"]),
        ("standby_down", ["kill", "-KILL", "41", "42", "43"]),
        ("postmaster_stopped", ["kill", "-STOP", "41"]),
        ("frozen", ["kill", "-STOP", "41", "42", "43"]),
    ],
)
def test_a_server_in_another_program_s_unit_is_broken_alone(fault, last):
    assert commands(fault, PATRONI_S)[-1].argv == last


@pytest.mark.parametrize("fault", ["frozen", "postmaster_stopped"])
def test_its_processes_go_on_when_the_time_is_over(fault):
    undo, stop = commands(fault, PATRONI_S)
    assert undo.argv[undo.argv.index("--") + 1 :] == ["kill", "-CONT", *stop.argv[2:]]


@pytest.mark.parametrize("fault", ["frozen", "postmaster_killed", "standby_down"])
def test_one_that_does_not_run_cannot_be_broken(fault):
    with pytest.raises(ValueError, match="does not run here, so there is nothing to break"):
        commands(fault, PATRONI_S._replace(processes=()))


def test_no_server_is_found_where_there_are_no_data(tmp_path):
    assert _pg_fault.look("", True, str(tmp_path), data_directory=str(tmp_path)).processes == ()
