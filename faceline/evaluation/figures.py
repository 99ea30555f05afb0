"""The report's figures: each function draws one and returns it as SVG in a data URI, with words for who can't see it.

The same values give the same bytes: no date, no random ids, no state shared between figures.
"""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from faceline.datasets.labels import GENDERS, RACES
from faceline.evaluation.judged import Floats, Judged
from faceline.evaluation.plots import CS_YEARS, confusion_counts, cumulative_score, roc_points
from faceline.evaluation.reliability import reliability
from faceline.probabilities import untempered

INK, FAINT, GRID = "#22303c", "#b3bfca", "#e4e9ee"
MAIN, SECOND = "#1f6f8b", "#d97b29"  # told apart by people who see few colours, too
NETWORKS = (MAIN, SECOND, "#43217a")  # so are these
MARKERS = ("", "o", "s", "^", "D", "v", "P", "X", "*", "<", ">")  # of so many times three networks
SHADES = LinearSegmentedColormap.from_list("shades", ["#f5f8fa", "#8fbccb", MAIN])
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "faceline",
    "font.size": 10,
    "font.family": "DejaVu Sans",  # matplotlib brings it along; the text becomes outlines
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}
OLDEST_SHOWN = 100  # years; what lies beyond is counted in the last bin
NARROW, WIDE = (5.0, 3.4), (8.4, 3.4)  # inches


@dataclass(frozen=True)
class Picture:
    """A figure ready for the page: `source` is a data URI, `alt` what it shows in words."""

    source: str
    alt: str
    wide: bool = False


def age_before_after(before: pd.Series, after: pd.Series) -> Picture:
    """Histograms of the labelled age, 0 to 100 years, before and after cleaning."""

    def paint(axes: Axes) -> None:
        edges = list(range(0, OLDEST_SHOWN + 2, 2))
        for ages, colour, name in ((before, FAINT, "before cleaning"), (after, MAIN, "after cleaning")):
            shown, label = np.clip(ages, 0, OLDEST_SHOWN), f"{name} ({len(ages):,})"
            axes.hist(shown, bins=edges, histtype="stepfilled", color=colour, label=label)
        axes.set(xlabel="age (years)", ylabel="rows", xlim=(0, OLDEST_SHOWN + 1))
        axes.legend()

    alt = f"Ages before cleaning: {_spread(before)}. After: {_spread(after)}."
    return _draw(paint, alt, wide=True)


def codes_before_after(before: pd.Series, after: pd.Series, names: Sequence[str]) -> Picture:
    """Bars of a label's codes before and after cleaning."""
    counts = [[int((codes == code).sum()) for code in range(len(names))] for codes in (before, after)]

    def paint(axes: Axes) -> None:
        places = np.arange(len(names))
        for offset, rows, colour, name in ((-0.2, counts[0], FAINT, "before"), (0.2, counts[1], MAIN, "after")):
            bars = axes.barh(places + offset, rows, height=0.38, color=colour, label=f"{name} cleaning")
            axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8)
        axes.set(yticks=places, yticklabels=names, xlabel="rows")
        axes.margins(x=0.14)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.16), ncols=2)

    told = "; ".join(f"{name} {was:,} before, {now:,} after" for name, was, now in zip(names, *counts, strict=True))
    return _draw(paint, f"Rows by label, before and after cleaning: {told}.")


def age_by_gender(kept: pd.DataFrame) -> tuple[Picture, Picture]:
    """A histogram and a box plot of the age of each gender, after cleaning."""
    ages = [kept.loc[kept["gender"] == code, "age"].dropna().to_numpy(float) for code in range(len(GENDERS))]

    def histogram(axes: Axes) -> None:
        edges = list(range(0, OLDEST_SHOWN + 4, 4))
        for group, colour, name in zip(ages, (MAIN, SECOND), GENDERS, strict=True):
            clipped = np.clip(group, 0, OLDEST_SHOWN)
            axes.hist(
                clipped, bins=edges, color=colour, histtype="step", linewidth=1.8, label=f"{name} ({len(group):,})"
            )
        axes.set(xlabel="age (years)", ylabel="rows")
        axes.legend()

    def boxes(axes: Axes) -> None:
        axes.boxplot(
            ages,
            orientation="horizontal",
            tick_labels=GENDERS,
            widths=0.5,
            patch_artist=True,
            boxprops={"facecolor": "#dbe9ee", "edgecolor": MAIN},
            medianprops={"color": SECOND, "linewidth": 2},
            flierprops={"marker": ".", "markersize": 3},
        )
        axes.set(xlabel="age (years)")
        axes.invert_yaxis()

    told = "; ".join(f"{name}: {_spread(pd.Series(group))}" for name, group in zip(GENDERS, ages, strict=True))
    return _draw(histogram, f"Ages by gender. {told}."), _draw(boxes, f"Quartiles of age by gender. {told}.")


