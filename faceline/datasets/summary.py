"""What a stage did with its rows: the `summary.json` beside its tables, read by gates and report."""

from collections import Counter
from typing import Any

import pyarrow as pa


def summarize(rows_in: int, kept: int, rejected: pa.Table, **more: Any) -> dict[str, Any]:
    """Counts of a stage: rows in, kept, and rejected by reason; `more` is what else the stage has to report.

    rows_in = kept + sum(rejected) must hold; the gates check it.
    """
    reasons = Counter(rejected.column("reason").to_pylist())
    return {"rows_in": rows_in, "kept": kept, "rejected": dict(sorted(reasons.items())), **more}


def told(stage: str, summary: dict[str, Any]) -> str:
    """The counts of a stage as one line for people."""
    rejected = ", ".join(f"{reason} {count}" for reason, count in summary["rejected"].items()) or "none"
    return f"{stage}: {summary['rows_in']} rows, {summary['kept']} kept; rejected: {rejected}"
