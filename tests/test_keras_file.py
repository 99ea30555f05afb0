"""A network's file: the same bytes whenever and wherever it is written, and Keras opens it."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from faceline.files import sha256_file
from faceline.learning.keras_file import save_network
from faceline.learning.recipe import Serving

# Keras 3.15 converts variables the old way when it saves a network.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
PROGRAM = """
import sys
from pathlib import Path
from tests.toy_bundle import write_toy_bundle
write_toy_bundle(Path(sys.argv[1]), half_precision=sys.argv[2] == "half")
"""


@pytest.mark.parametrize("precision", ["half", "whole"])
def test_a_program_that_runs_again_writes_the_same_bytes(tmp_path: Path, precision: str) -> None:
    """Addresses in memory differ between programs, and the seconds of the clock between their ends."""
    found = []
    for name in ("first", "second"):
        subprocess.run([sys.executable, "-c", PROGRAM, tmp_path / name, precision], check=True, capture_output=True)
        found.append({path.name: sha256_file(path) for path in (tmp_path / name).iterdir()})
    assert found[0] == found[1]
    assert any(name.endswith(".keras") for name in found[0])


def test_what_is_shared_within_a_network_is_numbered(tmp_path: Path) -> None:
    first, second = keras.regularizers.L2(0.5), keras.regularizers.L2(0.25)
    image = keras.Input((4,))
    values = image
    for each in (first, second) * 3:
        values = keras.layers.Dense(4, kernel_regularizer=each)(values)
    model = keras.Model(image, values)
    save_network(tmp_path / "it.keras", model, Serving())
    with zipfile.ZipFile(tmp_path / "it.keras") as archive:
        layers = json.loads(archive.read("config.json"))["config"]["layers"]
    entries = [layer["config"]["kernel_regularizer"] for layer in layers[1:]]
    numbers = [entry["shared_object_id"] for entry in entries[2:]]  # Keras numbers an object from the second time on
    assert numbers == [2, 3, 2, 3]  # 1 is the layers' type of number
    opened = keras.saving.load_model(tmp_path / "it.keras")
    assert [layer.kernel_regularizer.l2 for layer in opened.layers[1:]] == [0.5, 0.25] * 3
    assert all(map(np.array_equal, opened.get_weights(), model.get_weights()))