def learning_curve(history: pd.DataFrame, name: str) -> Picture:
    """A measure by epoch: columns `val_<name>` and, where training has it, `<name>`; a line a network."""
    told: list[str] = []

    def paint(axes: Axes) -> None:
        looks = cycle(product(MARKERS, NETWORKS))
        for (marker, colour), (network, rows) in zip(looks, history.groupby("network", sort=False), strict=False):
            for column, dash, subset in ((name, ":", "training"), (f"val_{name}", "-", "validation")):
                values = rows[column].dropna() if column in rows else pd.Series(dtype=float)
                if len(values):
                    label, epochs = f"{network}, {subset}", rows.loc[values.index, "epoch"]
                    axes.plot(epochs, values, dash, color=colour, marker=marker, linewidth=2, label=label)
                    told.append(f"{label}: from {values.iloc[0]:.3g} to {values.iloc[-1]:.3g}")
        axes.set(xlabel="epoch", ylabel=name.replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()

    picture = _draw(paint, "")
    return replace(picture, alt=f"{name.replace('_', ' ')} by epoch. {'; '.join(told)}.")


def confusion(judged: Judged, target: str) -> Picture:
    """Answers (across) by label (down): rows, and their share of the label's rows as the shade."""
    names = GENDERS if target == "gender" else RACES
    counts = confusion_counts(judged, target, len(names))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    def paint(axes: Axes) -> None:
        axes.imshow(shares, cmap=SHADES, vmin=0, vmax=1, aspect="auto")
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.6 else INK
            axes.text(
                column, row, f"{shares[row, column]:.0%}\n{count:,}", ha="center", va="center", color=colour, fontsize=9
            )
        ticks = np.arange(len(names))
        axes.set(xticks=ticks, xticklabels=names, yticks=ticks, yticklabels=names, xlabel="predicted", ylabel="label")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)

    right = "; ".join(f"{name} {shares[code, code]:.0%} of {counts[code].sum():,}" for code, name in enumerate(names))
    return _draw(paint, f"Confusion matrix of {target}. Right: {right}.")


def roc(judged: Judged, auc: float) -> Picture:
    """The ROC curve of "female"; `auc` is the area below it."""
    points = roc_points(judged)

    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=FAINT, linestyle="--", linewidth=1, label="chance")
        axes.plot(points[:, 0], points[:, 1], color=MAIN, linewidth=2, label=f"AUC {auc:.3f}")
        axes.set(xlabel="false positive rate (female)", ylabel="true positive rate", xlim=(-0.01, 1), ylim=(0, 1.01))
        axes.legend(loc="lower right")

    return _draw(paint, f"ROC curve of gender with female as positive; area under the curve {auc:.3f}.")


def predicted_true(judged: Judged) -> Picture:
    """Predicted age by labelled age, a point a row."""
    age, predicted = judged.pair("age")

    def paint(axes: Axes) -> None:
        limit = (0, float(max(age.max(), predicted.max())) + 3)
        axes.plot(limit, limit, color=SECOND, linewidth=1.2, label="no error")
        # Many points are one small bitmap rather than thousands of shapes.
        axes.scatter(
            age, predicted, s=9, color=MAIN, alpha=max(0.15, min(0.6, 120 / len(age))), linewidth=0, rasterized=True
        )
        axes.set(xlabel="label (years)", ylabel="predicted (years)", xlim=limit, ylim=limit)
        axes.legend(loc="upper left")

    correlation = float(np.corrcoef(age, predicted)[0, 1]) if age.std() and predicted.std() else 0.0
    return _draw(paint, f"Predicted against labelled age of {len(age):,} pictures; correlation {correlation:.2f}.")


