"""The page's JavaScript beside the Python that it repeats: pyramid, patches, suppression, crops, number by number."""

import json
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest
from mtcnn.utils.images import build_scale_pyramid
from PIL import Image

from faceline.faces.cropping import CropSettings, crop_face
from faceline.faces.detection import Face
from faceline.faces.mtcnn.boxes import by_score, squared, suppressed
from faceline.faces.mtcnn.cascade import SCALE_FACTOR
from faceline.faces.mtcnn.resampling import cut, shrink, turned
from faceline.params import read_settings
from serving.device.build import PAGE

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="needs Node.js")
# Typed arrays are printed as lists; of what comes in, pixels become bytes again.
CODE = """
import {{ readFileSync }} from "node:fs";
import * as module from "./{file}";
const plain = (key, value) => ArrayBuffer.isView(value) ? Array.from(value) : value;
const pixels = (key, value) => value?.data ? {{ ...value, data: Uint8Array.from(value.data) }} : value;
const calls = JSON.parse(readFileSync(0, "utf8"), pixels);
console.log(JSON.stringify(calls.map((given) => module.{name}(...given)), plain));
"""


def javascript(file: str, name: str, *calls: list[Any]) -> list[Any]:
    """What a function of the page gives for each list of arguments."""
    code = CODE.format(file=file, name=name)
    command = [str(NODE), "--input-type=module", "--eval", code]
    done = subprocess.run(command, cwd=PAGE, input=json.dumps(calls), capture_output=True, text=True, check=True)
    found: list[Any] = json.loads(done.stdout)
    return found


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3)).astype(np.uint8)


def sent(picture: np.ndarray) -> dict[str, Any]:
    return {"width": picture.shape[1], "height": picture.shape[0], "data": picture.ravel().tolist()}


def test_levels_of_the_pyramid_are_the_same_to_the_bit() -> None:
    sizes = [
        ((60, 97), (36, 58)),
        ((60, 97), (25, 41)),
        ((31, 30), (30, 30)),
        ((211, 49), (13, 12)),
        ((24, 480), (10, 204)),  # in 32 bits the last cell of a row reaches past the picture's edge
    ]
    calls, wanted = [], []
    for (height, width), (rows, columns) in sizes:
        picture = noise(height, width)
        level = np.empty((rows, columns, 3), np.float32)
        shrink(turned(picture), level)
        calls.append([sent(picture), columns, rows])
        wanted.append(level.ravel())
    for found, level in zip(javascript("resampling.js", "shrink", *calls), wanted, strict=True):
        assert np.array_equal(np.array(found, np.float32), level)


def test_patches_are_the_same_to_the_bit_over_the_edge_too() -> None:
    picture = noise(50, 70)
    boxes = np.array([[3.2, 4.7, 30.1, 31.6, 0.9], [-6, -3, 20, 23, 0.8], [55.5, 40.25, 80, 64.75, 0.7]])
    patches = np.empty((3, 24, 24, 3), np.float32)
    cut(picture, boxes, patches)
    found = javascript("resampling.js", "cut", [sent(picture), boxes.tolist(), 24])[0]
    assert np.array_equal(np.array(found, np.float32), patches.ravel())


def test_scales_are_the_package_s() -> None:
    sizes = [(24, 24, 20), (200, 200, 20), (1920, 1080, 20), (333, 500, 22), (4000, 3000, 24)]
    for size, found in zip(sizes, javascript("cascade.js", "scales", *map(list, sizes)), strict=True):
        wanted = build_scale_pyramid(*size, SCALE_FACTOR)
        assert np.allclose(found, wanted, rtol=1e-15)
        assert [int(size[0] * scale) for scale in found] == [int(size[0] * scale) for scale in wanted]


@pytest.mark.parametrize("of_smaller", [False, True])
def test_boxes_die_of_any_better_one(of_smaller: bool) -> None:
    random = np.random.default_rng(1)
    corners = random.uniform(0, 60, (300, 2))
    boxes = np.column_stack([corners, corners + random.uniform(8, 40, (300, 2)), random.permutation(300) / 300])
    wanted = suppressed(by_score(boxes), 0.5, of_smaller=of_smaller)
    assert 10 < len(wanted) < 200
    ordered = javascript("boxes.js", "byScore", [boxes.tolist()])[0]
    found = javascript("boxes.js", "suppressed", [ordered, 0.5, of_smaller])[0]
    assert found == wanted.tolist()
    assert javascript("boxes.js", "squared", [found])[0] == squared(wanted).tolist()


