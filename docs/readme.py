"""Renew what README.md says of the project itself: the metrics and the tree of files. `make readme`.

All stand between markers. The metrics are those of the bundle that comes with the project, with the largest gaps
between groups that its card names, and those of models/metrics.json; the tree has one line a file that git knows, told
by the first sentence of its docstring. With `--check` nothing is written: the exit status tells if README.md is up to
date.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parent.parent
OTHERS = {  # what files without a docstring are
    "README.md": "this page",
    "CONTRIBUTING.md": "how to change things",
    "LICENSE": "Apache-2.0",
    "Makefile": "every command; `make help`",
    "dvc.yaml": "the table of contents: every stage, then the gates",
    "dvc.lock": "what was made from what, by digest",
    "params.yaml": "every setting: datasets and recipes",
    "prefect.yaml": "the deployments, for work pools",
    "pyproject.toml": "the package and its tools",
    "requirements.lock": "every package by version and digest",
    ".ci/run": "what must pass before a change lands",
    ".github/workflows/ci.yml": "the same, on GitHub",
    ".dockerignore": "what is sent to an engine that builds deploy/Dockerfile",
    ".pre-commit-config.yaml": "the checks before a commit",
    "data/README.md": "what lies in data/",
    "data/gates/": "the verdict of every gate",
    "deploy/": "the servers (Prefect's and the API) as systemd units, in containers, and behind nginx",
    "docs/api.md": "the REST API: routes, errors, limits, keys, reloading",
    "docs/architecture.md": "the design as built",
    "docs/audit.md": "profiles whose statements their pictures contradict: how, how well, and what it is not",
    "docs/data.md": "how to put in each dataset",
    "docs/device.md": "a bundle as ONNX and TFLite, and the page that predicts in the browser",
    "docs/models.md": "recipes, architectures, pretrained weights, and what a recipe can do after its training",
    "docs/operations.md": "running it: clusters, GPUs, memory, failures",
    "docs/page.md": "the web page: what it does, what it keeps (nothing), and how",
    "docs/experiments.md": "the trainings on UTKFace one by one: what was tried, and what was given up",
    "docs/results.md": "figures, each with its command, machine and date",
    "docs/server.md": "the Prefect server for a team: PostgreSQL, services, passwords, backups",
    "docs/pictures/": "synthetic people, the report about them, the web page, runs in Prefect's UI",
    "faceline/audit/gallery.html.j2": "the page of an audit's flags",
    "faceline/evaluation/card.md.j2": "the model card's words",
    "faceline/evaluation/report.html.j2": "the report's page",
    "models/CARD.md": "the model card",
    "models/baseline.json": "the accepted metrics of each dataset",
    "models/history.csv": "losses of each epoch",
    "models/metrics.json": "metrics of the test subset",
    "models/plots/": "tables that `dvc plots` draws",
    "models/pretrained/NOTICE.md": "the weights and pictures that the bundle goes back to, and their licences",
    "models/pretrained/utkface/": "the bundle that comes with the project: network, card, metrics",
    "serving/device/": "the page that predicts in the browser, and what builds it",
    "serving/page/files/": "what browsers load of the web page: scripts, style, manifest, icons, samples",
    "serving/page/page.html": "the web page, as the template of its one Gradio component",
    "models/teachers/": "what networks answer, for others to learn from",
}
TABLES = {  # of metrics, by the name of their markers: the file, and what the figures are of
    "pretrained": ("models/pretrained/utkface/metrics.json", "UTKFace, `models/pretrained/utkface`"),
    "sample": ("models/metrics.json", "synthetic sample, recipe `compact`"),
}
CARD = "models/pretrained/utkface/CARD.md"
UNTOLD = {".gitignore", ".dvcignore", ".dvc/.gitignore", ".dvc/config"}


def metrics_table(metrics: dict[str, Any], title: str) -> str:
    """The metrics beside the constant predictor's, as a Markdown table; `title` stands above them."""
    age, gender, race, constant = (metrics[name] for name in ("age", "gender", "race", "baseline"))
    rows = [
        ("age: mean absolute error", f"{age['mae']:.2f} years", f"{constant['age']['mae']:.2f} years"),
        ("age: root mean squared error", f"{age['rmse']:.2f} years", f"{constant['age']['rmse']:.2f} years"),
        ("age: within 5 years", f"{age['cs5']:.1%}", f"{constant['age']['cs5']:.1%}"),
        ("gender: accuracy", f"{gender['accuracy']:.1%}", f"{constant['gender']['accuracy']:.1%}"),
        ("race: accuracy", f"{race['accuracy']:.1%}", f"{constant['race']['accuracy']:.1%}"),
    ]
    lines = [f"| {metrics['rows']:,} test faces | {title} | always the same answer |", "|---|---:|---:|"]
    return "\n".join([*lines, *(f"| {name} | {model} | {fixed} |" for name, model, fixed in rows)])


def largest_gaps(card: str) -> str:
    """What a model card says of the largest gaps between groups of one label: age's, gender's and race's."""
    listed = re.search(r"^The largest gaps .*:\n\n((?:- .*\n)+)", card, re.MULTILINE)
    if listed is None:
        raise ValueError(f"{CARD} names no largest gaps")
    return "\n".join(listed[1].splitlines()[:3])


def tree(files: list[str]) -> str:
    """One line a file, folder by folder; the files of some folders are told together."""
    lines: dict[str, str] = {}
    for file in files:
        together = next((name for name in OTHERS if name.endswith("/") and file.startswith(name)), None)
        name = together or file
        if name not in UNTOLD:
            lines[name] = OTHERS[name] if name in OTHERS else _told(ROOT / file)
    width = max(map(len, lines))
    return "\n".join(["```", *(f"{name:<{width}}  {text}" for name, text in lines.items() if text), "```"])


def _told(file: Path) -> str:
    """The first sentence of a module's docstring; empty for a package that only says what its folder is."""
    doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return re.split(r"\.\s+(?=[A-Z])", doc.split("\n\n")[0].replace("\n", " "))[0].rstrip(".")


def _between(text: str, name: str, content: str) -> str:
    """`text` with `content` between the markers called `name`."""
    start, end = f"<!-- {name}: made by `make readme` -->", f"<!-- end of {name} -->"
    before, rest = text.split(start)
    return f"{before}{start}\n{content}\n{end}{rest.split(end)[1]}"


def _tracked() -> Iterator[str]:
    """The files that git knows and that are there, top-level ones first."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = [name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    yield from sorted(names, key=lambda name: ("/" in name, name))


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if README.md is out of date.")
def main(check: bool) -> None:
    """Read, renew, write."""
    readme = new = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, (file, title) in TABLES.items():
        new = _between(new, name, metrics_table(json.loads((ROOT / file).read_text(encoding="utf-8")), title))
    new = _between(new, "gaps", largest_gaps((ROOT / CARD).read_text(encoding="utf-8")))
    new = _between(new, "tree", tree(list(_tracked())))
    if check:
        sys.exit(new != readme)
    (ROOT / "README.md").write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
