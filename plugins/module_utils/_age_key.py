# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A key pair of age's from a secret, so that the secrets of a platform stay random values of one kind.

The format is age's own, https://age-encryption.org/v1: X25519 keys in Bech32 (BIP 173), without that document's limit of 90 characters.
"""

from __future__ import annotations

import hashlib
import typing as t

_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_VALUES = 6
_KEY_BYTES = 32


class KeyPair(t.NamedTuple):
    """What reads, and what writes."""

    identity: str
    recipient: str


def private_key(secret: str) -> bytes:
    """The 32 bytes of the private key that stand for a secret."""
    return hashlib.sha256(b"escala.ha age identity\n" + secret.encode()).digest()


def key_pair(private: bytes, public: bytes) -> KeyPair:
    """Both halves, 32 bytes each, as age writes them."""
    if len(private) != _KEY_BYTES or len(public) != _KEY_BYTES:
        raise ValueError(f"a key has {_KEY_BYTES} bytes, not {len(private)} and {len(public)}")
    return KeyPair(bech32("age-secret-key-", private).upper(), bech32("age", public))


def bech32(prefix: str, data: bytes) -> str:
    """The data in Bech32 behind a prefix in small letters."""
    values = _fives(data)
    expanded = [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]
    checksum = _polymod([*expanded, *values, *[0] * _CHECKSUM_VALUES]) ^ 1
    values += [checksum >> 5 * (_CHECKSUM_VALUES - 1 - place) & 31 for place in range(_CHECKSUM_VALUES)]
    return f"{prefix}1{''.join(_CHARSET[value] for value in values)}"


def _fives(data: bytes) -> t.List[int]:
    """Groups of five bits, the last filled up with zeros."""
    length = -(-len(data) * 8 // 5)
    number = int.from_bytes(data, "big") << length * 5 - len(data) * 8
    return [number >> 5 * (length - 1 - place) & 31 for place in range(length)]


def _polymod(values: t.Iterable[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate(_GENERATOR):
            checksum ^= generator if top >> place & 1 else 0
    return checksum
