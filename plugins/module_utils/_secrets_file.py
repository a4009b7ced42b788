# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Add generated secrets to a file of variables, and touch nothing else in it."""

from __future__ import annotations

import os
import secrets
import tempfile
import typing as t

try:
    import yaml
except ImportError:
    HAS_YAML = False
else:
    HAS_YAML = True

HEADER = "---\n# The secrets of this platform. Generated where absent, never changed afterwards; see playbooks/secrets.yml.\n"
MODE = 0o600
_VAULT = "$ANSIBLE_VAULT;"


class SecretsFileError(Exception):
    """The file is not one to which a secret can be added; the text says what to do."""


def keys_in(text: str) -> t.Dict[str, bool]:
    """The variables that the text sets, each with whether it has a value; encrypted single values count as one.

    Only the structure is read, so that tags such as `!vault` need no meaning here.
    """
    try:
        document = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as broken:
        # The parser's own message quotes the line, which may hold a secret.
        line = getattr(getattr(broken, "problem_mark", None), "line", None)
        raise SecretsFileError(
            f"it is not YAML{'' if line is None else f' (line {line + 1})'}; mend it by hand"
        ) from None
    if document is None or (isinstance(document, yaml.ScalarNode) and not document.value):
        return {}
    if not isinstance(document, yaml.MappingNode):
        raise SecretsFileError("it holds no variables at its top level; mend it by hand")
    return {
        key.value: not isinstance(value, yaml.ScalarNode) or bool(value.value.strip()) for key, value in document.value
    }


def absent(text: str, wanted: t.Iterable[str], defined: t.Container[str]) -> t.List[str]:
    """Which of the wanted names have no value yet, neither in the text nor, by what the caller knows, elsewhere."""
    missing = [name for name in dict.fromkeys(wanted) if name not in defined]
    if text.startswith(_VAULT):
        if missing:
            raise SecretsFileError(
                f"it is encrypted and lacks {', '.join(missing)}; run `ansible-vault edit` on it and add strong random values,"
                " or give this run the vault's password if they are in it"
            )
        return []
    keys = keys_in(text)
    empty = [name for name in dict.fromkeys(wanted) if not keys.get(name, True)]
    if empty:
        raise SecretsFileError(
            f"{', '.join(empty)} has no value there; give it one, or remove the line to have one generated"
        )
    return [name for name in missing if name not in keys]


def with_added(text: str, names: t.Sequence[str], generate: t.Callable[[], str]) -> str:
    """The text as it is, with a line for each name at its end."""
    if not names:
        return text
    before = text or HEADER
    after = before + ("" if before.endswith("\n") else "\n") + "".join(f'{name}: "{generate()}"\n' for name in names)
    if set(keys_in(after)) != set(keys_in(before)) | set(names):
        raise SecretsFileError(
            "lines added at its end would not be variables; write one variable a line, `name: value`"
        )
    return after


def strong_value(length: int) -> str:
    """A random value of that many bytes, in letters that need no quoting in a URL, a shell or YAML."""
    return secrets.token_urlsafe(length)


def read(path: str) -> t.Tuple[str, t.Optional[int]]:
    """The file's text and permissions; an empty text and None when there is no file."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(), os.stat(path).st_mode & 0o7777
    except FileNotFoundError:
        return "", None
    except UnicodeDecodeError:
        raise SecretsFileError("it is not text; mend it by hand") from None


def write(path: str, text: str) -> None:
    """Replace the file in one step; at no time can another user read it."""
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    os.makedirs(folder, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=folder, prefix=".secrets-")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except BaseException:
        os.unlink(draft)
        raise
