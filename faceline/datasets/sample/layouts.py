"""The layouts that the sample can be written in: one for each reader of sources.

imdb_wiki has every fault, with the tables that go with it; the others hold the ordinary people and some children, all
of them rightly labelled, and utkface a few of that dataset's odd names.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from faceline.datasets.sample.archive import write_tar, write_zip
from faceline.datasets.sample.encoding import MISSING
from faceline.datasets.sample.faults import faulty
from faceline.datasets.sample.population import Row, ordinary
from faceline.datasets.sample.rendering import encode_all
from faceline.datasets.sample.settings import SampleSettings
from faceline.datasets.sample.wiki import wiki_mat
from faceline.files import atomic_directory

PREFIX = "wiki"  # of the rows' keys: the prefix of the source in params.yaml, datasets.sample.ingest.sources
GREY_SIDE = 48  # pixels a side of a picture in the table of pixels

Encode = Callable[[Sequence[Row]], Iterator[bytes]]


def write_sample(settings: SampleSettings, layout: str, output: Path, workers: int | None = None) -> int:
    """Write the sample in one of LAYOUTS to the folder `output`; returns how many rows it has.

    The bytes depend on `settings` and `layout` alone, not on `workers` (processes; default: one a core).
    """
    with atomic_directory(output) as folder:
        return LAYOUTS[layout](settings, folder, partial(encode_all, workers=workers))


def _imdb_wiki(settings: SampleSettings, folder: Path, encode: Encode) -> int:
    rows = sorted(ordinary(settings) + faulty(settings), key=lambda row: row.path)
    there = [row for row in rows if row.form != MISSING]

    def members() -> Iterator[tuple[str, bytes]]:
        yield from zip((f"wiki_crop/{row.path}" for row in there), encode(there), strict=True)
        yield "wiki_crop/wiki.mat", wiki_mat(rows)

    write_tar(folder / "wiki_crop.tar", members())
    labels = ((_key(row), int(row.race)) for row in rows if row.stage != "ingest")
    _write_csv(folder / "labels.csv", ("path", "race"), labels)
    overrides = ((_key(row), *_override(row)) for row in rows if row.override)
    _write_csv(folder / "overrides.csv", ("path", "action", "age", "gender", "race", "note"), overrides)
    truth = ((_key(row), row.fault, row.stage, row.reason) for row in rows if row.fault)
    _write_csv(folder / "truth.csv", ("path", "fault", "stage", "reason"), truth)
    return len(rows)


def _utkface(settings: SampleSettings, folder: Path, encode: Encode) -> int:
    rows = _people(settings)
    names = [f"UTKFace/{_utkface_name(number, row)}" for number, row in enumerate(rows)]
    write_tar(folder / "UTKFace.tar.gz", zip(names, encode(rows), strict=True))
    return len(rows)


def _pixels_csv(settings: SampleSettings, folder: Path, encode: Encode) -> int:
    rows = _people(settings)
    table = (
        (row.age, int(row.race), _code(row), f"{_stamp(number)}.jpg.chip.jpg", _grey_levels(data))
        for number, (row, data) in enumerate(zip(rows, encode(rows), strict=True))
    )
    _write_csv(folder / "age_gender.csv", ("age", "ethnicity", "gender", "img_name", "pixels"), table)
    return len(rows)


def _manifest(settings: SampleSettings, folder: Path, encode: Encode) -> int:
    rows = _people(settings)
    write_zip(folder / "pictures.zip", zip((row.path for row in rows), encode(rows), strict=True))
    table = ((row.path, row.age, _code(row), int(row.race), row.page_id) for row in rows)
    _write_csv(folder / "manifest.csv", ("path", "age", "gender", "race", "subject"), table)
    return len(rows)


LAYOUTS: dict[str, Callable[[SampleSettings, Path, Encode], int]] = {
    "imdb_wiki": _imdb_wiki,
    "utkface": _utkface,
    "pixels_csv": _pixels_csv,
    "manifest": _manifest,
}


def _people(settings: SampleSettings) -> list[Row]:
    """The rows with right labels and one clear face, children included."""
    return ordinary(settings) + [row for row in faulty(settings) if row.fault == "too_young"]


def _key(row: Row) -> str:
    """The row's key as the reader gives it."""
    return f"{PREFIX}/{row.path}"


def _code(row: Row) -> int | str:
    """The project's gender code; empty where it is unknown."""
    return "" if row.gender is None else int(row.gender)


def _override(row: Row) -> tuple[Any, ...]:
    override = row.override
    if override is None:
        return ()
    gender = None if override.gender is None else int(override.gender)
    return override.action, override.age, gender, None, override.note


def _stamp(number: int) -> str:
    """A date and time of 17 digits, as UTKFace has: one picture a second from 2017-01-09 on."""
    hours, seconds = divmod(number, 3600)
    return f"201701{9 + hours // 24:02d}{hours % 24:02d}{seconds // 60:02d}{seconds % 60:02d}{number % 1000:03d}"


def _utkface_name(number: int, row: Row) -> str:
    """AGE_GENDER_RACE_STAMP.jpg.chip.jpg; the first ones are odd in the ways in which UTKFace's are."""
    labels, stamp = f"{row.age}_{_code(row)}_{int(row.race)}", _stamp(number)
    odd = (
        f"{row.age}_{_code(row)}_{stamp}.jpg.chip.jpg",  # no race
        f"{row.age}_{_code(row)}_{stamp}.jpg.chip.jpg",
        f"{labels}_{stamp}8.jpg.chip.jpg",
        f"{labels}_{stamp[:-1]}.jpg.chip.jpg",
        f"{labels}_{stamp} .jpg.chip.jpg",
        f"{labels}_{stamp}jpg.chip.jpg",
    )
    return odd[number] if number < len(odd) else f"{labels}_{stamp}.jpg.chip.jpg"


def _grey_levels(data: bytes) -> str:
    """The levels of a small grey picture of the face, row by row, parted by spaces."""
    with Image.open(io.BytesIO(data)) as image:
        margin = image.width // 6
        face = image.convert("L").crop((margin, margin, image.width - margin, image.height - margin))
    return " ".join(map(str, np.asarray(face.resize((GREY_SIDE, GREY_SIDE), Image.Resampling.BOX)).ravel().tolist()))


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
