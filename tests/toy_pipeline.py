"""A DVC pipeline of five stages that take no time, for the flows: a gate, two independent stages, metrics and a report.

Files in raw/ steer it: `rows` are the data, of which `odd` ones are rejected and `bad` ones stop the gate; `fail-once`
makes `left` fail and is then gone; `hang` makes `left` wait, with a child of its own, until it is ended.
"""

from pathlib import Path

from tests.e2e.project import Project

STAGE = r"""
import json, pathlib, subprocess, sys
name = sys.argv[1]
raw, rows = pathlib.Path("raw"), pathlib.Path("raw/rows").read_text().split()
def write(path, value):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
if name == "prepare":
    kept = [row for row in rows if row != "odd"]
    write("data/prepare/rows", " ".join(kept))
    rejected = {"odd_row": len(rows) - len(kept)}
    write("data/prepare/summary.json", {"rows_in": len(rows), "kept": len(kept), "rejected": rejected})
elif name == "gate":
    bad = [row for row in rows if row == "bad"]
    finding = {"table": "prepare/rows", "column": "row", "expectation": "expect_column_values_to_be_good",
               "expected": {"value": "good"}, "observed": len(bad), "success": not bad, "share": 0, "key": "row",
               "examples": [{"row": row} for row in bad], "reason": "a bad row spoils the rest"}
    report = {"gate": "prepare", "success": not bad, "expectations_total": 1, "skipped": [], "expectations": [finding]}
    write("data/gates/prepare.json", report)
    if bad:
        sys.exit("Error: gate prepare failed")
    write("data/gates/prepare.pass", "passed")
elif name in ("left", "right"):
    print(name, "is at work", flush=True)
    once = raw / "fail-once"
    if name == "left" and once.exists():
        once.unlink()
        sys.exit("Error: left has failed this once")
    if name == "left" and (raw / "hang").exists():
        child = subprocess.Popen(["sleep", "600"])
        write("raw/children", f"{child.pid}")
        child.wait()
    write(f"data/{name}", name)
elif name == "metrics":
    n = json.loads(sys.argv[2])
    write("models/metrics.json", {"age": {"mae": n}, "gender": {"accuracy": 1 - n / 100}})
    write("data/report/index.html", f"<h1>A report about {n}</h1>")
"""
DVC = """
stages:
  prepare:
    desc: Read the rows
    cmd: python stage.py prepare
    deps: [raw/rows]
    outs: [data/prepare]
  left:
    cmd: python stage.py left
    params: [left]
    deps: [data/prepare, data/gates/prepare.pass]
    outs: [data/left]
  right:
    cmd: python stage.py right
    deps: [data/prepare, data/gates/prepare.pass]
    outs: [data/right]
  report:
    cmd: python stage.py metrics ${n}
    deps: [data/left, data/right]
    outs: [data/report]
    metrics:
      - models/metrics.json:
          cache: false
  gate:
    foreach:
      prepare: {table: data/prepare}
    do:
      cmd: python stage.py gate
      deps: ["${item.table}", raw/rows]
      outs:
        - data/gates/prepare.pass
      metrics:
        - data/gates/prepare.json:
            cache: false
"""
PARAMS = """
dataset: toy # a comment that must stay
recipe: plain
n: 5
left: 1
"""
IGNORED = "/raw/\n/data/*\n!/data/gates/\n/data/gates/*\n!/data/gates/*.json\n"


def toy_pipeline(root: Path) -> Project:
    """The pipeline in a git repository at `root`, never run."""
    (root / "raw").mkdir(parents=True)
    (root / "raw/rows").write_text("one two odd")
    return repository(root, STAGE, DVC, PARAMS)


def repository(root: Path, stage: str, dvc: str, params: str) -> Project:
    """A git and DVC repository at `root` with these files, and what lies there, committed."""
    (root / "stage.py").write_text(stage)
    (root / "dvc.yaml").write_text(dvc)
    (root / "params.yaml").write_text(params.lstrip())
    (root / ".gitignore").write_text(IGNORED)
    project = Project(root)
    project.run("git", "init", "-q", "-b", "main")
    project.dvc("init", "-q")
    project.dvc("config", "core.analytics", "false")
    project.commit("start")
    return project
