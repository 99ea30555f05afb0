"""compare, tune and promote on the shrunken sample: experiments, rankings, recipes, versions and baselines."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from faceline.params import section
from tests.e2e.project import Project, environment
from tests.e2e.served import until

pytestmark = pytest.mark.slow
PLAIN = {"name": "plain", "recipe": "compact"}
WORSE = {"name": "worse", "recipe": "compact", "set": ["recipes.compact.optimizer.learning_rate=0.00001"]}
WRONG = {"name": "wrong", "recipe": "compact", "set": ["recipes.compact.epochs=0"]}


@pytest.fixture
def project(built: Project, tmp_path: Path) -> Project:
    return built.copy(tmp_path / "project")


@pytest.fixture(autouse=True)
def with_the_server(prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flows of these tests run in processes of their own, on one server."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)


def flow(project: Project, name: str) -> str:
    """Run a flow in the project; the line that says how it ended."""
    command = [sys.executable, "-m", "pipelines", name]
    done = subprocess.run(command, cwd=project.root, env=environment(), text=True, capture_output=True, check=False)
    print(done.stdout, done.stderr)
    return next(line for line in done.stdout.splitlines() if line.startswith(f"{name}: ")).removeprefix(f"{name}: ")


def artifact(key: str) -> Any:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
    from prefect.client.schemas.sorting import ArtifactSort

    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.UPDATED_DESC, limit=1)
    return json.loads(str(found[0].data))


def experiments(project: Project) -> dict[str, Any]:
    """Metrics of each experiment by name, as `dvc exp show` tells them."""
    told = json.loads(project.dvc("exp", "show", "--json").stdout)
    found = {}
    for entry in told:
        for run in entry.get("experiments") or []:
            revision = run["revs"][0]
            found[run["name"]] = revision["data"]
    return found


def test_compare_ranks_variants_and_gives_the_workspace_back(project: Project) -> None:
    project.set({
        "compare.variants": [WORSE, WRONG, PLAIN],
        "datasets.sample.gates.evaluate.ceilings": {"age_mae": 0.1},  # below the floor: a result, not a failure
    })  # fmt: skip
    project.commit("variants")
    before = project.run("git", "status", "--porcelain").stdout
    report = (project.root / "data/report/index.html").read_bytes()
    ended = flow(project, "compare")
    assert ended.startswith("Failed. wrong: settings: ") and "epochs" in ended
    rows = artifact("comparison")
    assert [row["variant"] for row in rows][2] == "wrong" and {row["variant"] for row in rows[:2]} == {"plain", "worse"}
    assert rows[0]["age.mae"] < rows[1]["age.mae"]
    assert all("gate@evaluate: " in row["fault"] for row in rows[:2])
    shown = experiments(project)
    for row in rows[:2]:
        assert shown[row["experiment"]]["metrics"]["models/metrics.json"]["data"]["age"]["mae"] == row["age.mae"]
    assert project.run("git", "status", "--porcelain").stdout == before
    assert (project.root / "data/report/index.html").read_bytes() == report


def test_tune_goes_on_after_a_kill_prunes_and_leaves_a_recipe_that_runs(project: Project) -> None:
    project.set({
        "tune.trials": 4, "tune.startup_trials": 1, "tune.warmup_epochs": 1, "recipes.compact.epochs": 3,
        "tune.space": {
            "optimizer.learning_rate": {"low": 0.0000001, "high": 0.01, "log": True},
            "networks.0.targets.gender.label_smoothing": {"choices": [0.0, 0.1]},
        },
    })  # fmt: skip
    project.commit("a space")
    params = (project.root / "params.yaml").read_text()
    command = [sys.executable, "-m", "pipelines", "tune"]
    first = subprocess.Popen(
        command, cwd=project.root, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until(lambda: any(name.startswith("tuned-") for name in experiments(project)), within=180)
    first.send_signal(signal.SIGKILL)
    first.wait()
    ended = flow(project, "tune")
    assert ended.startswith("Completed. best of 4 trials ("), ended
    rows = artifact("trials")
    assert len(rows) == 4 and {row["state"] for row in rows} <= {"complete", "pruned"}
    done = {row["experiment"] for row in rows if row["state"] == "complete"}
    assert done and done == {name for name in experiments(project) if name.startswith("tuned-")}
    tuned = section("recipes", "tuned", path=project.root / "params.yaml")
    assert tuned["optimizer"]["learning_rate"] == rows[0]["optimizer.learning_rate"]
    new = (project.root / "params.yaml").read_text()
    assert YAML(typ="safe").load(new)["recipe"] == "compact"
    assert [line for line in params.splitlines() if line not in new.splitlines()] == []
    trained = project.dvc("exp", "run", "-S", "recipe=tuned", "train").stdout
    assert "Stage 'train' is cached" in trained


def test_promotion_wants_the_gate_and_a_better_model(project: Project) -> None:
    baseline = project.root / "models/baseline.json"
    assert flow(project, "promote") == "Completed. sample@v1.0.0: the first baseline of sample"
    entry = json.loads(baseline.read_text())["sample"]
    assert entry["version"] == "sample@v1.0.0" and len(entry["predictions"]) == 64
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert project.run("git", "tag", "--points-at", "HEAD").stdout.split() == ["sample@v1.0.0"]
    assert project.dvc("status").stdout.strip() == "Data and pipelines are up to date."
    project.dvc("artifacts", "get", ".", "sample", "--out", "fetched")
    fetched = (project.root / "fetched/card.json").read_bytes()
    assert fetched == (project.root / "models/bundle/card.json").read_bytes()
    project.run("rm", "-r", "fetched")

    assert flow(project, "promote").startswith("Refused. it is the baseline of sample already")
    project.set({"recipes.compact.optimizer.learning_rate": 0.00001})
    assert flow(project, "promote").startswith("Refused. it is not up to date (settings, train")
    project.set({"datasets.sample.gates.evaluate.baseline_tolerance": 9.0})
    project.dvc("repro")
    worse = flow(project, "promote")
    assert worse.startswith("Refused. it is not shown to be better than sample@v1.0.0 on "), worse
    (project.root / "notes.txt").write_text("mine")
    assert flow(project, "promote") == "Refused. other files are changed too (notes.txt); commit or stash them first"
    (project.root / "notes.txt").unlink()
    project.set({"datasets.sample.gates.evaluate.ceilings": {"age_mae": 0.1}})
    project.dvc("repro", check=False)
    assert flow(project, "promote").startswith("Refused. gate@evaluate stopped it: 1 of ")
    assert json.loads(baseline.read_text())["sample"] == entry
    assert project.run("git", "tag").stdout.split() == ["sample@v1.0.0"]


def test_a_better_candidate_replaces_the_baseline(project: Project) -> None:
    project.set({"recipes.compact.optimizer.learning_rate": 0.00001, "recipes.compact.epochs": 1})
    project.dvc("repro")
    project.commit("a poor model")
    assert flow(project, "promote").startswith("Completed. sample@v1.0.0")
    project.set({"recipes.compact.optimizer.learning_rate": 0.003, "recipes.compact.epochs": 12})
    project.dvc("repro")
    ended = flow(project, "promote")
    assert ended.startswith("Completed. sample@v1.1.0: better than sample@v1.0.0 on "), ended
    assert project.run("git", "tag", "--points-at", "HEAD").stdout.split() == ["sample@v1.1.0"]
    assert json.loads((project.root / "models/baseline.json").read_text())["sample"]["version"] == "sample@v1.1.0"
