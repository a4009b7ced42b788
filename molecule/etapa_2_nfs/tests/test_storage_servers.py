"""The servers of the share: one port, and nobody who is not named in the export."""

import testinfra

testinfra_hosts = ["ansible://storage_servers"]


def test_only_what_is_needed_listens(host):
    listening = host.check_output("ss --no-header --listening --tcp --numeric").splitlines()
    ports = {int(line.split()[3].rsplit(":", 1)[1]) for line in listening}
    assert not ports & {111, 20048}


def test_the_export_is_for_the_application_hosts_only(host):
    clients = {
        line.split("(")[0].split()[1]
        for line in host.file("/etc/exports.d/escala.exports").content_string.splitlines()
        if line.startswith("/")
    }
    mounting = testinfra.get_hosts(["ansible://app_servers"], ansible_inventory=host.backend.ansible_inventory)
    assert clients == {one.ansible.get_variables()["ansible_host"] for one in mounting}


def test_the_key_of_its_tls_is_root_s_alone(host):
    for file in host.check_output("find /etc/ssl/escala -name '*.key' -o -name '*.key.pem'").split():
        assert (host.file(file).user, host.file(file).mode & 0o077) == ("root", 0)
