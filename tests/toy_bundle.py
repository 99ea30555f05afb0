"""Toy bundles: untrained networks on tiny crops, and a detector that finds the same faces everywhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from faceline.faces.cropping import CropSettings
from faceline.faces.detection import DetectSettings, Face
from faceline.learning.card import AgeInterval, Constants, DecodeSettings, Shards
from faceline.learning.packing import write_bundle
from faceline.learning.recipe import Recipe
from faceline.learning.rounding import round_weights
from faceline.learning.training import Trained, build
from faceline.params import read_settings
from tests.toys import SIDE, network, recipe

FACES = [Face(2, 3, 20, 26, 0.99), Face(30, 8, 18, 20, 0.95), Face(0, 0, 30, 30, 0.3)]


class Finds:
    """A detector that finds the same faces everywhere, but none in a black picture."""

    def detect(self, pictures: Sequence[np.ndarray]) -> list[list[Face]]:
        return [FACES if picture.any() else [] for picture in pictures]


def write_toy_bundle(folder: Path, *targets: str, temperatures: dict[str, float] | None = None, **serving: Any) -> Path:
    """An untrained bundle for some targets, for all where none is named, in a new folder."""
    return pack_toy_bundle(folder, recipe(networks=[network(*targets)], serving=serving), temperatures or {})


def pack_toy_bundle(folder: Path, settings: Recipe, temperatures: dict[str, float]) -> Path:
    """An untrained bundle of a recipe in a new folder."""
    keras.utils.set_random_seed(1)
    folder.mkdir()
    crop = read_settings(CropSettings, "datasets", "sample", "crop").model_copy(update={"size": SIDE})
    networks = [
        Trained(member.name, member.settings, build(member.settings, settings.of(member.settings)), [])
        for member in settings.all_members
    ]
    for each in networks:
        round_weights(each.model, settings.of(each.settings).serving)
    write_bundle(
        folder,
        networks,
        settings,
        name="toy",
        dataset="toys",
        licence="CC0-1.0",
        decode=DecodeSettings(max_pixels=10_000, min_side=16),
        detect=DetectSettings(enabled=True),
        crop=crop,
        shards=Shards(digest="0" * 64, rows={"train": 1, "val": 1, "test": 1}, crop_size=SIDE),
        constants=Constants(age_mean=30, age_median=30, gender=0, race=None),
        validation={"rows": 1},
        temperatures=temperatures,
        age_interval=AgeInterval(coverage=0.9, half_width=7.5) if "age" in settings.targets else None,
    )
    return folder
