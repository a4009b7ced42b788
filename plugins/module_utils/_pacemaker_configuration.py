# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster's configuration lacks of what is wanted: by element and identifier, with what others have put beside it left alone."""

from __future__ import annotations

import copy
import os
import typing as t
import xml.etree.ElementTree as ET

# Sets of options, of which each option is for itself, and lists of elements that are wanted whole.
_OPTIONS = ("crm_config", "rsc_defaults", "op_defaults")
_ELEMENTS = ("resources", "constraints")


_NO_CLUSTER = "<cib><configuration/></cib>"

Changes = t.Dict[str, t.Tuple[str, str]]
# Runs a command; its exit status, output and errors.
Run = t.Callable[[t.Sequence[str]], t.Tuple[int, str, str]]


def bring_up_to_date(path: str, run: Run, folder: str, only_looks: bool) -> Changes:
    """Have the running cluster be configured as a file says, and return what was not so yet.

    `folder` takes what the cluster's programs read. Raises ValueError when the cluster does not answer or does not take it.
    """
    with open(path, encoding="utf-8") as file:
        wanted = file.read()
    status, current, errors = run(["cibadmin", "--query"])
    if status != 0 and not only_looks:
        raise ValueError(f"the cluster does not answer, so nothing was changed: {errors.strip()}")
    merged = merge(current if status == 0 else _NO_CLUSTER, wanted)
    if merged.changes and not only_looks:
        _patch(current, merged.cib, run, folder)
    return merged.changes


def _patch(current: str, wanted: str, run: Run, folder: str) -> None:
    """Only the difference, so that what others change meanwhile stays."""
    files = [os.path.join(folder, name) for name in ("original.xml", "new.xml", "patch.xml")]
    _write(files[0], current)
    _write(files[1], wanted)
    # It ends with 1 where the two differ.
    _write(files[2], run(["crm_diff", "--original", files[0], "--new", files[1], "--no-version"])[1])
    status, _output, errors = run(["cibadmin", "--patch", "--xml-file", files[2]])
    if status != 0:
        raise ValueError(f"the cluster does not take its new configuration, so nothing was changed: {errors.strip()}")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


class Merged(t.NamedTuple):
    """The whole configuration as it should be, and what in it is not so yet, as {element: (is, should be)}."""

    cib: str
    changes: Changes


def merge(current: str, wanted: str) -> Merged:
    """Put into the cluster's configuration what is wanted of it; both are whole CIBs as XML."""
    cib, model = _configuration(current), _configuration(wanted)
    changes: Changes = {}
    for section in (*_OPTIONS, *_ELEMENTS):
        merge_into = _merge_options if section in _OPTIONS else _merge_elements
        for element in model.find(f"./configuration/{section}") or []:
            merge_into(_section(cib, section), element, changes)
    return Merged(ET.tostring(cib, encoding="unicode"), changes)


def _configuration(text: str) -> ET.Element:
    try:
        root = ET.fromstring(text)  # noqa: S314  what the cluster itself wrote, or our role
    except ET.ParseError as error:
        raise ValueError(f"this is no cluster configuration: {error}") from error
    if root.find("./configuration") is None:
        raise ValueError("this is no cluster configuration: it has no element `configuration`")
    return root


def _section(cib: ET.Element, name: str) -> ET.Element:
    configuration = t.cast(ET.Element, cib.find("./configuration"))
    section = configuration.find(name)
    return ET.SubElement(configuration, name) if section is None else section


def _merge_options(section: ET.Element, wanted: ET.Element, changes: Changes) -> None:
    options = _by_id(section, wanted)
    if options is None:
        options = ET.SubElement(section, wanted.tag, wanted.attrib)
    for pair in wanted:
        name, value = pair.get("name", ""), pair.get("value", "")
        found = [have for have in options if have.get("name") == name]
        if found and found[0].get("value") == value:
            continue
        changes[name] = (found[0].get("value", "") if found else "", value)
        if found:
            found[0].set("value", value)
        else:
            options.append(copy.deepcopy(pair))


def _merge_elements(section: ET.Element, wanted: ET.Element, changes: Changes) -> None:
    have = _by_id(section, wanted)
    if have is not None and _canonical(have) == _canonical(wanted):
        return
    before = "" if have is None else _shown(have)
    changes[wanted.get("id", "")] = (before, _shown(wanted))
    element = copy.deepcopy(wanted)
    if have is None:
        section.append(element)
    else:
        section[list(section).index(have)] = element


def _by_id(section: ET.Element, wanted: ET.Element) -> t.Optional[ET.Element]:
    return next((element for element in section if element.get("id") == wanted.get("id")), None)


def _canonical(element: ET.Element) -> t.Any:
    return element.tag, sorted(element.attrib.items()), [_canonical(child) for child in element]


def _shown(element: ET.Element) -> str:
    shown = copy.deepcopy(element)
    shown.tail = None
    return ET.canonicalize(ET.tostring(shown, encoding="unicode"), strip_text=True).replace("><", ">\n<")
