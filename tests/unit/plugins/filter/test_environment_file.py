from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.filter.environment_file import FilterModule

environment_file = FilterModule().filters()["environment_file"]


def test_variables_are_quoted_and_ordered():
    assert environment_file({"B": "two words", "A": 1, "C": True}) == 'A="1"\nB="two words"\nC="true"\n'


def test_no_variables_make_an_empty_file():
    assert environment_file({}) == ""


def test_what_systemd_would_read_otherwise_is_escaped():
    assert environment_file({"A": 'say "hi" to $HOME\\`x`'}) == 'A="say \\"hi\\" to \\$HOME\\\\\\`x\\`"\n'


@pytest.mark.parametrize("name", ["1A", "A-B", "", "A B"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(AnsibleFilterError, match="is no name"):
        environment_file({name: "x"})


@pytest.mark.parametrize("value", ["two\nlines", "bell\x07"])
def test_what_a_line_cannot_hold_is_refused(value):
    with pytest.raises(AnsibleFilterError, match="the value of A has a line break"):
        environment_file({"A": value})


@pytest.mark.parametrize("value", [None, ["a"], {"a": 1}])
def test_what_is_no_text_is_refused(value):
    with pytest.raises(AnsibleFilterError, match="the value of A must be a text or a number"):
        environment_file({"A": value})
