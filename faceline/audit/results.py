"""What an audit leaves: a table with every row, and counts."""

import csv
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from faceline.audit.profiles import Profile
from faceline.audit.verdicts import CATEGORIES, TESTED, Verdict
from faceline.datasets.labels import GENDERS
from faceline.evaluation.slices import BAND_NAMES, BANDS
from faceline.files import atomic_file

TABLE = "audit.csv"
ADDED = (  # columns of the table, behind those of the profiles
    "category",
    "strength",
    "p_value",
    "age_p_value",
    "gender_p_value",
    "age_score",
    "gender_score",
    "age_predicted",
    "age_low",
    "age_high",
    "gender_predicted",
    "gender_probability",
    "detail",
)


@dataclass
class Tally:
    """Counts of verdicts, and of flags among the tested rows by what they state."""

    categories: Counter[str] = field(default_factory=Counter)
    tested: Counter[tuple[str, str]] = field(default_factory=Counter)
    flagged: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, profile: Profile, verdict: Verdict) -> None:
        """Count a row."""
        self.categories[verdict.category] += 1
        if verdict.category in TESTED:
            groups = _groups(profile)
            self.tested.update(groups)
            self.flagged.update(groups if verdict.flagged else ())

    def counts(self) -> dict[str, int]:
        """Rows of each category, in the order of CATEGORIES; with the zeros."""
        return {name: self.categories[name] for name in CATEGORIES}

    def groups(self) -> list[dict[str, Any]]:
        """Flags by stated age and gender: where all statements are true, the false-flag rate of each group."""
        known = [("age", name) for name in BAND_NAMES] + [("gender", name) for name in GENDERS]
        return [
            {"by": by, "group": name, "tested": self.tested[by, name], "flagged": self.flagged[by, name]}
            for by, name in known
            if self.tested[by, name]
        ]


def write_results(path: Path, names: tuple[str, ...], rows: Iterable[tuple[Profile, Verdict]]) -> Tally:
    """Write the table of all rows, in order, as they come; whole or not at all.

    Args:
        path: of the CSV.
        names: the columns of the profiles.
        rows: every profile with its verdict.
    """
    tally = Tally()
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:

        def write(row: str) -> None:
            file.write(row.removesuffix("\r\n") + "\n")

        # Before Python 3.11.9 a cell is quoted for those ends of lines alone that the writer itself writes: by a lone
        # carriage return in it a profile would break its row in two, and lose its verdict.
        table = csv.writer(SimpleNamespace(write=write), lineterminator="\r\n")
        table.writerow([*names, *ADDED])
        for profile, verdict in rows:
            tally.add(profile, verdict)
            table.writerow([*profile.values, *(_cell(getattr(verdict, name)) for name in ADDED)])
    return tally


def _cell(value: float | str | None) -> str:
    return "" if value is None else str(value)


def _groups(profile: Profile) -> list[tuple[str, str]]:
    """The groups that a row belongs to by its statement."""
    found = []
    if profile.age is not None:
        band = sum(profile.age >= youngest for youngest in BANDS) - 1
        found.append(("age", BAND_NAMES[band]))
    if profile.gender is not None:
        found.append(("gender", GENDERS[profile.gender]))
    return found
