"""The report: one HTML page that needs nothing but itself, made of whatever the stages have left so far."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from faceline.datasets.labels import GENDERS, RACES, TARGETS
from faceline.evaluation import figures
from faceline.evaluation.figures import Picture
from faceline.evaluation.judged import Judged
from faceline.evaluation.material import Material
from faceline.evaluation.pictures import ReportSettings, random_crops, suspect_crops, thumbnails, worst
from faceline.evaluation.sections import crossing_rows, fold_measures, measures, slice_rows, steps, verdicts
from faceline.evaluation.wording import HEADLINES, at, gaps, number

TEMPLATES = Path(__file__).parent


def render(template: str, **values: Any) -> str:
    """A template of this folder, filled in; a name that it uses and `values` lacks raises."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(values)


def page(material: Material, dataset: str, recipe: str, settings: ReportSettings) -> str:
    """The report as HTML; a section whose table is missing says so."""
    judged = None if material.predictions is None else Judged.of(material.predictions)
    grid = random_crops(material.crops, material.kept, settings)
    wrong = {} if judged is None else {target: worst(judged, target, settings.worst) for target in TARGETS}
    table = material.suspects
    suspect = {} if table is None else {name: suspect_crops(table, name, settings.suspects) for name in TARGETS}
    wanted = {shown.image_id for group in (grid, *wrong.values(), *suspect.values()) for shown in group}
    metrics = material.metrics or {}
    return render(
        "report.html.j2",
        dataset=dataset,
        recipe=recipe,
        digest=material.bundle_digest,
        licence=(material.card or {}).get("licence"),
        headlines=measures(metrics, HEADLINES),
        coverage=metrics.get("coverage"),
        rows=metrics.get("rows"),
        steps=steps(material.summaries),
        gates=verdicts(material.gates),
        labels=_label_figures(material),
        by_gender=_gender_figures(material),
        grid=grid,
        curves=_curves(material),
        measures=measures(metrics),
        slices=slice_rows(metrics),
        crossings=crossing_rows(metrics),
        gaps=gaps(metrics),
        answers=[] if judged is None else _answer_figures(judged, metrics),
        beliefs=[] if judged is None else _belief_figures(judged, material.summaries.get("evaluate", {})),
        wrong={target: group for target, group in wrong.items() if group},
        folds=material.crossvalidation,
        fold_measures=[] if material.crossvalidation is None else fold_measures(material.crossvalidation),
        outdated=_outdated(material),
        suspects={target: group for target, group in suspect.items() if group},
        crops=thumbnails(material.crops, wanted),
    )


def _outdated(material: Material) -> bool:
    """Whether the bundle was trained on other shards than those that cross-validation divided into folds."""
    if material.crossvalidation is None or material.card is None:
        return False
    return bool(material.card["shards"]["digest"] != material.crossvalidation["shards"])


def _label_figures(material: Material) -> list[Picture]:
    before, after = material.labels, material.kept
    if before is None or after is None:
        return []
    found = [figures.age_before_after(before["age"].dropna(), after["age"].dropna())]
    for name, names in (("gender", GENDERS), ("race", RACES)):
        if before[name].notna().any():
            found.append(figures.codes_before_after(before[name], after[name], names))
    return found


def _gender_figures(material: Material) -> list[Picture]:
    kept = material.kept
    if kept is None or not (kept["age"].notna() & kept["gender"].notna()).any():
        return []
    return list(figures.age_by_gender(kept))


def _curves(material: Material) -> list[Picture]:
    """One figure for each measure that was taken on the validation subset."""
    history = material.history
    if history is None or history.empty:
        return []
    names = [column.removeprefix("val_") for column in map(str, history) if column.startswith("val_")]
    return [figures.learning_curve(history, name) for name in names if history[f"val_{name}"].notna().any()]


def _answer_figures(judged: Judged, metrics: dict[str, Any]) -> list[Picture]:
    found = []
    if len(judged.pair("age")[0]):
        found += [figures.predicted_true(judged), figures.error_histogram(judged), figures.cumulative_scores(judged)]
    found += [figures.confusion(judged, target) for target in ("gender", "race") if len(judged.pair(target)[0])]
    auc = number(metrics, "gender.auc")
    if auc is not None:
        found.append(figures.roc(judged, auc))
    return found


def _belief_figures(judged: Judged, summary: dict[str, Any]) -> list[Picture]:
    """A reliability diagram of each target that has probabilities, with the answers before their temperature."""
    return [
        figures.reliability_diagram(judged, target, at(summary, f"temperatures.{target}"))
        for target in ("gender", "race")
        if len(judged.probabilities(target)[1])
    ]
