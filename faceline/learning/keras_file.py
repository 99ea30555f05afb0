"""Keras's own file of a network, `.keras`, as the same bytes for the same network.

It is a zip of a configuration, weights in HDF5, and a note of when it was written. Keras puts the time into the note
and into the zip, and addresses in memory into the configuration, by which it knows an object that stands there again.
A training that is repeated would so give another digest for the same network, and its bundle would look changed.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

import keras

from faceline.learning.recipe import Serving
from faceline.learning.rounding import halved

CONFIGURATION, NOTE, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
NO_TIME = "1980-01-01@00:00:00"  # the first that a zip can say, and what it says where nobody gives one


def save_network(path: Path, model: keras.Model, serving: Serving) -> None:
    """Write a network to a `.keras` file, with float32 weights as float16 where `serving` asks for half precision.

    Keras opens it by itself, to the same weights if `rounding.round_weights` has been there before.
    """
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[CONFIGURATION] = _renumbered(members[CONFIGURATION])
    members[NOTE] = json.dumps(json.loads(members[NOTE]) | {"date_saved": NO_TIME}).encode()
    if serving.half_precision:
        members[WEIGHTS] = halved(members[WEIGHTS])
    # bzip2 sees the two bytes of a float16 as one letter of a small alphabet; deflate makes a fifth more of them.
    packing = zipfile.ZIP_BZIP2 if serving.rounding else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, packing if name == WEIGHTS else zipfile.ZIP_STORED)


def _renumbered(configuration: bytes) -> bytes:
    """A configuration whose shared objects are numbered as they come."""
    numbers: dict[int, int] = {}

    def renumber(entry: dict[str, Any]) -> dict[str, Any]:
        if (shared := entry.get("shared_object_id")) is not None:
            entry["shared_object_id"] = numbers.setdefault(shared, len(numbers) + 1)
        return entry

    return json.dumps(json.loads(configuration, object_hook=renumber)).encode()
