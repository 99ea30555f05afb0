"""What a gate found: its report as JSON, the message of a failure, the table of a pass.

A report depends on the judged tables and settings alone: no times, no ids of a run, finite numbers, so it can lie in
git and be compared. Its numbers stand at the top level, where `dvc metrics` shows them; it skips the list below them.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

from faceline.evaluation.unmet import expected, told

DIGITS = 6  # decimals kept of a number: enough to judge, few enough to read
SHOWN = 3  # failing rows named in the message of a failure; the report has more


@dataclass(frozen=True)
class Finding:
    """One expectation and what was observed.

    `table` is the frame judged, `expectation` the type in Great Expectations, `share` that of unexpected rows (0 to 1),
    `examples` the first of these rows, each with its value and its `key`, the column that names a row.
    """

    table: str
    expectation: str
    column: str | None
    expected: Any
    observed: Any
    success: bool
    share: float
    key: str | None
    examples: list[dict[str, Any]]
    reason: str


@dataclass(frozen=True)
class Verdict:
    """All findings of a gate, its numbers (`rows` among them), and what it could not judge."""

    gate: str
    findings: tuple[Finding, ...]
    numbers: dict[str, int]
    skipped: tuple[str, ...]

    @property
    def met(self) -> int:
        """How many expectations were met."""
        return sum(finding.success for finding in self.findings)

    @property
    def success(self) -> bool:
        """Whether there was something to judge, and all of it was as expected."""
        return 0 < len(self.findings) == self.met

    def report(self) -> dict[str, Any]:
        """The content of `data/gates/<gate>.json`."""
        return {
            "gate": self.gate,
            "success": self.success,
            "expectations_met": self.met,
            "expectations_total": len(self.findings),
            "rows": self.numbers.get("rows", 0),
            **self.numbers,
            "skipped": list(self.skipped),
            "expectations": [asdict(finding) for finding in self.findings],
        }

    def failure(self) -> str:
        """What failed, for people: a line an expectation, with the reason and example rows."""
        failed = [finding for finding in self.findings if not finding.success]
        lines = [f"gate {self.gate} failed: {len(failed)} of {len(self.findings)} expectations were not met"]
        for finding in failed:
            place = f"{finding.table}: {finding.column}" if finding.column else finding.table
            lines.append(
                f"  {place}: expected {expected(finding.expectation, finding.expected)}, "
                f"observed {told(finding.observed)} ({finding.reason})"
            )
            lines += [f"    {told(example)}" for example in finding.examples[:SHOWN]]
        return "\n".join(lines)


def plain(value: Any) -> Any:
    """`value` as JSON holds it: numbers of NumPy as Python's, rounded; NaN as null, infinity as its name."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return round(value, DIGITS) if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)
