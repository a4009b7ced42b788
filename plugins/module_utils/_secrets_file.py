# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Add generated secrets to a file of variables, renew them or take them out, and touch nothing else in it."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import time
import typing as t

try:
    import yaml
except ImportError:
    HAS_YAML = False
else:
    HAS_YAML = True

HEADER = "---\n# The secrets of this platform. Generated where absent by playbooks/secrets.yml; new ones come by playbooks/rotate_passwords.yml.\n"
MODE = 0o600
_VAULT = "$ANSIBLE_VAULT;"
_DRAFT, _DRAFT_SECONDS = ".secrets-", 60


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


def _places(text: str, names: t.Iterable[str], what_for: str) -> t.List[t.Tuple[int, int, str]]:
    """Where each name's line begins, and its value ends, last first; refuses values that are not written as one plain scalar."""
    wanted = list(dict.fromkeys(names))
    if text.startswith(_VAULT):
        raise SecretsFileError(
            f"it is encrypted, and {', '.join(wanted)} cannot be {what_for} in it: run `ansible-vault decrypt` on it, run this again, and encrypt it after it"
        )
    keys_in(text)
    document = yaml.compose(text, Loader=yaml.SafeLoader)
    found = {key.value: (key, value) for key, value in document.value} if document else {}
    for name in wanted:
        if name not in found:
            raise SecretsFileError(
                f"it does not set {name}, which has its value from elsewhere: move that line into it"
            )
        value = found[name][1]
        if value.tag == "!vault" or not isinstance(value, yaml.ScalarNode) or value.style in ("|", ">"):
            raise SecretsFileError(
                f"{name} is encrypted or no plain value there, and cannot be {what_for}: write it as one line, `{name}: value`, and run this again"
            )
    return sorted(
        ((found[name][0].start_mark.index, found[name][1].end_mark.index, name) for name in wanted), reverse=True
    )


def with_renewed(text: str, names: t.Iterable[str], generate: t.Callable[[], str]) -> str:
    """The text with another value for each of the names, which must all be there."""
    after = text
    for start, end, name in _places(text, names, "renewed"):
        after = f'{after[:start]}{name}: "{generate()}"{after[end:]}'
    return _checked(after, set(keys_in(text)))


def without(text: str, names: t.Iterable[str]) -> str:
    """The text without the lines of those names that it has."""
    keys = set(names) if text.startswith(_VAULT) else set(keys_in(text))
    there = keys & set(names)
    if not there:
        return text
    after = text
    for start, end, _name in _places(text, there, "removed"):
        line_end = after.find("\n", end)
        after = after[:start] + (after[line_end + 1 :] if line_end >= 0 else "")
    return _checked(after, keys - there)


def _checked(text: str, names: t.Set[str]) -> str:
    """The text, if these are the variables that it sets."""
    if set(keys_in(text)) != names:
        raise SecretsFileError("its lines cannot be changed one by one; write one variable a line, `name: value`")
    return text


def changed_text(
    text: str, state: str, names: t.Sequence[str], defined: t.Container[str], length: int
) -> t.Tuple[str, t.Dict[str, t.List[str]]]:
    """The text as the module's `state` would have it, and which names were `added`, `renewed` and `removed` for it."""
    done: t.Dict[str, t.List[str]] = {"added": [], "renewed": [], "removed": []}
    if state == "present":
        done["added"] = absent(text, names, defined)
        return with_added(text, done["added"], lambda: strong_value(length)), done
    if state == "renewed":
        done["renewed"] = list(dict.fromkeys(names))
        return with_renewed(text, names, lambda: strong_value(length)), done
    after = without(text, names)
    done["removed"] = [] if after == text else sorted(set(keys_in(text)) - set(keys_in(after)))
    return after, done


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


def _remove_old_drafts(folder: str) -> None:
    """What a run has left that was killed in mid-write holds every secret."""
    for name in os.listdir(folder):
        draft = os.path.join(folder, name)
        with contextlib.suppress(FileNotFoundError):
            if name.startswith(_DRAFT) and os.stat(draft).st_mtime < time.time() - _DRAFT_SECONDS:
                os.unlink(draft)


def write(path: str, text: str) -> None:
    """Replace the file in one step; at no time can another user read it."""
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    os.makedirs(folder, exist_ok=True)
    _remove_old_drafts(folder)
    handle, draft = tempfile.mkstemp(dir=folder, prefix=_DRAFT)  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except BaseException:
        os.unlink(draft)
        raise
