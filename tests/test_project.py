"""A DVC project seen from outside: its stages, what becomes of one, and errors in one line."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dvc.repo import Repo

from pipelines import experiments, place
from pipelines.project import AUTHOR, DVC, GateError, Outcome, Project, ProjectError, StageError


@pytest.fixture
def project(toy: Path) -> Project:
    return Project(toy)


@pytest.fixture
def built(built_toy: Path) -> Project:
    return Project(built_toy)


def run_all(project: Project) -> dict[str, Outcome]:
    return {stage.name: project.reproduce(stage, print) for stage in project.stages()}


def test_stages_come_in_order_with_what_they_wait_for(project: Project) -> None:
    stages = {stage.name: stage for stage in project.stages()}
    assert list(stages) == ["prepare", "gate@prepare", "left", "right", "report"]
    assert stages["left"].after == ("gate@prepare", "prepare")
    assert stages["report"].after == ("left", "right")
    assert stages["gate@prepare"].is_gate and not stages["left"].is_gate
    assert stages["prepare"].about == "Read the rows"
    assert all(stage.changed for stage in stages.values())


def test_targets_bring_what_they_need_and_no_more(project: Project) -> None:
    assert [stage.name for stage in project.stages(["left"])] == ["prepare", "gate@prepare", "left"]
    with pytest.raises(ProjectError, match="nothing-like-it"):
        project.stages(["nothing-like-it"])


@pytest.mark.slow
def test_stages_are_told_as_soon_as_another_dvc_is_done(project: Project) -> None:
    with ThreadPoolExecutor() as pool:
        with Repo(str(project.folder)) as other, other.lock:
            told = pool.submit(project.stages)
            with pytest.raises(TimeoutError):
                told.result(timeout=10)  # DVC by itself gives up after 3 s
        assert len(told.result()) == 5


def test_what_becomes_of_a_stage(built: Project) -> None:
    (built.folder / "data/right").unlink()
    experiments.override(built, ["left=2"])
    stages = {stage.name: stage for stage in built.stages()}
    assert [name for name, stage in stages.items() if stage.changed] == ["left", "right", "report"]
    assert built.reproduce(stages["prepare"], print) is Outcome.SAME
    assert built.reproduce(stages["left"], print) is Outcome.RAN
    assert built.reproduce(stages["right"], print) is Outcome.RESTORED
    assert built.reproduce(stages["prepare"], print, force=True) is Outcome.RAN


def test_a_failed_gate_names_expectation_and_rows(project: Project) -> None:
    (project.folder / "raw/rows").write_text("one bad bad")
    with pytest.raises(GateError) as raised:
        run_all(project)
    assert str(raised.value) == (
        "gate@prepare: 1 of 1 expectations not met: expect_column_values_to_be_good (prepare/rows: row), "
        "as in row bad; row bad"
    )


def test_a_failed_stage_tells_its_own_error(project: Project) -> None:
    (project.folder / "raw/fail-once").touch()
    with pytest.raises(StageError, match=r"^left: left has failed this once$"):
        run_all(project)


def test_metrics_leave_the_verdicts_of_gates_out(built: Project) -> None:
    assert built.metrics() == {"models/metrics.json": {"age": {"mae": 5}, "gender": {"accuracy": 0.95}}}


def test_raw_data_are_what_neither_stages_nor_git_provide(project: Project) -> None:
    wanted = [project.folder / "data/weights", project.folder / "raw/rows"]
    assert project.raw() == wanted
    (project.folder / "raw/rows").unlink()
    assert project.raw() == wanted


def test_a_clone_sees_what_a_recipe_reads(project: Project) -> None:
    folder = project.folder
    for name in ("teachers/README.md", "teachers/mean/card.json", "data/weights/net.bin", "bundles/mine/card.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    with (folder / ".gitignore").open("a") as ignored:
        ignored.write("/teachers/*/\n")
    with (folder / "params.yaml").open("a") as params:
        params.write("recipes: {plain: {start: bundles/mine}}\n")
    told = (folder / "dvc.yaml").read_text()
    (folder / "dvc.yaml").write_text(told.replace("deps: [raw/rows]\n    outs", "deps: [raw/rows, teachers]\n    outs"))
    run_all(project)
    project.git("add", "--all", ":!bundles")
    project.git(*AUTHOR, "commit", "--quiet", "--message", "a recipe that reads more")
    names = ["bundles/mine", "data/weights", "raw/rows", "teachers/mean/card.json"]
    assert project.raw() == [folder / name for name in names]
    with place.opened(folder, "run", "wait", print, ref="HEAD", name="apart") as clone:
        place.link_raw(folder, clone, print)
        assert {path for path in clone.folder.rglob("*") if path.is_symlink()} == {clone.folder / n for n in names}
        assert not any(stage.changed for stage in clone.stages())  # else it could not be promoted
        assert clone.git("status", "--porcelain") == ""
    shutil.rmtree(folder / "teachers/mean")
    with place.opened(folder, "run", "wait", print, ref="HEAD", name="apart") as clone:
        place.link_raw(folder, clone, print)
        assert not any((clone.folder / "teachers/mean").iterdir())


def test_overrides_change_params_and_keep_comments(project: Project) -> None:
    experiments.override(project, experiments.overrides(None, "fancy", ["n=7", "+more={a: [1, 2]}"]))
    text = (project.folder / "params.yaml").read_text()
    assert "dataset: toy # a comment that must stay\nrecipe: fancy\nn: 7\n" in text
    with pytest.raises(ProjectError, match=r"params.yaml cannot be set to m=7.*'m'"):
        experiments.override(project, ["m=7"])


def test_the_workspace_is_given_back(built: Project) -> None:
    project = built
    (project.folder / "params.yaml").write_text("dataset: toy\nrecipe: plain\nn: 6\nleft: 1\n")  # not committed
    with pytest.raises(KeyError), experiments.untouched(project) as restore:
        experiments.override(project, ["n=9"])
        run_all(project)
        experiments.save(project, "nine", ["report"], print)
        assert "nine" in project.answer(*DVC, "exp", "list")
        restore()
        assert "n: 6" in (project.folder / "params.yaml").read_text()
        experiments.override(project, ["n=8"])
        raise KeyError
    assert (project.folder / "params.yaml").read_text() == "dataset: toy\nrecipe: plain\nn: 6\nleft: 1\n"
    assert "about 5" in (project.folder / "data/report/index.html").read_text()


def test_what_somebody_else_changes_meanwhile_is_left_alone(built: Project) -> None:
    notes = built.folder / "notes.txt"
    notes.write_text("before")
    built.git("add", "notes.txt")
    built.git(*AUTHOR, "commit", "--quiet", "--message", "notes")
    with experiments.untouched(built) as restore:
        experiments.override(built, ["n=9"])
        run_all(built)
        notes.write_text("since")
        restore()
    assert notes.read_text() == "since"
    assert "n: 5" in (built.folder / "params.yaml").read_text()
    assert "about 5" in (built.folder / "data/report/index.html").read_text()


def kill_a_series(project: Project) -> None:
    """Leave what a series of experiments leaves that is killed."""
    path = project.folder / experiments.SNAPSHOT
    with experiments.untouched(project):
        left = path.read_text()
    experiments.override(project, ["n=9"])
    path.write_text(left)


def test_a_killed_series_is_given_back_to_the_next_run_of_any_flow(project: Project) -> None:
    params, said = project.folder / "params.yaml", list[str]()
    kill_a_series(project)
    with place.opened(project.folder, "run", "wait", said.append) as opened, experiments.untouched(opened):
        assert "n: 5" in params.read_text()
    assert "n: 5" in params.read_text()
    kept = f"and what was here is kept: `git stash list`, {experiments.KEPT}"
    assert said == [f"a run was killed here; its workspace is given back, {kept}"]
    assert "n: 9" in project.git("show", "stash@{0}:params.yaml")  # perhaps somebody's own work


def test_a_killed_series_is_given_back_with_a_line_also_where_nothing_is_lost(project: Project) -> None:
    kill_a_series(project)
    project.git("restore", "params.yaml")
    said: list[str] = []
    for _ in range(2):  # it is said once
        with place.opened(project.folder, "run", "wait", said.append):
            pass
    assert said == ["a run was killed here; its workspace is given back"]


def test_a_snapshot_that_git_has_let_go_of_stops_nobody(project: Project) -> None:
    said: list[str] = []
    path = project.folder / experiments.SNAPSHOT
    path.write_text(f"{'0' * 39}1 {project.git('rev-parse', 'HEAD')}")
    with place.opened(project.folder, "run", "wait", said.append):
        assert not path.exists()
    gone = f"git has let go of its snapshot {'0' * 12}, so the workspace stays as it is"
    assert said == [f"a run was killed here; {gone}"]


def test_what_was_committed_since_a_series_was_killed_stays(project: Project) -> None:
    params, said = project.folder / "params.yaml", list[str]()
    kill_a_series(project)
    params.write_text(params.read_text().replace("n: 9", "n: 7"))
    before = project.git("rev-parse", "HEAD")[:12]
    project.git(*AUTHOR, "commit", "--quiet", "--all", "--message", "seven")
    for _ in range(2):
        with place.opened(project.folder, "run", "wait", said.append) as opened, experiments.untouched(opened):
            assert "n: 7" in params.read_text()
        assert "n: 7" in params.read_text()
    seen = f"`git diff {before} params.yaml` shows what it left and what was changed since"
    assert said == [f"a run was killed here; HEAD has moved since, so its snapshot {before} is dropped; {seen}"]


def test_a_clone_has_the_remotes_that_lie_beside_the_project(project: Project) -> None:
    project.dvc("remote", "add", "--default", "store", "../store", say=print)
    project.git("add", ".dvc/config")
    project.git(*AUTHOR, "commit", "--quiet", "--message", "a remote")
    assert "url = ../../store" in (project.folder / ".dvc/config").read_text()
    with place.opened(project.folder, "run", "wait", print, ref="HEAD", name="apart") as clone:
        told = "".join(clone.answer(*DVC, "remote", "list").split())  # DVC breaks long lines
    assert told.startswith(f"store{project.folder.parent}/store")
    project.dvc("remote", "modify", "--local", "store", "url", "s3://faces/dvc", say=print)  # goes first, as for DVC
    with place.opened(project.folder, "run", "wait", print, ref="HEAD", name="apart") as clone:
        assert clone.answer(*DVC, "remote", "list").split()[:2] == ["store", "s3://faces/dvc"]


def test_an_experiment_is_found_by_its_name(project: Project) -> None:
    head, tree = project.git("rev-parse", "HEAD"), project.git("rev-parse", "HEAD^{tree}")
    made = [project.git(*AUTHOR, "commit-tree", tree, "-p", head, "-m", text) for text in ("first", "second")]
    for name, commit in zip(("first", "second", "twice", "twice"), (*made, *made), strict=True):
        project.git("update-ref", f"refs/exps/{commit[:2]}/{commit[2:]}/{name}", commit)
    with place.opened(project.folder, "run", "wait", print, ref="second", name="apart") as clone:
        assert clone.git("rev-parse", "HEAD") == made[1]
    with pytest.raises(ProjectError, match="has 2 experiments called twice; name one by its commit: "):
        place.resolved(project, "twice", print)
    with pytest.raises(ProjectError, match="has no branch, tag, commit or experiment third"):
        place.resolved(project, "third", print)
