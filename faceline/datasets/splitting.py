"""Which pictures stay together, and which subset and fold each group of them belongs to.

A group's subset depends on nothing but the seed and the group's own key, so new data moves an old picture only where a
new picture joins its group.
"""

import hashlib
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from faceline.datasets.duplicates import NearIdenticalSettings, groups, near_identical
from faceline.datasets.tables import SUBSETS, THUMBNAIL
from faceline.params import Settings

Share = Annotated[float, Field(gt=0, lt=1)]


class Fractions(Settings):
    """Shares of the three subsets; they add up to 1."""

    train: Share
    val: Share
    test: Share

    @model_validator(mode="after")
    def _whole(self) -> "Fractions":
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train, val and test add up to {total:g}; they must add up to 1")
        return self


class SplitSettings(Settings):
    """How a dataset is split."""

    seed: int
    fractions: Fractions
    folds: Annotated[int, Field(ge=2, le=100)]
    near_identical: NearIdenticalSettings


def assign(rows: pd.DataFrame, settings: SplitSettings) -> pd.DataFrame:
    """Group, subset and fold of each picture.

    Args:
        rows: image_id, subject (may be null), phash, thumbnail; one row a picture.

    Returns:
        The columns of tables.ASSIGNMENT, sorted by image_id.
    """
    rows = rows.sort_values("image_id", ignore_index=True)
    group = group_keys(rows, settings.near_identical)
    bounds = np.cumsum([getattr(settings.fractions, subset) for subset in SUBSETS])
    lots = group.map(lambda key: lot(settings.seed, "subset", key)).to_numpy(float)
    subset = np.asarray(SUBSETS)[np.minimum(np.searchsorted(bounds, lots, side="right"), len(SUBSETS) - 1)]
    fold = group.map(lambda key: int(lot(settings.seed, "fold", key) * settings.folds))
    return pd.DataFrame({"image_id": rows["image_id"], "group": group, "subset": subset, "fold": fold.astype("int8")})


def group_keys(rows: pd.DataFrame, settings: NearIdenticalSettings) -> "pd.Series[str]":
    """The key of each picture's group: the smallest image_id of all that share its subject or are its near twins."""
    thumbnails = np.frombuffer(b"".join(rows["thumbnail"]), np.uint8).reshape(len(rows), THUMBNAIL * THUMBNAIL)
    twins = near_identical(rows["phash"].to_numpy(np.uint64), thumbnails, settings, rows["image_id"].to_list())
    known = rows["subject"].dropna()
    first_of_subject = known.drop_duplicates()
    anchor = known.map(pd.Series(first_of_subject.index, first_of_subject))
    first = np.concatenate([twins.first, anchor.to_numpy(np.int64)])
    second = np.concatenate([twins.second, known.index.to_numpy(np.int64)])
    return rows["image_id"].groupby(groups(len(rows), first, second)).transform("min")


def lot(seed: int, purpose: str, key: str) -> float:
    """A number from 0 (included) to 1 (excluded), drawn by a hash."""
    return int(hashlib.sha256(f"{seed}:{purpose}:{key}".encode()).hexdigest()[:13], 16) / 16**13
