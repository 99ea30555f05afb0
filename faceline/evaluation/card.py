"""The model card, models/CARD.md: what the bundle is for, what it was made from, and for whom it errs."""

from typing import Any

from faceline.datasets.records import SUBSETS
from faceline.evaluation.material import Material
from faceline.evaluation.page import render
from faceline.evaluation.sections import FEW, at, measures, number, slice_rows, words

SYNTHETIC = "sample"  # the dataset without real people
NO_LICENCE = "The bundle's card names no licence; that of the dataset holds."


def model_card(material: Material, dataset: str, recipe: str) -> str:
    """The card as Markdown; what is not known yet says so."""
    metrics = material.metrics or {}
    card = material.card or {}
    return render(
        "card.md.j2",
        dataset=dataset,
        recipe=recipe,
        facts=_facts(card, material.bundle_digest),
        licence=card.get("licence") or NO_LICENCE,
        measures=measures(metrics),
        rows=metrics.get("rows", 0),
        coverage=metrics.get("coverage"),
        slices=slice_rows(metrics),
        extremes=_extremes(metrics),
        synthetic=dataset == SYNTHETIC,
    )


def _facts(card: dict[str, Any], digest: str | None) -> list[tuple[str, str]]:
    """What identifies the bundle, as far as its card says it."""
    networks = at(card, "networks") or []
    parts = [f"{', '.join(each['targets'])}: {each['parameters']:,} parameters" for each in networks]
    size, rows, interval = at(card, "input.size"), at(card, "shards.rows"), at(card, "age_interval")
    facts = {
        "bundle": _short(digest),
        "recipe": _short(at(card, "recipe.digest")),
        "shards": _short(at(card, "shards.digest")),
        "networks": "; ".join(parts),
        "input": f"{size} × {size} pixels" if size else "",
        "rows": ", ".join(f"{name} {rows[name]:,}" for name in SUBSETS if name in rows) if rows else "",
        "interval of age": f"± {interval['half_width']:.1f} years, for {interval['coverage']:.0%}" if interval else "",
    }
    return [(name, value) for name, value in facts.items() if value]


def _short(digest: str | None) -> str:
    return f"`{digest[:16]}`" if digest else ""


def _extremes(metrics: dict[str, Any]) -> list[str]:
    """For each target, the groups with the largest and the smallest error among those with rows enough."""
    found = []
    for name, path, unit, sign in (
        ("Age error", "age.mae", "years", 1),
        ("Gender accuracy", "gender.accuracy", "share", -1),
        ("Race accuracy", "race.accuracy", "share", -1),
    ):
        scores = [
            (sign * value, value, f"{by} {group}")
            for by, groups in metrics.get("slices", {}).items()
            for group, score in groups.items()
            if (value := number(score, path)) is not None and score[path.split(".")[0]]["n"] >= FEW
        ]
        best, worst = min(scores, default=(0.0, 0.0, "")), max(scores, default=(0.0, 0.0, ""))
        if best[0] < worst[0]:
            found.append(
                f"{name} goes from {words(best[1], unit)} ({best[2]}) to {words(worst[1], unit)} ({worst[2]})."
            )
    return found
