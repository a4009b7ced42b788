# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The code that daemons on hosts are made of: what a program imports of this collection, and the folder that has it on a host."""

from __future__ import annotations

import os
import sys
import types
import typing as t

_PACKAGE = __name__.rpartition(".")[0]


def sources(programs: t.Iterable[types.ModuleType]) -> t.Dict[str, str]:
    """The text of each program and of all that it imports of the collection, by module name."""
    found: t.Dict[str, str] = {}
    new = {program.__name__ for program in programs}
    while new:
        for name in new:
            loader = t.cast(t.Any, sys.modules[name].__loader__)
            found[name] = loader.get_source(name)
        new = {name for source in found.values() for name in _imported(source)} - set(found)
    return found


def _imported(source: str) -> t.Iterator[str]:
    for word in source.replace(",", " ").split():
        name = word if word.startswith(f"{_PACKAGE}.") else f"{_PACKAGE}.{word}"
        if word.rpartition(".")[2].startswith("_") and name in sys.modules:
            yield name


class Library(t.NamedTuple):
    """A folder, and what is to be in it. Its methods raise OSError."""

    directory: str
    sources: t.Mapping[str, str]

    def differences(self) -> t.Tuple[t.List[str], t.List[str]]:
        """The files to be written and those to be removed."""
        wanted = self._wanted()
        present = {name: _read(os.path.join(self.folder, name)) for name in self._present()}
        return (
            sorted(name for name, text in wanted.items() if present.get(name) != text),
            sorted(set(present) - set(wanted)),
        )

    def bring(self, written: t.Iterable[str], removed: t.Iterable[str]) -> None:
        """Write and remove those; a file is there whole or not at all."""
        wanted = self._wanted()
        os.makedirs(self.folder, 0o755, exist_ok=True)
        for name in written:
            path = os.path.join(self.folder, name)
            with open(f"{path}.new", "w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), 0o644)
                file.write(wanted[name])
                file.flush()
                os.fsync(file.fileno())
            os.replace(f"{path}.new", path)
        for name in removed:
            os.unlink(os.path.join(self.folder, name))

    @property
    def folder(self) -> str:
        """Where the modules are, below the folders that make their package."""
        return os.path.join(self.directory, *_PACKAGE.split("."))

    def _wanted(self) -> t.Dict[str, str]:
        return {f"{name.rpartition('.')[2]}.py": text for name, text in self.sources.items()}

    def _present(self) -> t.List[str]:
        try:
            return [name for name in os.listdir(self.folder) if name.endswith(".py")]
        except FileNotFoundError:
            return []


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
