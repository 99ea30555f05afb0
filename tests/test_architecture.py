"""Who may import whom: the arrows of docs/architecture.md run one way."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.imports import ROOT, closure, direct

GROUND = "faceline"  # its own files: settings, errors, atomic files, Dask, the console
ALLOWED = {
    GROUND: set(),
    "faceline/faces": {GROUND},
    "faceline/datasets": {"faceline/faces", GROUND},
    "faceline/evaluation": {"faceline/datasets", "faceline/faces", GROUND},
    "faceline/learning": {"faceline/datasets", "faceline/faces", GROUND},
    "faceline/audit": {"faceline/datasets", "faceline/evaluation", "faceline/faces", "faceline/learning", GROUND},
    "faceline/export": {"faceline/datasets", "faceline/faces", "faceline/learning", GROUND},
    "faceline/gates": {"faceline/datasets", "faceline/evaluation", "faceline/faces", "faceline/learning", GROUND},
}
FILES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "faceline").rglob("*.py"))
PROGRAMS = {"faceline/cli.py", "faceline/crossvalidate.py"}  # stand on everything


def wing(file: str) -> str:
    """The wing that a file of faceline lies in; the ground floor for those beside the wings."""
    parts = Path(file).parts
    return "/".join(parts[:2]) if len(parts) > 2 else GROUND


@pytest.mark.parametrize("file", [file for file in FILES if file not in PROGRAMS])
def test_a_wing_imports_only_what_it_stands_on(file: str) -> None:
    imported = {wing(other) for other in direct(file)} - {wing(file)}
    assert imported <= ALLOWED[wing(file)]
    assert not any(other.startswith("stages/") for other in closure(file))


def test_nothing_imports_the_flows_and_they_import_no_stage() -> None:
    for top in ("faceline", "stages"):
        for path in (ROOT / top).rglob("*.py"):
            assert not any(other.startswith("pipelines/") for other in direct(path.relative_to(ROOT).as_posix())), path
    for path in (ROOT / "pipelines").glob("*.py"):
        assert not any(other.startswith("stages/") for other in direct(f"pipelines/{path.name}")), path


def test_the_server_is_imported_by_its_command_alone_and_imports_no_stage_or_flow() -> None:
    for top in ("faceline", "stages", "pipelines"):
        for path in (ROOT / top).rglob("*.py"):
            file = path.relative_to(ROOT).as_posix()
            imports = any(other.startswith("serving/") for other in direct(file))
            assert imports == (file == "faceline/cli.py"), file
    for path in (ROOT / "serving").rglob("*.py"):
        for other in direct(path.relative_to(ROOT).as_posix()):
            assert other.startswith(("faceline/", "serving/")), (path, other)


def test_flows_load_neither_tensorflow_nor_great_expectations() -> None:
    """They run DVC as a program: a served flow must not hold, or wait for, what its stages need."""
    flows = "check", "compare", "crossvalidate", "deployments", "promote", "rebuild", "tune"
    code = "; ".join(["import sys", *(f"import pipelines.{name}" for name in flows), "print(*sys.modules)"])
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert not {"tensorflow", "keras", "great_expectations", "dvc.repo"} & set(loaded.split())


def test_stages_do_not_import_one_another() -> None:
    for path in (ROOT / "stages").glob("*.py"):
        assert not any(other.startswith("stages/") for other in direct(f"stages/{path.name}")), path


@pytest.mark.parametrize("package", ["great_expectations", "tensorflow", "keras", "mtcnn"])
def test_heavy_packages_are_imported_only_where_they_are_needed(package: str) -> None:
    """Reading settings, gates' suites and tables must not cost seconds."""
    light = [f for f in FILES if wing(f) in (GROUND, "faceline/gates", "faceline/datasets")]
    for file in light:
        for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
            assert not line.startswith((f"import {package}", f"from {package}")), file
