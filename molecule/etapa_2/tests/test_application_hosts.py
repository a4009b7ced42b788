"""The application's hosts after etapa 2: instances that are told of the storage, and use it."""

import json

testinfra_hosts = ["ansible://app_servers"]


def ready(host, port):
    address = host.ansible.get_variables()["ansible_host"]
    return json.loads(host.check_output(f"curl --silent http://{address}:{port}/health/ready"))


def test_every_instance_uses_the_bucket_and_is_ready(host):
    for port in (3001, 3002):
        said = ready(host, port)
        assert said["status"] == "ready", said
        assert said["checks"]["storage"]["ok"] is True
    told = host.file("/etc/tenant-app/environment").content_string
    assert "STORAGE_DRIVER=" in told
    assert "s3" in next(line for line in told.splitlines() if line.startswith("STORAGE_DRIVER="))


def test_what_the_host_can_use_is_remembered_for_the_runs_to_come(host):
    assert json.loads(host.file("/etc/escala/shared_storage.json").content_string) == ["minio"]


def test_the_key_is_root_s_alone_and_in_no_environment(host):
    secret = host.file("/etc/tenant-app/credentials/STORAGE_S3_SECRET_ACCESS_KEY")
    assert (secret.user, secret.mode) == ("root", 0o600)
    assert secret.content_string not in host.file("/etc/tenant-app/environment").content_string
    assert host.run(f"grep -lF -f {secret.path} /proc/[0-9]*/environ /proc/[0-9]*/cmdline").stdout == ""
