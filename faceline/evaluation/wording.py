"""Numbers of nested metrics in words, each with its unit; and which groups a bundle judges best and worst."""

from dataclasses import dataclass
from typing import Any

FEW = 30  # rows, of an interval groups of rows; below this a number says little
MISSING = "–"
# The one measure of each target: what it is called, where it stands in the metrics, and its unit.
HEADLINES = (
    ("Age error", "age.mae", "years"),
    ("Gender right", "gender.accuracy", "share"),
    ("Race right", "race.accuracy", "share"),
)


@dataclass(frozen=True)
class Group:
    """A group of people, as "age 0-8" or "male, 0-8", and how the bundle does on it."""

    name: str
    score: float
    rows: int


def headlines(metrics: dict[str, Any]) -> list[str]:
    """A line for each headline metric that there is, with its interval."""
    found = []
    for name, path, unit in HEADLINES:
        if (value := number(metrics, path)) is not None:
            bounds = between(metrics, path, unit)
            found.append(f"{name}: {words(value, unit)}" + (f" ({bounds})" if bounds else ""))
    return found


def gaps(metrics: dict[str, Any]) -> list[str]:
    """For each target, between which groups with rows enough the bundle differs most; of one label, then of two."""
    found = []
    for kind in ("slices", "crossings"):
        for name, path, unit in HEADLINES:
            if pair := largest_gap(metrics.get(kind, {}), path):
                worst, best = (f"{words(each.score, unit)} for {each.name} ({each.rows:,})" for each in pair)
                found.append(f"{name}: {worst} against {best}")
    return found


def largest_gap(by_label: dict[str, dict[str, Any]], path: str) -> tuple[Group, Group] | None:
    """The worst and the best group that differ most in the metric at `path`, of those formed by one kind of label.

    Groups with fewer than FEW rows stay out: chance alone makes them differ. None without two groups that differ.
    """
    target, sign = path.partition(".")[0], 1 if path == "age.mae" else -1
    pairs = []
    for by, groups in by_label.items():
        scored = [
            Group(group if "," in by else f"{by} {group}", score, scores[target]["n"])  # "male, 0-8" needs no more
            for group, scores in groups.items()
            if (score := number(scores, path)) is not None and scores[target]["n"] >= FEW
        ]
        ranked = sorted(scored, key=lambda group: (sign * group.score, group.name))
        if ranked:
            pairs.append((ranked[-1], ranked[0]))
    widest = max(pairs, key=lambda pair: abs(pair[0].score - pair[1].score), default=None)
    return widest if widest and widest[0].score != widest[1].score else None


def between(values: dict[str, Any], path: str, unit: str) -> str:
    """The bounds of the interval of the metric at `path`, as "4.50 to 4.90 years"; empty where it has none."""
    low, high = number(values, f"{path}_low"), number(values, f"{path}_high")
    if low is None or high is None:
        return ""
    return f"{words(low, unit).removesuffix(' years')} to {words(high, unit)}"


def number(values: dict[str, Any], path: str) -> float | None:
    """The number at a dotted path, None where there is none."""
    found = at(values, path)
    return None if found is None else float(found)


def at(values: dict[str, Any], path: str) -> Any:
    """What stands at a dotted path of nested mappings, None where there is nothing."""
    found: Any = values
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found


def words(value: float | None, unit: str) -> str:
    """A number with its unit: years, signed (years), share (as percent) or number."""
    if value is None:
        return MISSING
    value = (
        round(value, 3 if unit in ("share", "number") else 2) + 0.0
    )  # as many digits as are shown: no minus before a zero
    return {"years": f"{value:.2f} years", "signed": f"{value:+.2f} years", "share": f"{value:.1%}"}.get(
        unit, f"{value:.3f}"
    )
