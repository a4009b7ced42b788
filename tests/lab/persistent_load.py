"""The load with clients that do not wait for an answer that does not come: where connections hang although there is somebody who serves."""

from __future__ import annotations

from tests.lab.load import Load


class PersistentLoad(Load):
    """An address that moves takes the open connections along with nobody's goodbye: its client learns by a reset, or by silence."""

    try_seconds = 3.0
