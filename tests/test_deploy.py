"""What `deploy/` says agrees with the project: versions, what the server imports, and what the images copy."""

import ast
import json
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.imports import ROOT, direct

DEPLOY = ROOT / "deploy"
# What these import is imported within functions that a server does not call, or by packages of their own choice.
NOT_SERVED = {"faceline/export/folder.py", "faceline/learning/oversampling.py"}


def pins(lock: Path) -> dict[str, str]:
    """Versions by the name of the package; of several, for other versions of Python, the first."""
    found: dict[str, str] = {}
    for name, version in re.findall(r"^([a-z0-9-]+)(?:\[.*\])?==(\S+)", lock.read_text(), re.MULTILINE):
        found.setdefault(name, version)
    return found


def served() -> set[str]:
    """The files of the project that `faceline serve` may import."""
    found: set[str] = set()
    todo = ["faceline/cli.py", "serving/app.py", "serving/server.py"]
    while todo:
        file = todo.pop()
        if file not in found | NOT_SERVED:
            found.add(file)
            todo += direct(file)
    return found


def imported(file: str) -> set[str]:
    """The packages that a file imports, by their top module."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names - sys.stdlib_module_names - {"faceline", "serving"}


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_images_have_the_versions_of_the_lock_file(kind: str) -> None:
    ours, whole = pins(DEPLOY / f"serve-{kind}.lock"), pins(ROOT / "requirements.lock")
    ours = {name: version for name, version in ours.items() if not name.startswith("nvidia-")}
    if kind == "cpu":
        ours["tensorflow"] = ours.pop("tensorflow-cpu")
    assert ours == {name: whole[name] for name in ours}


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_images_have_what_the_server_imports(kind: str) -> None:
    there = {name.replace("tensorflow-cpu", "tensorflow") for name in pins(DEPLOY / f"serve-{kind}.lock")}
    owners = packages_distributions()
    for file in served():
        for module in imported(file):
            packages = {re.sub(r"[-_.]+", "-", name).lower() for name in owners[module]}
            assert packages & there, f"{file} imports {module}, of {packages}"


@pytest.mark.parametrize("given", ["8080", "", None])
def test_the_image_asks_after_its_health_where_it_listens(given: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Opener:
        def open(self, url: str, timeout: float) -> None:
            asked.append(url)

    monkeypatch.setattr("urllib.request.build_opener", lambda handler: Opener() if handler.proxies == {} else None)
    monkeypatch.delenv("FACELINE_PORT", raising=False)
    if given is not None:
        monkeypatch.setenv("FACELINE_PORT", given)
    (command,) = re.findall(r"HEALTHCHECK.*\\\n\s*CMD (\[.*\])", (DEPLOY / "Dockerfile").read_text())
    python, option, code = json.loads(command)
    assert (python, option) == ("python", "-c")
    exec(code, {})  # noqa: S102 - what the image runs
    assert asked == [f"http://127.0.0.1:{given or 5000}/health"]


def test_what_the_image_copies_is_there_and_is_sent_to_the_engine() -> None:
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [
        source
        for line in (DEPLOY / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY") and "--from" not in line
        for source in line.split()[1:-1]
    ]
    assert set(copied) == set(sent)
    for source in copied:
        assert (ROOT / source).exists(), source
