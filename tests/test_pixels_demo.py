"""UTKFace written as system D's CSV, and read back."""

import io
import tarfile
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from demos.pixels import main
from faceline.datasets.sources import pixels_csv
from faceline.datasets.sources.source import Labels, Sample, SourceSettings
from faceline.faces.decoding import PIXELS_LIMIT, decode, encode_png


def test_pictures_become_rows_that_the_reader_of_pixels_takes(tmp_path: Path) -> None:
    grey = np.repeat(np.arange(48, dtype=np.uint8)[None], 48, axis=0)
    large = np.kron(grey, np.ones((4, 4), np.uint8))  # 192×192: every level is that of four by four pixels
    pictures = {
        "UTKFace/31_1_2_20170101000000001.jpg": encode_png(np.stack([large] * 3, axis=-1)),
        "UTKFace/no_labels.jpg": encode_png(grey),
        "UTKFace/40_0_0_20170101000000002.jpg": b"<html>",
    }
    with tarfile.open(tmp_path / "faces.tar", "w") as archive:
        for name, data in pictures.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    output = tmp_path / "pixels/age_gender.csv"
    result = CliRunner().invoke(main, [str(tmp_path / "faces.tar"), str(output)])
    assert result.exit_code == 0, result.output
    assert result.output.endswith(": 1 rows; 2 pictures without labels, or unreadable, left out\n")
    source = SourceSettings(reader="pixels_csv", file=output.name, prefix="pixels")
    (item,) = pixels_csv.read(source, output.parent, "").items
    assert isinstance(item, Sample) and item.labels == Labels(age=31, gender=1, race=2)
    assert np.array_equal(decode(item.data, max_pixels=PIXELS_LIMIT)[..., 0], grey)