def test_halves_are_rounded_to_the_even_number_as_python_does() -> None:
    values = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.4999, 7.51, -7.51]
    assert javascript("boxes.js", "round", *([value] for value in values)) == [round(value) for value in values]


@pytest.mark.parametrize("fill", ["white", "picture"])
@pytest.mark.parametrize("margin", [0.0, 0.4])
@pytest.mark.parametrize("align", [False, True])
def test_crops_are_pillow_s(fill: str, margin: float, align: bool) -> None:
    eyes = (40, 30, 62, 38, 50, 45, 42, 55, 58, 57)
    faces = [Face(33, 20, 41, 50, 0.9, eyes), Face(-5, -8, 30, 33, 0.9), Face(70, 60, 90, 70, 0.9, eyes)]
    changes = {"fill": fill, "margin": margin, "align": align}
    card = read_settings(CropSettings, "datasets", "sample", "crop").model_copy(update=changes)
    picture = noise(90, 120)
    for size in (48, 64, 176):
        settings = card.model_copy(update={"size": size})
        compare_crops(picture, faces, settings)


@pytest.mark.parametrize(("width", "margin"), [(5003, 0.0), (9001, 0.0), (2000, 0.7)])  # reduced by 2, by 3, by 2
def test_crops_of_more_pixels_than_are_needed_are_pillow_s_too(width: int, margin: float) -> None:
    eyes = (101, 12, 1703, 31, 900, 20, 905, 28, 950, 29)
    faces = [Face(-5, 3, width, 31, 0.9), Face(-5, 3, width, 31, 0.9, eyes), Face(-9, -7, width + 9, 49, 0.9)]
    changes = {"fill": "white", "margin": margin, "align": True, "size": 256}
    settings = read_settings(CropSettings, "datasets", "sample", "crop").model_copy(update=changes)
    compare_crops(noise(37, width), faces, settings)


def test_reducing_is_pillow_s_to_the_bit_at_the_edges_too() -> None:
    pictures = [
        (noise(*size), factor) for size in [(37, 61), (12, 12), (1, 50), (70, 3)] for factor in (2, 3, 5, 6, 16)
    ]
    calls = [[sent(picture), factor] for picture, factor in pictures]
    for (picture, factor), found in zip(pictures, javascript("cropping.js", "reduced", *calls), strict=True):
        wanted = Image.fromarray(picture).reduce(factor)
        assert (found["width"], found["height"]) == wanted.size
        assert found["data"] == np.asarray(wanted).ravel().tolist()


def compare_crops(picture: np.ndarray, faces: list[Face], settings: CropSettings) -> None:
    told = settings.model_dump(mode="json")
    found = javascript("cropping.js", "cropFace", *([sent(picture), vars(face), told] for face in faces))
    for face, crop in zip(faces, found, strict=True):
        wanted = crop_face(picture, face, settings).ravel()
        # Turned pixels may be cut off on either side of a whole number.
        apart = np.abs(np.array(crop["data"], int) - wanted)
        assert apart.max() <= (1 if settings.align and face.landmarks else 0)
        assert apart.mean() < 0.01


def test_a_face_is_told_in_a_line_whatever_the_bundle_lacks() -> None:
    box = {"x": 1, "y": -2, "width": 30, "height": 40}
    age, label = {"years": 33.6, "low": 24.5, "high": 42.4}, {"label": "female", "probability": 0.974}
    whole = {"box": box, "score": 0.995, "age": age, "gender": label, "race": None}
    little = {"box": box, "score": 0.8, "age": {**age, "low": None, "high": None}, "gender": None, "race": None}
    place = "box 30×40 at 1, -2, found with"
    assert javascript("faces.js", "told", [whole], [little]) == [
        f"age 34 (25 to 42); female 97\u00a0%; {place} 100\u00a0%",
        f"age 34; {place} 80\u00a0%",
    ]
    counts = ["No face was found.", "1 face was found.", "2 faces were found."]
    assert javascript("faces.js", "counted", [[]], [[1]], [[1, 2]]) == counts
