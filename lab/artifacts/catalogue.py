"""The catalogue is data: which programs there are, and the recipe of each."""

import hashlib
import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.paths import CACHE

FOLDER = Path(__file__).resolve().parent
_NAME = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True)
class Vendor:
    """A ready-made build on the vendor's own site, which must have this checksum."""

    url: str
    sha256: str


@dataclass(frozen=True)
class Proof:
    """How a program shows that it starts and is the version asked for."""

    arguments: list[str]
    says: str


@dataclass(frozen=True)
class Artifact:
    """One program; `folder` holds the go.mod and go.sum that fix everything it is built from."""

    name: str
    about: str
    module: str
    version: str
    package: str
    proof: Proof
    folder: Path
    ldflags: list[str] = field(default_factory=list)
    output: str = ""
    vendor: Vendor | None = None
    cache: Path = field(default=CACHE / "artifacts")

    @property
    def recipe(self) -> str:
        """A checksum over all that decides what the program does, so that a changed recipe misses the cache."""
        digest = hashlib.sha256(repr((self.module, self.version, self.package, self.ldflags)).encode())
        for file in sorted(path for path in self.folder.iterdir() if path.is_file()):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
        return digest.hexdigest()[:12]

    @property
    def cached(self) -> Path:
        """Where the finished program is kept."""
        return self.cache / f"{self.name}-{self.version}-{self.recipe}" / (self.output or self.name)

    @property
    def program(self) -> Path:
        """Where the program is or will be: the file that is given comes before the cache."""
        return self.given or self.cached

    @property
    def log(self) -> Path:
        """What its last build said."""
        return self.cache / f"{self.name}.log"

    @property
    def given(self) -> Path | None:
        """The file that a person names in the environment to be used instead, if any."""
        variable = f"ESCALA_ARTIFACT_{self.name.upper().replace('-', '_')}"
        value = os.environ.get(variable)
        if not value:
            return None
        file = Path(value)
        if not file.is_file() or not os.access(file, os.X_OK):
            raise LabError(f"{variable} is {value}, which is no program; name an executable file, or unset it")
        return file.resolve()


def load(folder: Path = FOLDER, cache: Path = CACHE / "artifacts") -> dict[str, Artifact]:
    """Read `<folder>/catalogue.toml`; LabError for an unknown key, a missing one, or a go.mod that says another version."""
    try:
        data = tomllib.loads((folder / "catalogue.toml").read_text())
    except tomllib.TOMLDecodeError as error:
        raise LabError(f"catalogue.toml: {error}") from error
    return {name: _artifact(name, settings, folder / name, cache) for name, settings in data.items()}


def choose(names: list[str], catalogue: dict[str, Artifact]) -> list[Artifact]:
    """The artifacts of those names, all of them where none is named; LabError for a name that the catalogue lacks."""
    for name in names:
        if name not in catalogue:
            raise LabError(f"the catalogue has no {name!r}; it has {', '.join(catalogue)}")
    return [catalogue[name] for name in names or catalogue]


def _artifact(name: str, settings: dict[str, Any], folder: Path, cache: Path) -> Artifact:
    where = f"catalogue.toml, {name}"
    if not _NAME.fullmatch(name):
        raise LabError(f"{where}: a name has a-z, 0-9 and -, and begins with a letter")
    if "proof" not in settings:
        raise LabError(f"{where}: it has no `proof`, and a program that nobody has run is not handed out")
    try:
        vendor = Vendor(**settings.pop("vendor")) if "vendor" in settings else None
        proof = Proof(**settings.pop("proof"))
        artifact = Artifact(name=name, folder=folder, cache=cache, vendor=vendor, proof=proof, **settings)
    except TypeError as error:
        raise LabError(f"{where}: {error}") from error
    for file in ("go.mod", "go.sum"):
        if not (folder / file).is_file():
            raise LabError(f"{where}: {folder / file} is missing")
    if not re.search(
        rf"(?m)^(require)?\s+{re.escape(f'{artifact.module} {artifact.version}')}(?=\s|$)",
        (folder / "go.mod").read_text(),
    ):
        raise LabError(
            f"{where}: version is {artifact.version}, and {folder / 'go.mod'} requires another; make them equal"
        )
    return artifact
