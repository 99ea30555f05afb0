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
from tests.toy_bundle import write_toy_bundle

# Keras 3.15 converts variables the old way when it saves a network.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
PROGRAM = """
import sys
from pathlib import Path
from tests.test_keras_file import write_both
write_both(Path(sys.argv[1]))
"""


def write_both(folder: Path) -> None:
    """A bundle as it is, and one in half precision."""
    for name, half in (("whole", False), ("half", True)):
        write_toy_bundle(folder / name, half_precision=half)


def test_another_program_writes_the_same_bytes_at_another_time(tmp_path: Path) -> None:
    """Addresses in memory differ between programs, and the clock has gone on by seconds."""
    written = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        subprocess.run([sys.executable, "-c", PROGRAM, tmp_path / name], check=True, capture_output=True)
        written.append({path.relative_to(tmp_path / name): sha256_file(path) for path in tmp_path.glob(f"{name}/*/*")})
    assert written[0] == written[1]
    assert sum(path.suffix == ".keras" for path in written[0]) == 2


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
