"""The model card, models/CARD.md: what the bundle is for, what it was made from, and for whom it errs."""

from typing import Any

from faceline.datasets.tables import SUBSETS
from faceline.evaluation.material import Material
from faceline.evaluation.page import render
from faceline.evaluation.sections import crossing_rows, measures, slice_rows
from faceline.evaluation.wording import at, gaps

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
        crossings=crossing_rows(metrics),
        gaps=gaps(metrics),
        synthetic=dataset == SYNTHETIC,
    )


def _facts(card: dict[str, Any], digest: str | None) -> list[tuple[str, str]]:
    """What identifies the bundle, as far as its card says it."""
    networks = at(card, "networks") or []
    parts = [f"{', '.join(each['targets'])}: {each['parameters']:,} parameters" for each in networks]
    rows, interval = at(card, "shards.rows"), at(card, "age_interval")
    sides = dict.fromkeys(at(each, "input.size") for each in networks)  # each once, in the order of the networks
    temperatures = at(card, "temperatures") or {}
    facts = {
        "bundle": _short(digest),
        "recipe": _short(at(card, "recipe.digest")),
        "shards": _short(at(card, "shards.digest")),
        "networks": "; ".join(parts),
        "input": "; ".join(f"{side} × {side} pixels" for side in sides if side),
        "rows": ", ".join(f"{name} {rows[name]:,}" for name in SUBSETS if name in rows) if rows else "",
        "interval of age": _interval(interval) if interval else "",
        "temperatures": ", ".join(f"{target} {value:.2f}" for target, value in temperatures.items()),
        "answers": "the mean for a crop and its mirror image" if at(card, "flip_averaging") else "",
        "probabilities of age": _adjustment(card, "age"),
        "probabilities of race": _adjustment(card, "race"),
    }
    return [(name, value) for name, value in facts.items() if value]


def _adjustment(card: dict[str, Any], target: str) -> str:
    """How far rare ages or races are favoured by each network that answers for them; empty if by none."""
    heads = [at(network, f"targets.{target}") for network in at(card, "recipe.settings.networks") or []]
    strengths = [head.get("logit_adjustment") or 0 for head in heads if head is not None]
    if not any(strengths):
        return ""
    powers = " and ".join(f"{strength:g}" for strength in dict.fromkeys(strengths))
    return f"divided by the {target}'s share of the training rows to the power of {powers}"


def _interval(interval: dict[str, Any]) -> str:
    """How wide it is, and how many ages it is to hold."""
    wider = ", wider where the network is less sure" if interval.get("typical_deviation") else ""
    return f"± {interval['half_width']:.1f} years{wider}, for {100 * interval['coverage']:g}%"


def _short(digest: str | None) -> str:
    return f"`{digest[:16]}`" if digest else ""
