from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from ansible_collections.escala.ha.plugins.module_utils._pacemaker_configuration import merge

WANTED = """<cib><configuration>
  <crm_config><cluster_property_set id="cib-bootstrap-options">
    <nvpair id="o-stonith" name="stonith-enabled" value="true"/>
  </cluster_property_set></crm_config>
  <resources>
    <group id="service"><primitive id="address" class="ocf" provider="heartbeat" type="IPaddr2"/></group>
  </resources>
  <constraints><rsc_order id="order" first="a" then="b"/></constraints>
  <rsc_defaults><meta_attributes id="d"><nvpair id="d-s" name="resource-stickiness" value="200"/></meta_attributes></rsc_defaults>
</configuration></cib>"""
NEW_CLUSTER = """<cib epoch="4"><configuration><crm_config><cluster_property_set id="cib-bootstrap-options">
<nvpair id="v" name="dc-version" value="3.0.0"/></cluster_property_set></crm_config><nodes><node id="1" uname="nas1"/></nodes>
<resources/><constraints/></configuration><status/></cib>"""


def test_a_new_cluster_gets_all_of_it_and_keeps_what_it_has() -> None:
    merged = merge(NEW_CLUSTER, WANTED)
    assert list(merged.changes) == ["stonith-enabled", "resource-stickiness", "service", "order"]
    root = ET.fromstring(merged.cib)  # noqa: S314  our own
    assert root.find(".//nvpair[@name='dc-version']") is not None
    assert root.find(".//node[@uname='nas1']") is not None
    assert root.find("./configuration/rsc_defaults/meta_attributes/nvpair[@value='200']") is not None


def test_a_second_time_there_is_nothing_to_change() -> None:
    once = merge(NEW_CLUSTER, WANTED)
    again = merge(once.cib, WANTED)
    assert again.changes == {}
    assert ET.canonicalize(again.cib) == ET.canonicalize(once.cib)


@pytest.mark.parametrize(
    ("was", "now", "names"),
    [
        ('value="true"', 'value="false"', ["stonith-enabled"]),
        ('value="200"', 'value="0"', ["resource-stickiness"]),
        ('type="IPaddr2"', 'type="IPaddr"', ["service"]),
        ('first="a"', 'first="c"', ["order"]),
    ],
)
def test_only_what_differs_is_changed(was: str, now: str, names: list[str]) -> None:
    current = merge(NEW_CLUSTER, WANTED).cib.replace(was, now)
    merged = merge(current, WANTED)
    assert list(merged.changes) == names
    assert was in merged.cib
    assert now not in merged.cib


def test_an_option_is_found_by_its_name_whatever_its_identifier() -> None:
    current = merge(NEW_CLUSTER, WANTED).cib.replace('id="o-stonith"', 'id="cib-bootstrap-options-stonith-enabled"')
    assert merge(current, WANTED).changes == {}


def test_what_others_placed_stays() -> None:
    fence = '<rsc_location id="drbd-fence-by-handler-uploads-replication" rsc="replication"/>'
    current = merge(NEW_CLUSTER, WANTED).cib.replace("<constraints>", f"<constraints>{fence}")
    merged = merge(current, WANTED)
    assert merged.changes == {}
    assert "drbd-fence-by-handler" in merged.cib


def test_a_change_shows_what_was_and_what_will_be() -> None:
    current = merge(NEW_CLUSTER, WANTED).cib.replace('first="a"', 'first="c"')
    before, after = merge(current, WANTED).changes["order"]
    assert 'first="c"' in before
    assert 'first="a"' in after


@pytest.mark.parametrize("text", ["", "no xml", "<cib/>"])
@pytest.mark.parametrize("which", [0, 1])
def test_what_is_no_configuration_is_said_so(text: str, which: int) -> None:
    both = [NEW_CLUSTER, WANTED]
    both[which] = text
    with pytest.raises(ValueError, match="no cluster configuration"):
        merge(*both)
