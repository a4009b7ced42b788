from __future__ import annotations

import pytest

from ansible_collections.escala.ha.plugins.module_utils._postgresql_settings import raised, rendered, rising, sizes


def mib(text):
    assert text.endswith("MB")
    return int(text[:-2])


@pytest.mark.parametrize("memory_mib", [256, 512, 4096, 16384, 65536, 524288])
@pytest.mark.parametrize("cores", [1, 2, 16, 128])
@pytest.mark.parametrize("max_connections", [20, 200, 5000])
def test_what_is_given_out_fits_the_host(memory_mib, cores, max_connections):
    found = sizes(memory_mib, cores, max_connections)
    sorting_mib = int(found["work_mem"][:-2]) * max_connections / 1024
    # Below a megabyte for each nothing can be sorted at all.
    assert sorting_mib <= max(memory_mib / 4, max_connections)
    assert mib(found["shared_buffers"]) * 4 <= memory_mib
    assert mib(found["effective_cache_size"]) < memory_mib
    assert mib(found["maintenance_work_mem"]) * 16 <= max(memory_mib, 256)
    assert found["max_parallel_workers"] == cores
    assert found["max_parallel_workers_per_gather"] <= cores


def test_a_host_of_16_gib_with_8_cores():
    assert sizes(16384, 8, 200) == {
        "shared_buffers": "4096MB",
        "effective_cache_size": "12288MB",
        "work_mem": "20971kB",
        "maintenance_work_mem": "1024MB",
        "max_parallel_workers": 8,
        "max_parallel_workers_per_gather": 4,
        "max_parallel_maintenance_workers": 4,
    }


def test_what_is_too_small_is_refused():
    with pytest.raises(ValueError, match="128 MiB of memory is too small"):
        sizes(128, 2, 100)
    with pytest.raises(ValueError, match="a core"):
        sizes(1024, 0, 100)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (200, "200"),
        (0.9, "0.9"),
        (True, "on"),
        (False, "off"),
        ("8GB", "'8GB'"),
        ("", "''"),
        ('ANY 1 ("db1", "db2")', '\'ANY 1 ("db1", "db2")\''),
        ("it's", "'it''s'"),
        ("a\\b", "'a\\\\b'"),
    ],
)
def test_a_value_is_written_as_postgresql_reads_it(value, written):
    assert rendered({"a_setting": value}) == f"a_setting = {written}\n"


def test_settings_are_in_the_order_of_their_names():
    assert rendered({"b": 1, "a": 2, "pg_stat_statements.max": 3}) == "a = 2\nb = 1\npg_stat_statements.max = 3\n"


@pytest.mark.parametrize(
    "settings", [{"Upper": 1}, {"two words": 1}, {"a\nb": 1}, {"a": None}, {"a": "1\nb = 2"}, {"a": [1]}]
)
def test_what_could_not_be_a_setting_is_refused(settings):
    with pytest.raises(ValueError, match=r"is no name|must be a text"):
        rendered(settings)


def test_no_setting_is_below_what_it_may_be():
    least = {"max_connections": 200, "max_wal_senders": 10, "max_elsewhere": 5}
    settings = {"max_connections": 100, "max_wal_senders": 16}
    assert raised(settings, least) == {"max_connections": 200, "max_wal_senders": 16}
    assert raised({"max_connections": "300", "work_mem": "4MB"}, least) == {"max_connections": "300", "work_mem": "4MB"}
    assert raised(settings, {}) == settings
    with pytest.raises(ValueError, match="no whole number"):
        raised({"max_connections": "many"}, least)


def test_what_rises_is_what_is_higher_than_it_was_and_nothing_else():
    least = {"max_connections": 200, "max_wal_senders": 16, "max_prepared_transactions": 0, "max_elsewhere": 5}
    settings = {"max_connections": "300", "max_wal_senders": 16, "max_prepared_transactions": -1, "work_mem": "4MB"}
    assert rising(settings, least) == {"max_connections": 300}
    assert rising(settings, {}) == {}
    with pytest.raises(ValueError, match="no whole number"):
        rising({"max_connections": None}, least)
