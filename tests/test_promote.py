"""What `promote` looks at before it compares: parameters that do not fit, and what a killed promotion has left."""

from pathlib import Path

import pytest
from prefect.client.schemas.objects import State
from prefect.logging import disable_run_logger

from pipelines.artifacts import BASELINE
from pipelines.project import AUTHOR, Project
from pipelines.promote import promote, take_back

ACCEPTED = '{"toy": {"version": "toy@v1.0.0"}}'


@pytest.fixture
def project(toy: Path) -> Project:
    """A project with a baseline whose promotion came to its end."""
    project = Project(toy)
    write_baseline(project, ACCEPTED)
    project.git("add", "--all")
    project.git(*AUTHOR, "commit", "--quiet", "--message", "toy@v1.0.0: the first baseline of toy")
    project.git("tag", "toy@v1.0.0")
    return project


def write_baseline(project: Project, content: str) -> None:
    path = project.folder / BASELINE
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)


def promoted(project: Project, **parameters: str) -> State:
    """The final state of `promote` without a server."""
    with disable_run_logger():
        state: State = promote.fn(folder=project.folder, **parameters)
    return state


def test_a_branch_without_a_ref_is_refused(project: Project) -> None:
    state = promoted(project, branch="accepted")
    assert state.is_failed()
    assert state.message == "only a clone leaves its result on a branch (accepted): name the ref to work at, too"


@pytest.mark.parametrize("staged", [True, False])
def test_a_promotion_that_was_killed_before_its_commit_is_taken_back(project: Project, staged: bool) -> None:
    write_baseline(project, ACCEPTED.replace("v1.0.0", "v1.1.0"))
    if staged:
        project.git("add", "--all")
    state = promoted(project)
    assert state.name == "Refused" and "it is not up to date" in str(state.message)
    assert (project.folder / BASELINE).read_text() == ACCEPTED
    assert project.git("status", "--porcelain") == ""


@pytest.mark.parametrize("staged", [True, False])
def test_the_first_promotion_that_was_killed_leaves_no_baseline(toy: Path, staged: bool) -> None:
    project, said = Project(toy), list[str]()
    write_baseline(project, ACCEPTED)
    if staged:
        project.git("add", "--all")
    take_back(project, said.append)
    assert not (toy / BASELINE).exists() and project.git("status", "--porcelain") == ""
    assert said == [
        f"the promotion to toy@v1.0.0 was killed before its commit, so {BASELINE} is again as it was before"
    ]


def test_a_promotion_that_was_killed_before_its_tag_is_not_taken_back(project: Project) -> None:
    project.git("tag", "--delete", "toy@v1.0.0")
    take_back(project, pytest.fail)
    assert (project.folder / BASELINE).read_text() == ACCEPTED
