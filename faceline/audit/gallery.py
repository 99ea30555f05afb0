"""The gallery: one HTML page of the strongest flags that needs nothing but itself."""

import heapq
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from faceline.audit.profiles import PICTURE, STATED, Profile
from faceline.audit.verdicts import CATEGORIES, Verdict
from faceline.files import atomic_file

PAGE = "index.html"
LONGEST = 80  # characters of a field that are shown
FIELDS = 8  # further columns of a profile that are shown


def strongest(rows: Iterable[tuple[Profile, Verdict]], count: int) -> list[tuple[Profile, Verdict]]:
    """The `count` strongest flags, strongest first; no more than these are held."""
    flagged = (row for row in rows if row[1].flagged)
    return heapq.nlargest(count, flagged, key=lambda row: row[1].order)


def write_page(
    path: Path,
    names: tuple[str, ...],
    shown: list[tuple[Profile, Verdict]],
    summary: dict[str, Any],
    coverage: float | None,
) -> None:
    """Write the page.

    Args:
        path: of the page.
        names: the columns of the profiles.
        shown: the flags to show, in order.
        summary: of the audit.
        coverage: of the age intervals, where the bundle has them.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # names and paths are whatever somebody typed
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    flags = [_flag(names, profile, verdict) for profile, verdict in shown]
    template = environment.get_template("gallery.html.j2")
    page = template.render(flags=flags, categories=CATEGORIES, summary=summary, coverage=coverage)
    with atomic_file(path) as partial:
        partial.write_text(page, encoding="utf-8")


def _flag(names: tuple[str, ...], profile: Profile, verdict: Verdict) -> dict[str, Any]:
    """What the page says of one flag."""
    others = [
        (_short(name), _short(value))
        for name, value in zip(names, profile.values, strict=True)
        if name not in (PICTURE, *STATED) and value
    ]
    return {
        "verdict": verdict,
        "picture": _short(profile.picture),
        "others": others[:FIELDS],
        "says": verdict.detail.split("; "),
    }


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
