"""Build what the page needs and git does not hold: ONNX Runtime for browsers, and the networks of a bundle.

    python -m serving.device.build [BUNDLE]

`vendor/` gets two files of the npm package onnxruntime-web, of the version and checksum in package-lock.json; `models/`
what `faceline export BUNDLE --format onnx` writes. Needs Node.js with npm, and the npm registry. Afterwards any server
of static files can serve this folder.
"""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import click

from faceline.cli import default_bundle
from faceline.console import load_tensorflow
from faceline.errors import ExportError
from faceline.files import atomic_directory
from serving.device import BUILT

PAGE = Path(__file__).parent
VENDOR, MODELS = BUILT
PACKAGE = "onnxruntime-web"
FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")  # of its folder dist
CHECK = 16  # rendered faces on which the exported networks are compared with the bundle's


def build(page: Path, bundle: Path, check: int = CHECK) -> None:
    """Fill `vendor` and `models` of a folder that has the page's other files.

    Raises:
        BundleError, ExportError: the bundle cannot be exported, or npm fails.
    """
    load_tensorflow()
    from faceline.export.folder import export

    vendor(page)
    export(bundle, page / MODELS, formats=["onnx"], check=check, replace=True, say=click.echo)


def vendor(page: Path) -> None:
    """Fill `vendor` from the npm registry; npm refuses a package whose checksum is not that of the lock file.

    Raises:
        ExportError: npm is not there, or fails.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise ExportError("npm is not installed; it comes with Node.js")
    with tempfile.TemporaryDirectory() as place:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(page / name, place)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, check=False, cwd=place, capture_output=True, text=True)
        if done.returncode:
            raise ExportError(f"`npm ci` failed: {' '.join(done.stderr.split())}")
        package = Path(place, "node_modules", PACKAGE)
        with atomic_directory(page / VENDOR) as folder:
            for name in FILES:
                shutil.copyfile(package / "dist" / name, folder / name)
        version = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
    click.echo(f"{page / VENDOR}: {PACKAGE} {version}")


@click.command(help=__doc__)
@click.argument("bundle", type=click.Path(path_type=Path), default=default_bundle, required=False)
def main(bundle: Path) -> None:
    """Build the page that lies beside this file."""
    build(PAGE, bundle)


if __name__ == "__main__":
    main()