def error_histogram(judged: Judged) -> Picture:
    """The signed error of age: predicted minus labelled, in years."""
    age, predicted = judged.pair("age")
    error = predicted - age
    middle = float(np.median(error))

    def paint(axes: Axes) -> None:
        limit = max(10.0, float(np.ceil(np.quantile(np.abs(error), 0.99) / 5) * 5))
        edges = np.linspace(-limit, limit, 41).tolist()
        axes.hist(np.clip(error, -limit, limit), bins=edges, histtype="stepfilled", color=MAIN)
        axes.axvline(0, color=INK, linewidth=1)
        axes.axvline(middle, color=SECOND, linewidth=1.5, linestyle="--", label=f"median {middle:+.1f}")
        axes.set(xlabel="predicted minus label (years)", ylabel="rows")
        axes.legend()

    share = float(np.mean(error > 0))
    return _draw(paint, f"Errors of age: median {middle:+.1f} years; {share:.0%} of the answers are too old.")


def cumulative_scores(judged: Judged) -> Picture:
    """The CS curve: the share of ages (up) predicted within so many years (across), with the quartiles marked."""
    age, predicted = judged.pair("age")
    error = np.sort(np.abs(predicted - age))
    quartiles: Floats = np.quantile(error, (0.25, 0.5, 0.75))
    within = cumulative_score(judged, np.array([5, 10]))

    def paint(axes: Axes) -> None:
        axes.step([0, *error], np.arange(len(error) + 1) / len(error), where="post", color=MAIN, linewidth=2)
        for share, value in zip((0.25, 0.5, 0.75), quartiles, strict=True):
            axes.plot([value], [share], "o", color=SECOND, markersize=5)
            axes.annotate(
                f"{value:.1f} years", (float(value), share), xytext=(8, -9), textcoords="offset points", fontsize=9
            )
        axes.set(xlabel="absolute error of age (years)", ylabel="share of rows", xlim=(0, CS_YEARS), ylim=(0, 1.02))
        axes.yaxis.set_major_formatter(PercentFormatter(1))

    told = " / ".join(f"{value:.1f}" for value in quartiles)
    shares = f"{within[0]:.0%} of the ages within 5 years, {within[1]:.0%} within 10"
    return _draw(paint, f"Cumulative scores: {shares}; quartiles of the error {told} years, largest {error[-1]:.1f}.")


def reliability_diagram(judged: Judged, target: str, temperature: float | None) -> Picture:
    """The share of right answers (up) among those of one probability (across); larger dots stand for more rows.

    Args:
        temperature: the bundle's; where it is given, probabilities without it are drawn beside.
    """
    probabilities, labels = judged.probabilities(target)
    lines = [(probabilities, MAIN, "-", "as given")]
    if temperature is not None:
        lines.insert(0, (untempered(probabilities, temperature), SECOND, ":", "without temperature"))
    told: list[str] = []

    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=FAINT, linestyle="--", linewidth=1)
        for given, colour, dash, name in lines:
            found = reliability(given, labels)
            label = f"{name}: ECE {found.error:.1%}"
            axes.plot(found.confidence, found.accuracy, dash, color=colour, linewidth=1.5, label=label)
            axes.scatter(found.confidence, found.accuracy, s=8 + 90 * found.rows / len(labels), color=colour)
            told.append(label)
        lowest = 1 / probabilities.shape[1]
        axes.set(xlabel=f"probability of the answered {target}", ylabel="share right", xlim=(lowest, 1.02))
        axes.set(ylim=(-0.02, 1.04))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1))
        axes.legend(loc="lower right")

    picture = _draw(paint, "")
    what = f"Reliability diagram of {target} on {len(labels):,} pictures; ECE is the expected calibration error"
    return replace(picture, alt=f"{what}. {'; '.join(told)}.")


def _draw(paint: Callable[[Axes], None], alt: str, *, wide: bool = False) -> Picture:
    with rc_context(STYLE):
        figure = Figure(figsize=WIDE if wide else NARROW, layout="constrained")
        paint(figure.add_subplot())
        svg = io.BytesIO()
        figure.savefig(svg, format="svg", dpi=150, metadata={"Date": None})
    return Picture("data:image/svg+xml;base64," + base64.b64encode(svg.getvalue()).decode(), alt, wide)


def _spread(ages: "pd.Series[float] | NDArray[np.float64]") -> str:
    if not len(ages):
        return "no rows"
    low, middle, high = np.quantile(np.asarray(ages, dtype=float), (0.25, 0.5, 0.75))
    return f"{len(ages):,} rows, half of them from {low:.0f} to {high:.0f} years, median {middle:.0f}"
