"""The folder that `faceline export` writes: graphs, the bundle's card as it is, and what the graphs are.

predictor.onnx, predictor.tflite     from crops to answers (`faceline.export.answers`)
pnet, rnet, onet, .onnx and .tflite  MTCNN's networks (`faceline.export.finding`)
card.json                            the bundle's: crop geometry, detector settings, licence of the data
export.json                          inputs, outputs, labels, size and checksum of each file, measured differences
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from faceline.errors import ExportError
from faceline.export import agreement
from faceline.export.answers import NAME as PREDICTOR
from faceline.export.answers import predictor_graph
from faceline.export.finding import detector_graphs
from faceline.export.graph import Graph
from faceline.files import atomic_directory, digest, sha256_file, write_json
from faceline.learning.card import CARD, read_card

ABOUT = "export.json"
VERSION = 1  # raised when an older reader would misunderstand the folder

Differences = dict[str, dict[str, float]]  # by file, then by output
Format = Literal["onnx", "tflite"]
FORMATS: tuple[Format, ...] = ("onnx", "tflite")
PACKAGES = ("onnx", "onnxruntime", "tf2onnx")  # of the extra `export`; TensorFlow brings TFLite


class Runtime(Protocol):
    """A format: what makes a file of a graph, and what runs it."""

    def convert(self, graph: Graph, half_precision: bool) -> bytes:
        """The graph, with weights stored as float16 if asked."""
        ...

    def ask(self, model: bytes, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs by name."""
        ...


def export(
    bundle: Path,
    output: Path,
    *,
    formats: Sequence[Format] = FORMATS,
    detector: bool = True,
    check: int = 0,
    replace: bool = False,
    say: Callable[[str], None],
) -> Differences:
    """Write the bundle to the folder `output` in some formats; a killed run leaves nothing there.

    Args:
        detector: MTCNN's networks too.
        check: on how many rendered faces each graph is compared with what it was made from.
        replace: put it in the place of an older export.
        say: is told of each file.

    Returns:
        The largest differences that were found, by file and output.

    Raises:
        BundleError: the bundle is incomplete or altered.
        BusyError: another process writes to `output`.
        ExportError: see there.
    """
    place = output.resolve()  # neither a link nor `.` can be replaced itself
    _require_room(place, output, replace)
    _require_packages(formats)
    card = read_card(bundle)
    recipe = card.recipe.settings
    halved = all(recipe.of(entry).serving.half_precision for entry in recipe.networks)
    files: dict[str, Any] = {}
    differences: Differences = {}
    with atomic_directory(place) as folder:
        graphs = [predictor_graph(bundle), *(detector_graphs() if detector else ())]
        crops = agreement.rendered(check, card.crop.size)
        wanted = agreement.answers(bundle, crops) if check else {}
        for name, graph in product(formats, graphs):
            file, runtime = folder / f"{graph.name}.{name}", _runtime(name)
            # MTCNN's weights are no half precision: rounded, they would find other boxes.
            model = runtime.convert(graph, halved and graph.name == PREDICTOR)
            file.write_bytes(model)
            if check:
                differences[file.name] = _apart(graph, file.name, partial(runtime.ask, model), wanted, crops)
            files[file.name] = {**_signature(graph), "bytes": len(model), "sha256": sha256_file(file)}
            say(f"{output / file.name}: {len(model) / 1e6:.1f} MB{_worst(differences.get(file.name))}")
        shutil.copyfile(bundle / CARD, folder / CARD)
        about = {"format": VERSION, "bundle": digest(bundle), "labels": card.labels, "files": files}
        write_json(folder / ABOUT, {**about, "checked_on": check, "largest_differences": differences})
    return differences


def _apart(
    graph: Graph, file: str, ask: agreement.Ask, wanted: Mapping[str, np.ndarray], crops: np.ndarray
) -> dict[str, float]:
    """The differences of one file from what was made into it: of the predictor, from the bundle's answers `wanted`."""
    try:
        if graph.name == PREDICTOR:
            return agreement.answers_apart(ask, wanted, crops)
        return agreement.detection_apart(graph, ask, crops)
    except ExportError as error:
        raise ExportError(f"{file} does not answer as it should: {error.message}") from None


def _require_room(place: Path, output: Path, replace: bool) -> None:
    """Refuse a `place` that is taken or cannot be replaced, before any work; people know it as `output`."""
    if not place.exists():
        return
    if not replace:
        raise ExportError(f"{output} is there already; --replace puts the export in its place")
    if not (place / ABOUT).is_file():
        raise ExportError(f"{output} is no older export: it has no {ABOUT}; name another folder")
    if place.is_mount() or not os.access(place.parent, os.W_OK):
        found = f"{output} cannot be replaced: it is mounted, or {place.parent} cannot be written"
        raise ExportError(f"{found}; name another folder")


def _require_packages(formats: Sequence[Format]) -> None:
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if "onnx" in formats and missing:
        raise ExportError(f"ONNX needs {', '.join(missing)}, which is not installed: `pip install '.[export]'`")


def _runtime(name: Format) -> Runtime:
    if name == "onnx":
        from faceline.export import onnx_format

        return onnx_format
    from faceline.export import tflite_format

    return tflite_format


def _signature(graph: Graph) -> dict[str, Any]:
    takes = {"name": graph.takes.name, "type": graph.takes.dtype.name, "shape": graph.takes.shape.as_list()}
    return {"input": takes, "outputs": graph.gives}


def _worst(differences: dict[str, float] | None) -> str:
    if differences is None:
        return ""
    return ", off by at most " + ", ".join(f"{worst:.1e} ({name})" for name, worst in sorted(differences.items()))
