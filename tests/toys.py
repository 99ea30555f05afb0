"""Toy shards and recipes: pictures of 24 pixels whose brightness tells the age and whose hue tells the gender."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from faceline.datasets.records import MANIFEST, ShardSettings, write_part
from faceline.faces.decoding import Pixels, encode_png
from faceline.files import write_json
from faceline.learning.recipe import Recipe
from faceline.params import parse_settings

SIDE = 24  # pixels of a crop
ROWS = {"train": 48, "val": 16, "test": 8}
RECIPE: Mapping[str, Any] = {
    "networks": [
        {
            "network": "system_d",
            "arguments": {"filters": 2, "dropout": 0.2},
            "targets": {"age": {"loss": "dldl"}, "gender": {"loss": "crossentropy"}},
        }
    ],
    "input_size": 28,  # the smallest that the network can take
    "augmentation": {"flip": True, "smallest_crop": 0.8, "brightness": 0.1, "erase": 0.2},
    "optimizer": {"name": "adam", "learning_rate": 0.003},
    "schedule": {"name": "plateau", "patience": 1},
    "batch_size": 16,
    "epochs": 3,
    "early_stopping": {"patience": 5},
    "seed": 1,
    "deterministic": True,
}


def recipe(**changes: Any) -> Recipe:
    """The toy recipe with some settings changed."""
    return parse_settings(Recipe, {**RECIPE, **changes}, "recipes.toy")


def network(*targets: str) -> dict[str, Any]:
    """A tiny compact network for some targets; for all where none is named."""
    heads = {"age": {"loss": "dldl"}, "gender": {"loss": "crossentropy"}, "race": {"loss": "crossentropy"}}
    learned = {name: head for name, head in heads.items() if name in targets or not targets}
    return {"network": "compact", "arguments": {"width": 2, "dropout": 0.2}, "targets": learned}


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Rows of a shard that holds raw pixels; every third has no race."""
    random = np.random.default_rng(seed)
    found = []
    for index in range(count):
        age, gender = int(random.integers(10, 90)), int(random.integers(2))
        picture = random.integers(0, 40, (SIDE, SIDE, 3)) + 2 * age
        picture[..., 2 * gender] //= 2
        labels = {"age": age, "gender": gender, "race": None if index % 3 == 0 else int(random.integers(5))}
        found.append({"image_id": f"{seed}-{index}", "crop": picture.astype(np.uint8).tobytes(), **labels})
    return found


def pixels(row: Mapping[str, Any]) -> Pixels:
    """The picture of a row."""
    return np.frombuffer(row["crop"], np.uint8).reshape(SIDE, SIDE, 3)


def write_shards(folder: Path, settings: ShardSettings) -> Path:
    """A folder of toy shards."""
    folder.mkdir(parents=True)
    files = []
    for seed, (subset, count) in enumerate(ROWS.items()):
        (folder / subset).mkdir()
        data = rows(count, seed)
        if settings.pixels == "png":
            data = [{**row, "crop": encode_png(pixels(row))} for row in data]
        for number, start in enumerate(range(0, count, settings.rows)):
            part = data[start : start + settings.rows]
            files += write_part(part, folder / subset, number, settings.formats)
    counts = {"age": {"20": 1, "30": 1, "70": 1}, "gender": {"0": 1, "1": 2}, "race": {"3": 2, "unknown": 1}}
    manifest = {
        "crop_size": SIDE,
        "pixels": settings.pixels,
        "files": files,
        "formats": sorted(settings.formats),
        "rows": ROWS,
    }
    write_json(folder / MANIFEST, {**manifest, "label_counts": dict.fromkeys(ROWS, counts)})
    return folder
