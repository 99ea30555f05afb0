"""Through DVC: only what is new is detected, and the table is that of a run from scratch, to the byte."""

import re
import shutil
from collections.abc import Callable

import pytest

from faceline.files import digest
from stages.detect import TASKS
from tests.e2e.project import Project

pytestmark = pytest.mark.slow

TABLE = "data/detect/faces.parquet"


def detected(output: str) -> tuple[int, int]:
    """How many pictures were detected and how many known, as the stage says."""
    found = re.search(r"(\d+) pictures detected, (\d+) known from the store", output)
    assert found, output
    return int(found[1]), int(found[2])


def from_scratch(project: Project) -> str:
    """The digest of the table when the store is empty."""
    shutil.rmtree(project.root / "data/store/detect")
    new, known = detected(project.dvc("repro", "--single-item", "--force", "detect").stdout)
    assert known == 0 < new
    return digest(project.root / TABLE)


# Takes every second picture out of the store.
FORGET = """
from pathlib import Path
from faceline.datasets.tables import FACES
from faceline.files import read_table, write_table
import pyarrow as pa, pyarrow.compute as pc
for file in Path("data/store/detect").glob("*/*.parquet"):
    table = read_table(file)
    names = sorted(set(table["image_id"].to_pylist()))
    write_table(file, table.filter(pc.is_in(table["image_id"], pa.array(names[::2]))), FACES)
"""


def test_new_and_removed_pictures_cost_only_themselves(built: Project, copy_of: Callable[[Project], Project]) -> None:
    project = copy_of(built)
    before = digest(project.root / TABLE)
    project.set({"sample.faces": 100})
    new, known = detected(project.dvc("repro", "detect").stdout)
    assert 0 < new < known
    more = digest(project.root / TABLE)
    assert more != before
    assert from_scratch(project) == more
    project.set({"sample.faces": 90})
    project.dvc("repro", "detect")  # DVC brings the old table back; forced, the stage makes it again
    again, of_both = detected(project.dvc("repro", "--single-item", "--force", "detect").stdout)
    assert again < of_both
    assert digest(project.root / TABLE) == before


def test_neither_chunks_nor_workers_nor_the_store_change_a_byte_and_settings_only_what_they_must(
    built: Project, copy_of: Callable[[Project], Project]
) -> None:
    project = copy_of(built)
    before, crops = digest(project.root / TABLE), digest(project.root / "data/crop")
    force = ("repro", "--single-item", "--force", "detect")

    code = project.root / "faceline/datasets/detections.py"
    usual, other = "CHUNK, CHUNK_PIXELS = 256, 24_000_000", "CHUNK, CHUNK_PIXELS = 7, 100_000"
    assert usual in code.read_text()
    code.write_text(code.read_text().replace(usual, other))
    project.set({"cluster.processes": 1})
    assert from_scratch(project) == before
    project.run("python", "-c", FORGET)
    new, known = detected(project.dvc(*force).stdout)
    assert abs(new - known) <= TASKS  # of each file of the store one half
    assert digest(project.root / TABLE) == before
    code.write_text(code.read_text().replace(other, usual))

    project.set({"cluster.processes": None, "datasets.sample.crop.margin": 0.2})
    told = project.dvc("repro", "crop").stdout
    assert "Running stage 'detect'" not in told
    assert "Running stage 'crop'" in told
    assert digest(project.root / TABLE) == before
    assert digest(project.root / "data/crop") != crops

    project.set({"datasets.sample.detect.thresholds": [0.6, 0.7, 0.9]})
    everything, none = detected(project.dvc("repro", "--single-item", "detect").stdout)
    assert (everything, none) == (new + known, 0)
    project.set({"datasets.sample.detect.thresholds": [0.6, 0.7, 0.8]})
    assert detected(project.dvc(*force).stdout) == (0, everything)  # what the old settings found is still there
    assert digest(project.root / TABLE) == before
