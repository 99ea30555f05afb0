"""The flow `compare`: variants of recipe and settings as DVC experiments, one after another, and which is best."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from matplotlib.figure import Figure
from prefect import flow, get_run_logger, runtime
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed
from pydantic import Field

from faceline.errors import SettingsError
from faceline.params import Settings, read_settings
from pipelines import experiments, place
from pipelines.artifacts import Row, flat_metrics
from pipelines.building import Build, build
from pipelines.place import BusyError, WhenBusy
from pipelines.project import Project, ProjectError
from pipelines.rebuild import final, publish

MODEL_GATE = "gate@evaluate"  # a variant below its floor is a result, not a failure
LAST = "report"  # the stage up to which variants are built


class Variant(Settings):
    """One of the things to compare: a name, and what is set for it as `-S` of `dvc exp run` would."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    dataset: str | None = None
    recipe: str | None = None
    set: tuple[str, ...] = ()


class CompareSettings(Settings):
    """The section `compare` of params.yaml."""

    variants: tuple[Variant, ...] = Field(min_length=1)
    metric: str  # what they are ranked by, as `dvc metrics show` names it
    direction: Literal["minimize", "maximize"]
    show: tuple[str, ...] = ()  # further metrics of the table


@flow(persist_result=False)
def compare(
    variants: Sequence[Variant] = (),
    folder: Path = Path(),
    parallel: Annotated[int, Field(ge=1)] = 1,
    when_busy: WhenBusy = "wait",
) -> State:
    """Build each variant up to the report, record it as a DVC experiment, and rank all by a metric.

    The workspace is afterwards as it was before.

    Args:
        variants: What to compare, instead of `compare.variants` in params.yaml.
        folder: The project.
        parallel: How many independent stages of a variant may run side by side.
        when_busy: What to do while another run works in the folder.
    """
    holder = f"run {runtime.flow_run.name}"
    say = get_run_logger().info
    try:
        with (
            place.opened(folder, holder, when_busy, say) as project,
            experiments.untouched(project) as restore,
        ):
            # Only now: another run may have overridden settings until here.
            settings = read_settings(CompareSettings, "compare", path=folder / "params.yaml")
            chosen = unique(tuple(variants) or settings.variants)
            results = []
            for variant in chosen:
                restore()
                results.append(build_variant(project, variant, parallel))
    except BusyError as busy:
        return Cancelled(message=str(busy))
    except (ProjectError, SettingsError) as error:
        return Failed(message=str(error))
    return conclude(results, settings)


def unique(variants: Sequence[Variant]) -> Sequence[Variant]:
    """The variants, if no two have one name; their experiments would replace each other."""
    names = [variant.name for variant in variants]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"compare.variants: more than one variant is called {name!r}; names must differ")
    return variants


@dataclass(frozen=True)
class Result:
    """What became of a variant: its metrics, and why it has none or should not be used."""

    variant: str
    experiment: str
    metrics: dict[str, float]
    fault: str = ""


def build_variant(project: Project, variant: Variant, parallel: int) -> Result:
    """Build one variant in a flow run of its own."""
    experiment, results = f"compare-{variant.name}", []

    @flow(name="variant", flow_run_name=variant.name, persist_result=False)
    def one() -> State:
        try:
            experiments.override(project, experiments.overrides(variant.dataset, variant.recipe, variant.set))
            built = build(project, [LAST], Build(parallel=parallel, tolerated=frozenset({MODEL_GATE})))
            publish(project, built)
            if built.done:
                experiments.save(project, experiment, built.completed, get_run_logger().info)
        except ProjectError as error:
            results.append(Result(variant.name, "", {}, str(error)))
            return Failed(message=str(error))
        metrics = flat_metrics(project, built.stages) if built.done else {}
        results.append(Result(variant.name, experiment if built.done else "", metrics, "; ".join(built.failures)))
        return final(built)

    one(return_state=True)
    return results[0] if results else Result(variant.name, "", {}, "ended before it was done")


def conclude(results: Sequence[Result], settings: CompareSettings) -> State:
    """The ranking as artifacts, and the state of the comparison."""
    rows = ranked(results, settings)
    create_table_artifact(key="comparison", table=rows, description=f"Ranked by {settings.metric}")
    create_markdown_artifact(key="comparison-plot", markdown=page(rows, settings), description="The comparison, drawn")
    broken = [result for result in results if settings.metric not in result.metrics]
    if broken:
        lacking = f"it has no metric {settings.metric}"
        told = [f"{each.variant}: {lacking if each.metrics else each.fault}" for each in broken]
        return Failed(message="; ".join(told))
    best = rows[0]
    return Completed(message=f"best of {len(rows)}: {best['variant']}, {settings.metric} {best[settings.metric]:g}")


def ranked(results: Sequence[Result], settings: CompareSettings) -> list[Row]:
    """A row a variant, the best first; those without the metric last."""
    sign = 1 if settings.direction == "minimize" else -1

    def place_of(result: Result) -> tuple[bool, float]:
        value = result.metrics.get(settings.metric)
        return value is None, sign * (value or 0)

    shown = dict.fromkeys([settings.metric, *settings.show])
    return [
        {"rank": rank, "variant": result.variant}
        | {name: result.metrics.get(name) for name in shown}
        | {"experiment": result.experiment, "fault": result.fault}
        for rank, result in enumerate(sorted(results, key=place_of), start=1)
    ]


def page(rows: Sequence[Row], settings: CompareSettings) -> str:
    """A bar a variant, the best on top, as a picture inside Markdown: the UI fetches nothing for it."""
    measured = [row for row in reversed(rows) if row[settings.metric] is not None]
    figure = Figure(figsize=(8, 1 + 0.4 * len(rows)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh([row["variant"] for row in measured], [row[settings.metric] for row in measured], color="#3b6ea5")
    axes.bar_label(bars, fmt="%.4g", padding=3)
    axes.set_xlabel(f"{settings.metric} ({'less' if settings.direction == 'minimize' else 'more'} is better)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.1)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=100)
    return f"![{settings.metric}](data:image/png;base64,{base64.b64encode(drawn.getvalue()).decode()})"
