"""One architecture a file, found by its name.

A module `<name>.py` here is an architecture that a recipe can choose. It has

    class Arguments(Settings)       its settings, under `arguments` in the recipe
    TARGETS                         the targets that it can learn
    def build(image, targets, arguments) -> {target: features}
    def initialize(model, arguments) -> str   (optional)
    SCALING                         (optional) how pictures must be scaled for its pretrained weights

`build` takes a symbolic image (batch, side, side, channels), scaled as the recipe says, and gives what the head of each
target starts from, (batch, n). `initialize` puts pretrained weights into a model that holds what `build` built, before
its first epoch, and says in a few words what it put there. An argument that is a Path is a file of such weights.
Modules import Keras inside these functions, so that settings can be checked without it; modules with a leading
underscore are shared parts.
"""

import hashlib
import importlib
import pkgutil
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from faceline.errors import WeightsError
from faceline.files import sha256_file
from faceline.params import Settings

if TYPE_CHECKING:
    import keras

    from faceline.learning.recipe import Scaling


class Network(Protocol):
    """What a module of this package offers."""

    Arguments: type[Settings]
    TARGETS: tuple[str, ...]

    def build(
        self, image: "keras.KerasTensor", targets: Sequence[str], arguments: Settings
    ) -> Mapping[str, "keras.KerasTensor"]:
        """The features (batch, n) that the head of each target starts from."""
        ...


def initialize(name: str, model: "keras.Model", arguments: Settings) -> str | None:
    """Give a model of the architecture called `name` its pretrained weights; what they are, None where it has none."""
    found = getattr(importlib.import_module(f"{__name__}.{name}"), "initialize", None)
    return None if found is None else cast(str, found(model, arguments))


def scaling(name: str) -> "Scaling | None":
    """How the architecture called `name` takes pictures; None where any scaling will do."""
    return cast("Scaling | None", getattr(load(name), "SCALING", None))


def names() -> tuple[str, ...]:
    """The architectures that there are."""
    return tuple(sorted(item.name for item in pkgutil.iter_modules(__path__) if not item.name.startswith("_")))


def load(name: str) -> Network:
    """The architecture called `name`, one of `names()`."""
    return cast(Network, importlib.import_module(f"{__name__}.{name}"))


def digest(name: str, arguments: Settings) -> str:
    """SHA-256 over what an architecture's weights depend on: its source, its shared parts, its files of weights.

    Raises:
        WeightsError: a file of weights is missing.
    """
    files = [path for _, path in arguments if isinstance(path, Path)]
    if missing := [path for path in files if not path.is_file()]:
        raise WeightsError(f"{missing[0]} is missing; {name} starts from the weights in it")
    code = [file.read_bytes() for file in sorted(_sources(Path(__path__[0]) / f"{name}.py"))]
    return hashlib.sha256(b"\0".join([*code, *(sha256_file(path).encode() for path in files)])).hexdigest()


def _sources(file: Path) -> set[Path]:
    """`file` and the shared parts that it names, directly or through others."""
    words = set(re.findall(r"\w+", file.read_text(encoding="utf-8")))
    named = {part for part in file.parent.glob("_*.py") if part.stem in words - {"__init__"}} - {file}
    return {file}.union(*(_sources(part) for part in named))
