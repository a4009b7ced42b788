"""What the stories of the role object_storage share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import collection
from tests.lab.certificates import Authority
from tests.object_storage.servers import Aws, Azurite, running_aws, running_azurite

collection.offer()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a module's stories keep their files."""
    return tmp_path_factory.mktemp("object_storage")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    """Who signed both services' certificates."""
    return Authority(folder / "authority", "Object storage of the tests")


@pytest.fixture(scope="module")
def aws(folder: Path, authority: Authority) -> Iterator[Aws]:
    """AWS without a bucket."""
    with running_aws(folder, authority) as server:
        yield server


@pytest.fixture(scope="module")
def azurite(folder: Path, authority: Authority) -> Iterator[Azurite]:
    """Azure without a container."""
    with running_azurite(folder, authority) as server:
        yield server
