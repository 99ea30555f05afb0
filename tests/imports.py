"""What a Python file of the project imports of the project, found in its code: DVC does not follow imports."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("benchmarks", "faceline", "pipelines", "serving", "stages")
# They can change a result only by failing, or by how fast it comes.
EXEMPT = {"faceline/errors.py", "faceline/files.py", "faceline/parallel.py", "faceline/console.py"}


@cache
def direct(file: str) -> frozenset[str]:
    """The project's files that `file` imports, anywhere in it; package files (`__init__.py`) only if they hold code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        found.update(path for name in names if name.split(".")[0] in PACKAGES for path in _files(name))
    return frozenset(found - {file})


def closure(file: str) -> set[str]:
    """`file` and all that it imports, directly or through others, without the exempt ones."""
    seen: set[str] = set()
    todo = [file]
    while todo:
        current = todo.pop()
        if current not in seen and current not in EXEMPT:
            seen.add(current)
            todo += direct(current)
    return seen


def _files(name: str) -> list[str]:
    path = Path(*name.split("."))
    candidates = [path.with_suffix(".py"), path / "__init__.py"]
    return [c.as_posix() for c in candidates if (ROOT / c).is_file() and _has_code(ROOT / c)]


def _has_code(path: Path) -> bool:
    """False of a package file that is a docstring alone."""
    return len(ast.parse(path.read_text(encoding="utf-8")).body) > 1
