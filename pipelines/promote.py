"""The flow `promote`: make a candidate the accepted model of its dataset, if it is shown to be better."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, runtime
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed
from slugify import slugify

from faceline.errors import FacelineError
from faceline.evaluation.comparing import Comparison, compare, read_predictions
from faceline.files import sha256_file, write_json
from pipelines import place
from pipelines.artifacts import BASELINE
from pipelines.building import Build, build
from pipelines.children import Say
from pipelines.place import BusyError, WhenBusy
from pipelines.project import DVC, Project, ProjectError, author, faults, read_json, verdict

REFUSED = "Refused"  # the state of a promotion whose candidate is not better
PREDICTIONS = Path("data/evaluate/predictions.parquet")
METRICS = Path("models/metrics.json")
CARD = Path("models/CARD.md")
TARGETS = ("age", "gender", "race")  # whose metrics a baseline keeps
LEAST_COMMON = 0.5  # share of the candidate's test rows that the baseline must have judged too
FIRST = "v1.0.0"
NUMBER = re.compile(r"@v(\d+)\.(\d+)\.\d+$")


class RefusedError(Exception):
    """Why the candidate is not promoted."""


@flow(persist_result=False)
def promote(
    folder: Path = Path(),
    ref: str | None = None,
    branch: str | None = None,
    without_comparison: bool = False,
    when_busy: WhenBusy = "wait",
) -> State:
    """Register the bundle as a version of its dataset's model and make it the baseline, if it is shown to be better.

    It must have passed its gate, and be better than the baseline in one headline metric and worse in none by a paired
    bootstrap on the test predictions (and, of accuracies, by the exact sign test). Otherwise the run ends Refused and
    says why; nothing is changed then. A promotion that was killed before it tagged its commit is finished instead; of
    one that was killed before its commit the baseline is taken back first.

    Args:
        folder: The project; the candidate is what lies in it.
        ref: Take the candidate from this git ref (a branch, a commit, an experiment) in a clone instead.
        branch: The branch on which a clone leaves the promotion; must be named with `ref`, and not without.
        without_comparison: Accept a candidate also where the baseline left no predictions to compare with.
        when_busy: What to do while another run works in the folder.
    """
    say = get_run_logger().info
    if ref and not branch:
        return Failed(message=f"{ref} is promoted in a clone, which is not kept: name the branch that is to have it")
    try:
        place.require_clone(ref, branch)
        holder = f"run {runtime.flow_run.name}"
        with place.opened(folder, holder, when_busy, say, ref=ref, name="promote") as project:
            if ref:
                place.link_raw(folder, project, say)
            take_back(project, say)
            require_ready(project)
            if killed := finish(project):
                version, reason = killed
            else:
                reason = judge(project, without_comparison)
                version = register(project, reason)
            show_card(project, version)
            if ref:
                publish(project, version, f"refs/heads/{branch}")
            return Completed(message=f"{version}: {reason}")
    except BusyError as busy:
        return Cancelled(message=str(busy))
    except RefusedError as refusal:
        return Completed(name=REFUSED, message=str(refusal))
    except (ProjectError, FacelineError) as error:
        return Failed(message=str(error))


def require_ready(project: Project) -> None:
    """Refuse a candidate that a gate stopped, that is not what its pipeline makes, or that lies among other changes."""
    stages = project.stages()
    for stage in stages:
        report = verdict(stage)
        if report is not None and not report["success"]:
            raise RefusedError(f"{stage.name} stopped it: {faults(report)}")
    stale = [stage.name for stage in stages if stage.changed]
    if stale:
        raise RefusedError(f"it is not up to date ({', '.join(stale)}); rebuild it first")
    own = [str(out.relative_to(project.folder)) for stage in stages for out in stage.outs]
    allowed = [*own, "dvc.lock", "params.yaml"]
    dirty = [line[3:] for line in project.git("status", "--porcelain").splitlines()]
    others = [path for path in dirty if not any(path == a or path.startswith(f"{a}/") for a in allowed)]
    if others:
        raise RefusedError(f"other files are changed too ({', '.join(others)}); commit or stash them first")


def accepted(project: Project) -> dict[str, Any] | None:
    """What models/baseline.json has of the chosen dataset."""
    entry: dict[str, Any] | None = (read_json(project.folder / BASELINE) or {}).get(project.chosen()[0])
    return entry


def take_back(project: Project, say: Say) -> None:
    """Take back the baseline that a promotion has written which was killed before its commit: its version is none."""
    version = (accepted(project) or {}).get("version")
    known = project.git("ls-tree", "HEAD", "--", BASELINE)
    committed = project.git("show", f"HEAD:{BASELINE}") if known else ""
    if version is None or f'"{version}"' in committed or project.git("tag", "--list", version):
        return
    project.git("reset", "--quiet", "--", BASELINE)
    if known:
        project.git("restore", "--", BASELINE)
    else:
        (project.folder / BASELINE).unlink()
    say(f"the promotion to {version} was killed before its commit, so {BASELINE} is again as it was before")


def finish(project: Project) -> tuple[str, str] | None:
    """Tag the commit of a promotion that was killed before it did; its version and reason, None where all is tagged.

    Raises:
        ProjectError: the candidate is another model; it can only be compared with one that has its tag.
    """
    entry = accepted(project) or {}
    version = entry.get("version")
    if version is None or project.git("tag", "--list", version):
        return None
    made = project.git("log", "-1", "--format=%H %s", f'-S"{version}"', "--", BASELINE)
    commit, _, subject = made.partition(" ")
    if sha256_file(project.folder / PREDICTIONS) != entry["predictions"]:
        artifact, _, number = version.partition("@")
        raise ProjectError(
            f"the baseline {version} has no tag: `git fetch --tags`, or "
            f"`gto register {artifact} {commit[:12]} --version {number}` if its promotion was killed"
        )
    reason = subject.removeprefix(f"{version}: ")
    tag(project, version, commit, reason)
    return version, reason


def judge(project: Project, without_comparison: bool) -> str:
    """Why the candidate is to be promoted.

    Raises:
        RefusedError: it is not shown to be better than the baseline.
    """
    dataset, _ = project.chosen()
    entry = accepted(project)
    if entry is None:
        return f"the first baseline of {dataset}"
    if sha256_file(project.folder / PREDICTIONS) == entry.get("predictions"):
        raise RefusedError(f"it is the baseline of {dataset} already: its predictions are the same")
    if "version" not in entry:
        if without_comparison:
            return "accepted without a comparison: the baseline left no predictions"
        raise RefusedError(
            f"the baseline of {dataset} left no predictions to compare with; without_comparison accepts it"
        )
    with tempfile.TemporaryDirectory() as temporary:
        before = Path(temporary) / PREDICTIONS.name
        rev = ("--rev", entry["version"], "--out", str(before))
        project.answer(*DVC, "get", ".", str(PREDICTIONS), *rev)
        if sha256_file(before) != entry["predictions"]:
            raise ProjectError(f"the predictions at {entry['version']} are not those that {BASELINE} was made from")
        names = (f"the baseline {entry['version']}", "the candidate")
        compared = compare(read_predictions(before), read_predictions(project.folder / PREDICTIONS), names=names)
    lost = [target for target in compared.not_compared if target in entry["metrics"]]
    if lost:
        raise RefusedError(f"it says nothing of {', '.join(lost)}, which {entry['version']} does")
    return decide(compared, entry["version"])


def decide(compared: Comparison, version: str) -> str:
    """What speaks for the candidate in a comparison with the baseline; RefusedError if it is not enough."""
    rows = [
        {
            "metric": found.metric,
            "baseline": found.a,
            "candidate": found.b,
            "difference": found.difference,
            "from": found.low,
            "to": found.high,
            "rows": found.rows,
            "verdict": found.verdict,
        }
        for found in compared.differences
    ]
    level = f"{compared.bootstrap.level:.0%}"
    create_table_artifact(
        key="promotion", table=rows, description=f"Beside {version}; paired bootstrap, {level} intervals"
    )
    told = ", ".join(
        f"{found.metric} {found.a:.4g} to {found.b:.4g} ({found.low:+.3g} to {found.high:+.3g}: {found.verdict})"
        for found in compared.differences
    )
    if compared.common < LEAST_COMMON * compared.rows_b:
        raise RefusedError(f"only {compared.common} of its {compared.rows_b} test rows were judged by {version} too")
    if not compared.beats:
        raise RefusedError(f"it is not shown to be better than {version} on {compared.common} test rows: {told}")
    return f"better than {version} on {compared.common} test rows: {told}"


def register(project: Project, reason: str) -> str:
    """Write the baseline, bring what depends on it up to date, commit, and tag the commit as a version; its tag."""
    dataset, recipe = project.chosen()
    artifact = slugify(dataset)  # as DVC and GTO want names
    version = next_version(project, artifact)
    metrics = {name: value for name, value in read_json(project.folder / METRICS).items() if name in TARGETS}
    entry = {"metrics": metrics, "predictions": sha256_file(project.folder / PREDICTIONS), "recipe": recipe}
    with undone_if_it_fails(project):
        path = project.folder / BASELINE
        write_json(path, {**(read_json(path) or {}), dataset: {**entry, "version": version}})
        built = build(project, [], Build())
        if not built.done:
            raise ProjectError("; ".join(built.failures) or "ended before it was done")
        project.git("add", "--all")
        project.git(*author(project), "commit", "--quiet", "--message", f"{version}: {reason}")
        tag(project, version, "HEAD", reason)
    return version


def tag(project: Project, version: str, commit: str, reason: str) -> None:
    """Register a commit with GTO as a version."""
    artifact, _, number = version.partition("@")
    project.answer("gto", "register", artifact, commit, "--version", number, "--message", reason)


def show_card(project: Project, version: str) -> None:
    """Leave the model's card in the UI, where there is one."""
    card = project.folder / CARD
    if card.exists():
        create_markdown_artifact(key="model-card", markdown=card.read_text(encoding="utf-8"), description=version)


