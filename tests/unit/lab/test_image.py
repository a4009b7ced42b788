from __future__ import annotations

from pathlib import Path

import pytest

from lab.image import kind_of, system_of


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("debian13-d379aa25074c", "machine"),
        ("debian13-d379aa25074c-1795000000", "machine"),
        ("debian13-vm-d379aa25074c", "vm"),
    ],
)
def test_an_images_folder_says_for_which_system_and_kind_it_is(name: str, kind: str) -> None:
    assert (system_of(Path(name)), kind_of(Path(name))) == ("debian13", kind)
