"""A comparison in words: as JSON, as a table, and in one sentence."""

from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from faceline.evaluation.comparing import Comparison, Difference

NAMES = {
    "age_mae": "age: mean absolute error, years",
    "gender_accuracy": "gender: accuracy, %",
    "race_accuracy": "race: accuracy, %",
}


def comparison_record(comparison: "Comparison") -> dict[str, Any]:
    """What is printed as JSON; shares are from 0 to 1."""
    return {
        "rows": {"a": comparison.rows_a, "b": comparison.rows_b, "common": comparison.common},
        "samples": comparison.bootstrap.samples,
        "seed": comparison.bootstrap.seed,
        "level": comparison.bootstrap.level,
        "metrics": {difference.metric: _record(difference) for difference in comparison.differences},
        "not_compared": list(comparison.not_compared),
        "beats": comparison.beats,
    }


def comparison_table(comparison: "Comparison") -> Table:
    """The table that is printed: a row a metric."""
    table = Table("metric", "A", "B", f"B - A ({100 * comparison.bootstrap.level:g}% interval)", "B is", "rows")
    for difference in comparison.differences:
        table.add_row(*_cells(difference))
    return table


def comparison_sentence(comparison: "Comparison") -> str:
    """Whether B beats A, on how many rows, and why."""
    groups = {
        verdict: [difference.target for difference in comparison.differences if difference.verdict == verdict]
        for verdict in ("better", "worse")
    }
    why = [f"{verdict} in {' and '.join(targets)}" for verdict, targets in groups.items() if targets]
    why = why or ["no difference shown"]
    why += [
        f"{difference.conflicts} left out of {difference.target} as labels differ"
        for difference in comparison.differences
        if difference.conflicts
    ]
    if comparison.not_compared:
        why.append(f"{' and '.join(comparison.not_compared)} not compared")
    return (
        f"B {'beats' if comparison.beats else 'does not beat'} A on the {comparison.common} rows that both have "
        f"({comparison.rows_a} in A, {comparison.rows_b} in B): {', '.join(why)}."
    )


def _record(difference: "Difference") -> dict[str, Any]:
    return {
        "a": difference.a,
        "b": difference.b,
        "difference": difference.difference,
        "low": difference.low,
        "high": difference.high,
        "verdict": difference.verdict,
        "wins": difference.wins,
        "losses": difference.losses,
        "rows": difference.rows,
        "groups": difference.groups,
        "conflicts": difference.conflicts,
    }


def _cells(difference: "Difference") -> list[str]:
    scale = 1 if difference.target == "age" else 100
    gap, low, high = (f"{scale * value:+.2f}" for value in (difference.difference, difference.low, difference.high))
    return [
        NAMES[difference.metric],
        f"{scale * difference.a:.2f}",
        f"{scale * difference.b:.2f}",
        f"{gap} ({low} to {high})",
        difference.verdict,
        str(difference.rows),
    ]
