"""The pass that a gate leaves when its tables are good, and the refusal of whoever reads them without it.

A pass is a small JSON file with the digest of what was judged. A stage that reads a table calls `require_pass` first:
a missing pass, or one given to other bytes, stops it. So a stale pass cannot let a bad table through, not even under
`dvc repro --single-item` or after a `dvc checkout`. Nothing here imports Great Expectations.
"""

from pathlib import Path

from faceline.errors import GateError
from faceline.files import digest, read_json, write_json


def write_pass(gates: Path, name: str, tables: Path) -> None:
    """Leave `gates/<name>.pass` for the file or folder `tables`, which gate `name` has judged good."""
    write_json(pass_file(gates, name), {"gate": name, "digest": digest(tables)})


def require_pass(gates: Path, name: str, tables: Path) -> None:
    """Return if gate `name` passed exactly these `tables`.

    Raises:
        GateError: the pass is missing or was given to other tables.
    """
    file = pass_file(gates, name)
    if not tables.exists():
        raise GateError(f"{tables} is missing; run `dvc repro` to make it")
    if not file.exists():
        raise GateError(f"gate {name} has not passed {tables}: {file} is missing; see {gates / name}.json")
    if read_json(file)["digest"] != digest(tables):
        raise GateError(f"gate {name} passed other tables than {tables} as it is now; run `dvc repro gate@{name}`")


def pass_file(gates: Path, name: str) -> Path:
    """Where the pass of gate `name` lies."""
    return gates / f"{name}.pass"
