"""What `faceline audit` says when it is done."""

from pathlib import Path
from typing import Any

from faceline.audit.gallery import PAGE
from faceline.audit.results import TABLE


def summary_lines(summary: dict[str, Any], output: Path) -> list[str]:
    """Two lines: the rows of each category, and where the results lie."""
    counts = ", ".join(f"{name} {count}" for name, count in summary["counts"].items() if count)
    rate = f"{summary['false_flags'] * 100:g}%"
    return [
        f"{summary['profiles']}: {summary['rows']} profiles, {summary['flagged']} of {summary['tested']} tested ones "
        f"flagged at a false-flag rate of {rate}: {counts}",
        f"{output / PAGE} shows the strongest flags, {output / TABLE} has every row; a flag is a reason to look, no "
        "proof",
    ]
