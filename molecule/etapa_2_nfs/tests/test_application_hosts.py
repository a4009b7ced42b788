"""The application's hosts after etapa 2: the share is mounted, encrypted, and what the instances use."""

import json
import re

testinfra_hosts = ["ansible://app_servers"]

SHARE = "/srv/uploads"


def test_every_instance_uses_the_share_and_is_ready(host):
    variables = host.ansible.get_variables()
    for port in variables["lab_app_ports"]:
        said = json.loads(host.check_output(f"curl --silent http://{variables['ansible_host']}:{port}/health/ready"))
        assert said["status"] == "ready", said
        assert said["checks"]["storage"]["ok"] is True
    told = host.file("/etc/tenant-app/environment").content_string.replace('"', "")
    assert "STORAGE_DRIVER=local" in told
    assert f"STORAGE_LOCAL_PATH={SHARE}" in told


def test_the_share_is_mounted_by_its_unit_with_what_was_decided(host):
    mounts = [line.split() for line in host.file("/proc/self/mounts").content_string.splitlines()]
    options = next(options.split(",") for _, path, kind, options, *_ in mounts if (path, kind) == (SHARE, "nfs4"))
    assert {"vers=4.2", "softerr", "proto=tcp", "xprtsec=mtls"} <= set(options)
    assert host.service("srv-uploads.automount").is_enabled


def test_all_that_can_be_under_way_has_room_in_the_buffer_of_the_connection(host):
    """Or it may never end: docs/shared-mount.md."""
    slots = int(host.file("/sys/module/nfs/parameters/max_session_slots").content_string)
    mounts = [line.split() for line in host.file("/proc/self/mounts").content_string.splitlines()]
    options = next(options.split(",") for _, path, kind, options, *_ in mounts if (path, kind) == (SHARE, "nfs4"))
    wsize = next(int(option.removeprefix("wsize=")) for option in options if option.startswith("wsize="))
    shown = host.check_output("ss --no-header --tcp --numeric --memory dport = 2049")
    [buffer] = [int(size) for size in re.findall(r"\btb(\d+)", shown)]
    assert buffer >= 3 * slots * wsize


def test_what_the_host_can_use_is_remembered_for_the_runs_to_come(host):
    assert json.loads(host.file("/etc/escala/shared_storage.json").content_string) == ["nfs"]


def test_nothing_can_be_written_below_the_mount(host):
    # Once for the share, once for what mounts it.
    uncovered = "umount --lazy /srv/uploads && umount --lazy /srv/uploads"
    below = host.check_output(
        f"unshare --mount sh -c '{uncovered} && lsattr -d /srv/uploads && stat -c %a /srv/uploads'"
    )
    assert "i" in below.split()[0]
    assert below.split()[-1] == "0"
