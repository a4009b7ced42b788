from __future__ import annotations

from ansible_collections.escala.ha.plugins.module_utils._postgresql_loading import Loaded, parsed, stale
from ansible_collections.escala.ha.plugins.module_utils._rolling import Source


def test_what_the_server_says_of_its_files():
    answer = '{"loaded_at" : 1795496000.123456, "faults" : ["pg_hba.conf line 4: invalid CIDR mask"]}\n'
    assert parsed(answer) == Loaded(1795496000.123456, ["pg_hba.conf line 4: invalid CIDR mask"])


def test_files_are_read_again_when_one_changed_since():
    sources = [Source("/etc/a", 100.0), Source("/etc/b", 300.0)]
    assert stale(Loaded(200.0, []), sources) == "/etc/b changed after the server last read it"
    assert stale(Loaded(300.0, []), sources) is None
