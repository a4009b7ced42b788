from __future__ import annotations

from lab.network import faults_ruleset
from lab.state import Fault


def rules(*faults: Fault) -> list[str]:
    return [
        line.strip() for line in faults_ruleset(list(faults)).splitlines() if "iifname" in line or "oifname" in line
    ]


def test_a_cut_drops_both_ways() -> None:
    assert rules(Fault("cut", "a", "b")) == ['iifname "vb-a" oifname "vb-b" drop', 'iifname "vb-b" oifname "vb-a" drop']


def test_a_cut_in_one_way_drops_only_from_the_first_to_the_second() -> None:
    assert rules(Fault("cut", "a", "b", one_way=True)) == ['iifname "vb-a" oifname "vb-b" drop']


def test_an_isolated_host_neither_sends_nor_receives() -> None:
    assert rules(Fault("isolate", "a")) == ['iifname "vb-a" drop', 'oifname "vb-a" drop']


def test_loss_drops_its_share_each_way() -> None:
    assert rules(Fault("loss", "a", percent=30)) == [
        'iifname "vb-a" numgen random mod 100 < 30 drop',
        'oifname "vb-a" numgen random mod 100 < 30 drop',
    ]


def test_without_faults_nothing_is_dropped_and_what_was_there_goes() -> None:
    text = faults_ruleset([])
    assert rules() == []
    assert text.index("delete table bridge escala_lab") < text.index("chain between_hosts")
