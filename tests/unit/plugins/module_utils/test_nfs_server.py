from __future__ import annotations

import pytest

from ansible_collections.escala.ha.plugins.module_utils._nfs_server import differences

SHOWN = "versions:-3 +4 -4.0 -4.1 +4.2 \nthreads:16\nnfsv4leasetime:10\n"


def test_a_server_that_runs_with_its_configuration_differs_in_nothing():
    assert differences(SHOWN, {"versions": "-3 +4 -4.0 -4.1 +4.2", "threads": 16, "nfsv4leasetime": "10"}) == []


def test_each_difference_says_what_is_and_what_should_be():
    assert differences(SHOWN, {"threads": 8, "nfsv4leasetime": 90}) == [
        "threads is 16 and should be 8",
        "nfsv4leasetime is 10 and should be 90",
    ]


def test_a_file_that_the_kernel_did_not_show_is_a_misuse():
    with pytest.raises(ValueError, match="lacks nfsv4gracetime"):
        differences(SHOWN, {"threads": 16, "nfsv4gracetime": 10})
