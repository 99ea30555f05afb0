"""compare, tune and promote on a toy model, through DVC and git: experiments, recipes, versions and baselines."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

from faceline.params import section
from tests.e2e.processes import running, until, working_in
from tests.e2e.project import Project, environment
from tests.toy_models import toy_models

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return toy_models(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture
def project(first: Project, tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy; its flows run in processes of their own, on one server."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    return first.copy(tmp_path / "toy")


def command(project: Project, name: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "pipelines", name, "--folder", str(project.root), *options]


def flow(project: Project, name: str, *options: str) -> str:
    """Run a flow on the project; the line that says how it ended."""
    given = command(project, name, *options)
    done = subprocess.run(given, env=environment(), text=True, capture_output=True, check=False)
    print(done.stdout, done.stderr)
    assert f"{name}: " in done.stdout, done.stderr
    return next(line for line in done.stdout.splitlines() if line.startswith(f"{name}: ")).removeprefix(f"{name}: ")


def artifact(key: str) -> Any:
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.UPDATED_DESC, limit=1)
    return json.loads(str(found[0].data))


def experiments(project: Project) -> dict[str, Any]:
    """What `dvc exp show` tells of each experiment, by its name."""
    told = json.loads(project.dvc("exp", "show", "--json").stdout)
    runs = [run for entry in told for run in entry.get("experiments") or []]
    return {run["name"]: run["revs"][0]["data"] for run in runs}


def test_compare_ranks_variants_and_gives_the_workspace_back(project: Project) -> None:
    project.set({"ceiling": 3})  # the worse one stays below the floor: a result, not a failure
    before = project.run("git", "diff").stdout
    bundle = (project.root / "models/bundle/card.json").read_bytes()
    assert flow(project, "compare") == "Failed. wrong: train: rate -1 is below 0"
    rows = artifact("comparison")
    assert [row["variant"] for row in rows] == ["better", "worse", "wrong"]
    assert rows[0]["age.mae"] < 3 < rows[1]["age.mae"] and rows[0]["rows"] == 200
    assert not rows[0]["fault"] and rows[1]["fault"].startswith("gate@evaluate: 1 of 1 expectations not met")
    shown = experiments(project)
    assert set(shown) == {"compare-better", "compare-worse"}
    for row in rows[:2]:
        assert shown[row["experiment"]]["metrics"]["models/metrics.json"]["data"]["age"]["mae"] == row["age.mae"]
    assert project.run("git", "diff").stdout == before
    assert (project.root / "models/bundle/card.json").read_bytes() == bundle
    project.run("git", "checkout", "-q", ".")
    project.dvc("exp", "apply", "compare-better")
    assert section("recipes", "plain", "rate", path=project.root / "params.yaml") == 0.35


def test_tune_goes_on_after_a_kill_prunes_and_leaves_a_recipe_that_runs(project: Project) -> None:
    params = project.root / "params.yaml"
    before = params.read_text()
    hold = project.root / "raw/hold"
    hold.write_text("2")  # the training of the project as it is, and the first trial's
    with running(*command(project, "tune"), env=environment(), stdout=subprocess.DEVNULL):
        # DVC is not asked: beside an experiment that is being saved it may fail, with a git ref gone as it reads it.
        until(lambda: len(list((project.root / "data/store/train").iterdir())) > 2)
    until(lambda: not working_in(project.root))
    hold.unlink()
    assert "tuned" in params.read_text()  # it was killed in the middle of a trial
    assert set(experiments(project)) == {"tuned-0000"}
    ended = flow(project, "tune")
    assert ended.startswith("Completed. best of 6 trials ("), ended
    rows = artifact("trials")
    done = [row for row in rows if row["state"] == "complete"]
    pruned = [row for row in rows if row["state"] == "pruned"]
    assert len(done) + len(pruned) == 6 and done and pruned
    assert f"({len(pruned)} pruned)" in ended and f"in trial {done[0]['trial']};" in ended
    assert done[0]["val_age_mae"] == min(row["val_age_mae"] for row in done)
    assert {row["experiment"] for row in done} == set(experiments(project))
    assert section("recipes", "tuned", path=params) == {"rate": done[0]["rate"], "epochs": 3}
    assert params.read_text().startswith(before.rstrip())  # the rest of the file, and its comments, is as it was
    assert not [row for row in pruned if (project.root / f"data/store/train/{row['rate']}").exists()]
    assert project.run("git", "status", "--porcelain").stdout.split() == ["M", "params.yaml"]
    again = flow(project, "tune", "--trials", "6")
    assert again.startswith("Completed. best of 6 trials (")
    assert "Stage 'train' is cached" in project.dvc("exp", "run", "-S", "recipe=tuned", "train").stdout


def test_promotion_wants_the_gate_and_a_better_model(project: Project) -> None:
    baseline = project.root / "models/baseline.json"

    def rebuilt(rate: float) -> None:
        project.set({"recipes.plain.rate": rate})
        project.dvc("repro", check=False)

    def tags() -> list[str]:
        return project.run("git", "tag", "--points-at", "HEAD").stdout.split()

    assert flow(project, "promote") == "Completed. toy@v1.0.0: the first baseline of toy"
    entry = json.loads(baseline.read_text())["toy"]
    assert entry["version"] == "toy@v1.0.0" and len(entry["predictions"]) == 64 and entry["metrics"]["age"]["mae"] > 3
    assert project.run("git", "status", "--porcelain").stdout == "" and tags() == ["toy@v1.0.0"]
    assert flow(project, "promote").startswith("Refused. it is the baseline of toy already")

    project.set({"recipes.plain.rate": 0.3})
    assert flow(project, "promote") == "Refused. it is not up to date (train); rebuild it first"
    rebuilt(0.3)
    (project.root / "notes.txt").write_text("mine")
    assert flow(project, "promote") == "Refused. other files are changed too (notes.txt); commit or stash them first"
    (project.root / "notes.txt").unlink()
    ended = flow(project, "promote")
    assert ended.startswith("Completed. toy@v1.1.0: better than toy@v1.0.0 on 200 test rows: age_mae "), ended
    assert tags() == ["toy@v1.1.0"]
    entry = json.loads(baseline.read_text())["toy"]
    assert entry["version"] == "toy@v1.1.0"
    project.dvc("artifacts", "get", ".", "toy", "--out", "fetched")
    assert (project.root / "fetched/card.json").read_bytes() == (project.root / "models/bundle/card.json").read_bytes()
    project.run("rm", "-r", "fetched")

    rebuilt(0.5)
    worse = flow(project, "promote")
    assert worse.startswith("Refused. it is not shown to be better than toy@v1.1.0 on 200 test rows: age_mae "), worse
    assert ": worse)" in worse
    project.set({"ceiling": 1})
    rebuilt(0.3)
    assert flow(project, "promote").startswith("Refused. gate@evaluate stopped it: 1 of 1 expectations not met")
    assert json.loads(baseline.read_text())["toy"] == entry and len(project.run("git", "tag").stdout.split()) == 2


def test_a_promotion_that_was_killed_before_its_tag_is_finished_by_the_next(project: Project) -> None:
    promoted = flow(project, "promote")
    made = project.run("git", "rev-parse", "HEAD").stdout

    def tagged() -> str:
        return project.run("git", "rev-parse", "toy@v1.0.0^{commit}").stdout

    def kill() -> None:
        """Leave what a promotion leaves that is killed after its commit."""
        project.run("git", "tag", "--delete", "toy@v1.0.0")

    kill()
    (project.root / "notes.txt").write_text("mine")
    project.commit("something else")
    assert flow(project, "promote") == promoted == "Completed. toy@v1.0.0: the first baseline of toy"
    assert tagged() == made
    assert flow(project, "promote").startswith("Refused. it is the baseline of toy already")

    kill()
    assert flow(project, "promote", "--ref", "main", "--branch", "accepted") == promoted
    assert tagged() == made
    assert project.run("git", "rev-parse", "accepted").stdout == project.run("git", "rev-parse", "main").stdout

    kill()
    project.set({"recipes.plain.rate": 0.3})
    project.dvc("repro")
    gto = f"gto register toy {made[:12]} --version v1.0.0"
    way = f"`git fetch --tags`, or `{gto}` if its promotion was killed"
    assert flow(project, "promote") == f"Failed. the baseline toy@v1.0.0 has no tag: {way}"
    project.run(*gto.split())
    assert flow(project, "promote").startswith("Completed. toy@v1.1.0: better than toy@v1.0.0")


def test_a_candidate_on_a_branch_is_promoted_in_a_clone(project: Project) -> None:
    assert flow(project, "promote").startswith("Completed. toy@v1.0.0")
    project.run("git", "checkout", "-q", "-b", "candidate")
    project.set({"recipes.plain.rate": 0.3})
    project.dvc("repro")
    project.commit("a better one")
    project.run("git", "checkout", "-q", "main")
    project.dvc("checkout", "-q")
    assert flow(project, "promote", "--ref", "candidate").endswith("name the branch that is to have it")
    refused = flow(
        project, "promote", "--ref", "candidate", "--branch", "main"
    )  # git takes nothing for it: it is checked out
    assert refused.startswith("Failed. "), refused
    ended = flow(project, "promote", "--ref", "candidate", "--branch", "accepted")
    assert ended.startswith("Completed. toy@v1.1.0: better"), ended
    commits = project.run("git", "rev-parse", "toy@v1.1.0^{commit}", "accepted^{commit}").stdout.split()
    assert commits[0] == commits[1]
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert "v1.0.0" in (project.root / "models/baseline.json").read_text()
