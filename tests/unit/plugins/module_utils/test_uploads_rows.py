import sys
import types

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _uploads_rows as rows
from ansible_collections.escala.ha.plugins.module_utils._uploads import Row, UploadsError

URL = "postgresql://app:s3cret@db1,db2:5432/app?sslmode=verify-full&sslrootcert=/etc/x/ca.pem&connection_limit=5&schema=public"


def test_what_only_prisma_knows_is_left_out_of_an_address():
    expected = "postgresql://app:s3cret@db1,db2:5432/app?sslmode=verify-full&sslrootcert=/etc/x/ca.pem"
    assert rows.for_libpq(URL) == expected
    assert rows.for_libpq("postgresql://app@db1/app") == "postgresql://app@db1/app"


def test_rows_have_a_key_a_size_and_a_sum():
    assert rows.rows_of([("t/a", 3, "ABC "), ("t/b", "4", "d")]) == {"t/a": Row(3, "abc"), "t/b": Row(4, "d")}


@pytest.mark.parametrize("fetched", [[("t/a",)], [("t/a", "many", "x")], [(1, None, "x")], [1]])
def test_other_columns_are_refused_with_the_variable_s_name(fetched):
    with pytest.raises(UploadsError, match="migrate_uploads_query must give three columns"):
        rows.rows_of(fetched)


@pytest.fixture
def psycopg(monkeypatch):
    found = types.ModuleType("psycopg")
    found.Error = type("Error", (Exception,), {})
    monkeypatch.setitem(sys.modules, "psycopg", found)
    return found


def test_a_database_that_refuses_is_said_without_the_password(psycopg):
    def connect(*_arguments, **_options):
        raise psycopg.Error("connection to postgresql://app:s3cret@db1 failed:\n  refused")

    psycopg.connect = connect
    with pytest.raises(UploadsError, match="failed: refused; mend it, or set migrate_uploads_query") as refused:
        rows.read_rows(URL, "SELECT 1")
    assert "s3cret" not in str(refused.value)


def test_a_host_without_the_library_is_told_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UploadsError, match="python3-psycopg is not installed here"):
        rows.read_rows(URL, "SELECT 1")