def publish(project: Project, version: str, branch: str) -> None:
    """Give a clone's promotion to its source; a version that the source does not take is none."""
    try:
        project.git("push", "--quiet", "--atomic", "origin", f"HEAD:{branch}", f"refs/tags/{version}")
    except ProjectError:
        project.git("tag", "--delete", version)
        raise


@contextmanager
def undone_if_it_fails(project: Project) -> Iterator[None]:
    """Take back the new baseline, and the commit with it, when the block fails."""
    head, path = project.git("rev-parse", "HEAD"), project.folder / BASELINE
    before = path.read_bytes() if path.exists() else None
    try:
        yield
    except BaseException:
        project.git("reset", "--quiet", "--mixed", head)
        path.unlink(missing_ok=True)
        if before is not None:
            path.write_bytes(before)
        raise


def next_version(project: Project, artifact: str) -> str:
    """The tag of an artifact's next version: the next minor one after the highest that GTO has tagged."""
    tags = project.git("tag", "--list", f"{artifact}@v*", "--sort=-version:refname").splitlines()
    numbers = [match for tag in tags if (match := NUMBER.search(tag))]
    if not numbers:
        return f"{artifact}@{FIRST}"
    major, minor = numbers[0].groups()
    return f"{artifact}@v{major}.{int(minor) + 1}.0"
