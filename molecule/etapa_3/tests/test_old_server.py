"""The customer's one server, which the cluster has taken over from: it follows, and lets nobody in."""

import shlex

testinfra_hosts = ["ansible://legacy_servers"]


def ask(host, statement, database="app"):
    psql = f"psql --no-psqlrc -X -At -v ON_ERROR_STOP=1 -d {database} -c {shlex.quote(statement)}"
    return host.check_output(f"su postgres -c {shlex.quote(psql)}")


def test_it_lets_nobody_in_and_follows(host):
    assert ask(host, "SELECT datconnlimit FROM pg_database WHERE datname = 'app'") == "0"
    assert ask(host, "SELECT subname, subenabled, subsynccommit FROM pg_subscription") == "escala_migration|t|on"
    assert ask(host, "SELECT count(*) FROM pg_replication_slots") == "0"


def test_the_password_by_which_it_follows_is_its_own_secret(host):
    file = host.file("/etc/escala/migration.pgpass")
    assert (file.user, file.mode) == ("postgres", 0o600)
    secret = file.content_string.strip().rpartition(":")[2]
    assert len(secret) >= 32
    # Where a person could look: what the servers show of it, and the journal.
    shown = ask(host, "SELECT subconninfo FROM pg_subscription") + host.check_output("journalctl --no-pager -o cat")
    assert secret not in shown
