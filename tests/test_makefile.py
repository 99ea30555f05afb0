"""`make clean`: what the pipeline makes again goes, what somebody put there or searched for hours stays."""

import shutil
import subprocess
from pathlib import Path

from tests.imports import ROOT

GOES = ("data/ingest", "models/bundle", "data/store/detect", "data/store/train", "data/store/crossvalidate")
STAYS = ("data/store/tune", "data/store/gates", "data/crossvalidate", "data/raw/utkface", "data/weights", "data/gates")


def test_clean_removes_only_what_the_pipeline_makes_again(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in (*GOES, *STAYS):
        (tmp_path / name).mkdir(parents=True)
    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
    assert [name for name in (*GOES, *STAYS) if (tmp_path / name).exists()] == list(STAYS)
