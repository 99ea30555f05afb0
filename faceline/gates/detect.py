"""The gate of data/detect: every kept picture was looked at, and what was found makes sense."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from faceline.datasets.tables import FACES
from faceline.gates.expectations import Gate, Inputs, Judged, between, equal, known, one_of, rows
from faceline.gates.frames import counted, facts, read_frame, read_summary, shape, share
from faceline.gates.limits import Share
from faceline.params import Settings

BOX = ["x", "y", "width", "height", "score"]
WIDEST = 2  # times the picture; a box may go beyond it, as networks guess at what the edge cuts off


class Limits(Settings):
    """Thresholds of the detect gate."""

    min_found: Share  # of the kept pictures: at least one face
    max_errors: Share  # of the kept pictures: the detector failed


def suite(inputs: Inputs, limits: Limits) -> Iterator[Judged]:
    """Shape, then each row, then the rows of each picture, then the whole."""
    yield from shape(inputs.table / "faces.parquet", FACES)
    faces = _faces(inputs.table / "faces.parquet")
    sizes = read_frame(inputs.beside / "kept.parquet", ["image_id", "width", "height"])
    kept = sizes["image_id"]
    yield _rows(faces, len(kept))
    yield _places(faces, sizes)
    pictures = _pictures(faces, kept)
    yield _answers(pictures)
    yield counted(read_summary(inputs.table), len(kept), len(kept), [])
    found, failed = int((pictures["count"] > 0).sum()), int((pictures["failed"] > 0).sum())
    shares = {"found": share(found, len(kept)), "failed": share(failed, len(kept))}
    expectations = [
        between(
            "found", limits.min_found, 1, why="pictures of faces have faces; fewer is a broken detector or decoder"
        ),
        between("failed", 0, limits.max_errors, why="a detector that fails more than now and then is broken"),
    ]
    yield facts("shares of the kept pictures", shares, expectations)


def _faces(path: Path) -> pd.DataFrame:
    """The table with `row`: what a row is, by which of its columns are null. Not every detector finds landmarks."""
    frame = read_frame(path, ["image_id", "count", "face", *BOX, "error"])
    filled = frame[["face", *BOX]].notna()
    whole, bare, failed = filled.all(axis=1), ~filled.any(axis=1), frame["error"].notna()
    kinds = [whole & ~failed & (frame["count"] > 0), bare & ~failed & (frame["count"] == 0)]
    kinds.append(bare & failed & frame["count"].isna())
    frame["row"] = np.select(kinds, ["face", "no face", "failure"], "contradictory")
    return frame


def _rows(faces: pd.DataFrame, kept: int) -> Judged:
    expectations = [
        rows(max(kept, 1), why="a kept picture has a row at least, be it one that says that nothing was found"),
        known("image_id", why="a face belongs to a picture"),
        one_of(
            "row", ["face", "no face", "failure"], why="a row is a whole box, or says that there is none, or the error"
        ),
        between("width", 1, None, why="a box has an area, or the crop would be empty"),
        between("height", 1, None, why="as for the width"),
        between("score", 0, 1, why="a score is a probability"),
        between("face", 0, None, why="faces are numbered from 0"),
    ]
    return Judged("faces.parquet", faces, "image_id", expectations, numbers={"rows": len(faces)})


def _places(faces: pd.DataFrame, sizes: pd.DataFrame) -> Judged:
    """Each box beside its picture: the pixels that both have, and how many times the picture it is. No box: null."""
    both = faces.merge(sizes, "left", "image_id", suffixes=("", "_picture"))
    for start, length in (("x", "width"), ("y", "height")):
        picture = both[f"{length}_picture"]
        both[f"shared_{length}"] = (both[start] + both[length]).clip(upper=picture) - both[start].clip(lower=0)
        both[f"times_{length}"] = both[length] / picture
    expectations = [
        between("shared_width", 1, None, why="a face is in its picture, or nothing of it could be cropped"),
        between("shared_height", 1, None, why="as for the width"),
        between("times_width", 0, WIDEST, why="a face is no larger than what its picture shows or its edge cuts off"),
        between("times_height", 0, WIDEST, why="as for the width"),
    ]
    return Judged("boxes in their pictures", both, "image_id", expectations)


def _pictures(faces: pd.DataFrame, kept: "pd.Series[str]") -> pd.DataFrame:
    """One row a picture that is kept or has a row: how often it is either, its count, faces, and their order."""
    ordered = faces.sort_values(["image_id", "face"], kind="stable")
    by_picture = ordered.groupby("image_id")
    descending = by_picture["score"].apply(lambda scores: bool(scores.dropna().is_monotonic_decreasing))
    numbered = by_picture["face"].apply(lambda face: face.dropna().tolist() == list(range(face.count())))
    frame = pd.DataFrame(
        {
            "kept": kept.value_counts(),
            "rows": by_picture.size(),
            "counts": by_picture["count"].nunique(dropna=False),
            "count": by_picture["count"].max(),
            "faces": by_picture["face"].count(),
            "failed": by_picture["error"].count(),
            "ordered": (descending & numbered).astype(int),
        }
    )
    frame = frame.fillna(dict.fromkeys(["kept", "rows", "counts", "faces", "failed", "ordered"], 0))
    frame["expected_rows"] = frame["count"].fillna(0).clip(lower=1)
    frame["expected_faces"] = frame["count"].fillna(0)
    return frame.sort_index().rename_axis("image_id").reset_index()


def _answers(pictures: pd.DataFrame) -> Judged:
    expectations = [
        rows(1, why="there are pictures"),
        one_of("kept", [1], why="faces of a picture that is not kept have no labels"),
        between("rows", 1, None, why="every kept picture was looked at, and says so"),
        one_of("counts", [1], why="the rows of a picture agree about the number of its faces"),
        equal("rows", "expected_rows", why="a row a face, or one row that says that there is none"),
        equal("faces", "expected_faces", why="the count is that of the faces"),
        one_of("ordered", [1], why="faces are numbered by descending score; crop and serving take them in this order"),
    ]
    return Judged("pictures", pictures, "image_id", expectations, numbers={"pictures": len(pictures)})


GATE = Gate(Limits, suite)
