from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from faceline.datasets.crops import CropFormat
from faceline.datasets.records import read_manifest, read_rows
from faceline.datasets.tables import ASSIGNMENT, CROPS, KEPT
from faceline.faces.decoding import encode_png
from faceline.files import digest, read_json, sha256_file, write_table
from faceline.gates.passes import write_pass
from stages.shard import main
from tests.toys import SIDE, pixels, rows

PARAMS = "shard: {{formats: [tfrecord, parquet], rows: 7, pixels: {pixels}, seed: {seed}}}\n"
SUBSETS = ("train", "train", "train", "val", "test")


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tables of 40 rows in a working folder of its own, crops in two parts."""
    monkeypatch.chdir(tmp_path)
    write_tables(tmp_path, cuts=[25])
    return tmp_path


def write_tables(root: Path, cuts: list[int]) -> None:
    (root / "params.yaml").write_text(PARAMS.format(pixels="png", seed=1))
    data = rows(40, 0)
    for number, (start, stop) in enumerate(zip([0, *cuts], [*cuts, len(data)], strict=True)):
        write_part(root, number, cropped(data[start:stop]))
    write_table(root / "clean/kept.parquet", pa.Table.from_pylist(data, KEPT), KEPT)
    assignment = [{"image_id": row["image_id"], "subset": SUBSETS[index % 5]} for index, row in enumerate(data)]
    write_table(root / "split/assignment.parquet", pa.Table.from_pylist(assignment, ASSIGNMENT), ASSIGNMENT)


def cropped(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows as `crop` leaves them."""
    return [{"image_id": row["image_id"], "png": encode_png(pixels(row))} for row in data]


def write_part(root: Path, number: int, part: list[dict[str, Any]]) -> None:
    write_table(root / f"crop/faces/part-{number:05d}.parquet", pa.Table.from_pylist(part, CROPS), CROPS)


def run(root: Path, output: str = "shards") -> Result:
    for name in ("clean", "crop", "split"):
        write_pass(root / "gates", name, root / name)
    options = {"clean": "clean", "crop": "crop", "split": "split", "gates": "gates", "output": output}
    return CliRunner().invoke(main, [word for name, value in options.items() for word in (f"--{name}", value)])


def test_every_assigned_row_is_in_its_subset_with_its_picture_and_labels(tables: Path) -> None:
    assert run(tables).exit_code == 0
    expected: dict[str, list[Any]] = {"train": [], "val": [], "test": []}
    for index, row in enumerate(rows(40, 0)):
        expected[SUBSETS[index % 5]].append({**row, "crop": encode_png(pixels(row))})
    for subset, wanted in expected.items():
        found = sorted(read_rows(tables / "shards", subset), key=lambda row: row["image_id"])
        assert found == sorted(wanted, key=lambda row: row["image_id"])


@pytest.mark.parametrize("held", ["raw", "png"])
def test_shards_hold_pixels_or_pngs_of_them(tables: Path, held: str) -> None:
    (tables / "params.yaml").write_text(PARAMS.format(pixels=held, seed=1))
    assert run(tables).exit_code == 0
    crops = CropFormat.of(read_manifest(tables / "shards"))
    assert crops == CropFormat(held, SIDE)  # type: ignore[arg-type]
    stored = {
        row["image_id"]: row["crop"]
        for subset in ("train", "val", "test")
        for row in read_rows(tables / "shards", subset)
    }
    wanted = {row["image_id"]: pixels(row) for row in rows(40, 0)}
    assert stored.keys() == wanted.keys()
    for image_id, crop in stored.items():
        assert crop.startswith(b"\x89PNG") is (held == "png")
        assert np.array_equal(crops.unpack(crop), wanted[image_id])


def test_the_manifest_vouches_for_every_file(tables: Path) -> None:
    run(tables)
    manifest = read_manifest(tables / "shards")
    assert manifest["rows"] == {"train": 24, "val": 8, "test": 8}
    assert manifest["crop_size"] == SIDE
    assert [item["rows"] for item in manifest["files"] if item["file"].startswith("train")] == [7, 7, 7, 7, 7, 7, 3, 3]
    for item in manifest["files"]:
        assert item["sha256"] == sha256_file(tables / "shards" / item["file"])
    counts = manifest["label_counts"]["train"]
    assert [sum(counts[name].values()) for name in ("age", "gender", "race")] == [24, 24, 24]
    assert counts["race"]["unknown"] == 8
    assert read_json(tables / "shards/summary.json") == {"rows_in": 40, "kept": 40, "rejected": {}}


def test_the_bytes_do_not_depend_on_how_the_crops_were_cut(tables: Path) -> None:
    run(tables)
    write_tables(tables, cuts=[3, 30])
    run(tables, "again")
    assert digest(tables / "again") == digest(tables / "shards")


def test_another_seed_gives_another_order_of_the_same_rows(tables: Path) -> None:
    run(tables)
    (tables / "params.yaml").write_text(PARAMS.format(pixels="png", seed=2))
    run(tables, "again")
    first, second = ([row["image_id"] for row in read_rows(tables / name, "train")] for name in ("shards", "again"))
    assert first != second
    assert sorted(first) == sorted(second)


def test_a_row_without_its_crop_stops_the_stage(tables: Path) -> None:
    write_part(tables, 1, cropped(rows(40, 0)[26:]))
    result = run(tables)
    assert result.exit_code == 2
    assert "1 rows are not in all of crops, labels and assignment, as 0-25" in result.output
    assert not (tables / "shards").exists()


def test_crops_of_several_sizes_stop_the_stage(tables: Path) -> None:
    part = cropped(rows(25, 0))
    png = part[0]["png"]
    part[0]["png"] = png[:16] + (12).to_bytes(4) + png[20:]
    write_part(tables, 0, part)
    result = run(tables)
    assert result.exit_code == 2
    assert "{12: 1, 24: 39}" in result.output


def test_crops_that_did_not_pass_their_gate_are_refused(tables: Path) -> None:
    run(tables)
    write_part(tables, 1, [])
    options = [f"--{name}={name}" for name in ("clean", "crop", "split", "gates")]
    result = CliRunner().invoke(main, [*options, "--output=shards"])
    assert result.exit_code == 3
