"""An audit from the table of profiles to its results: block by block, resumably, in memory that does not grow.

Reads the CSV of profiles and a folder of pictures; writes to the output folder `audit.csv` (every row), `index.html`
(the strongest flags), `summary.json` (counts) and `verdicts.jsonl`, by which a killed audit goes on and the same audit,
asked for again, takes no time. Blocks always begin at the same rows, so the same input gives the same bytes, resumed or
not.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from faceline.audit import journal
from faceline.audit.folder import read_picture
from faceline.audit.gallery import PAGE, strongest, write_page
from faceline.audit.journal import JOURNAL, Journal
from faceline.audit.judging import Judge
from faceline.audit.profiles import Profile, Profiles
from faceline.audit.results import ADDED, TABLE, write_results
from faceline.audit.verdicts import CONTRADICTS, TESTED, Verdict, require_calibration
from faceline.console import printable
from faceline.errors import SourceError
from faceline.files import sha256_file, write_json
from faceline.learning.card import CARD, Card, read_card

BLOCK = 64  # rows that are judged together, and of which a kill loses no more
SUMMARY = "summary.json"
VERSION = 2  # raise when the same input gives other verdicts than before, so that old ones are not used


@dataclass(frozen=True)
class AuditSettings:
    """What an audit reads, how it decides, and where it writes.

    Attributes:
        profiles: the CSV.
        bundle: its folder.
        output: the folder of the results; it is made.
        pictures: the folder that the paths in the CSV begin at; by default the CSV's.
        false_flags: of profiles that state the truth, the share that may be flagged.
        limit: so many rows are audited, the first ones; by default all.
        shown: so many flags are in the gallery.
        follow_links: whether symbolic links may lead out of the folder of pictures.
    """

    profiles: Path
    bundle: Path
    output: Path
    pictures: Path | None = None
    false_flags: float = 0.01
    limit: int | None = None
    shown: int = 200
    follow_links: bool = False

    @property
    def folder(self) -> Path:
        """The folder of the pictures, without links."""
        return (self.pictures or self.profiles.parent).resolve()


def audit(
    settings: AuditSettings,
    make_judge: Callable[[AuditSettings], Judge],
    tick: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Audit the profiles; returns the summary, as `summary.json` has it.

    Args:
        settings: what and how.
        make_judge: gives what judges; asked only if rows are left.
        tick: called after each row.
        say: told a line where something is to be said.

    Raises:
        SourceError: the CSV cannot be read or is no table of profiles, or there is no folder of pictures.
        BundleError: there is no bundle, or it has no calibration.
        SettingsError: the false-flag rate is too low for the bundle's calibration.
        BusyError: another audit writes to the output folder.
    """
    _require_apart(settings)
    profiles = Profiles.of(settings.profiles, frozenset(ADDED))
    card = read_card(settings.bundle)
    warnings = require_calibration(card.nonconformity, profiles.stated, settings.false_flags, str(settings.bundle))
    for line in warnings:
        say(line)
    with journal.opened(settings.output, _key(settings, profiles)) as kept:
        if kept.began_anew:
            say(f"{settings.output} is of another table, bundle or setting: the audit begins anew")
            for name in (TABLE, PAGE, SUMMARY):  # which would look like what this one found, if it is killed
                (settings.output / name).unlink(missing_ok=True)
        rows = min(profiles.rows, settings.limit or profiles.rows)
        if kept.rows:
            say(f"{settings.output} has {kept.rows} of {rows} rows already")
        if kept.rows < rows:
            _judge_rest(settings, islice(profiles, kept.rows, rows), make_judge(settings), kept, tick)
        return _write(settings, profiles, kept, card, warnings)


def _require_apart(settings: AuditSettings) -> None:
    """Refuse to write over what is read."""
    if not settings.folder.is_dir():
        raise SourceError(
            f"{settings.pictures or settings.profiles.parent} is no folder; allowed: that of the pictures"
        )
    if settings.profiles.resolve() in {settings.output.resolve() / name for name in (TABLE, PAGE, SUMMARY, JOURNAL)}:
        raise SourceError(f"{settings.profiles} is what the audit would write; choose another --output")
    foreign = [name for name in (TABLE, PAGE, SUMMARY) if (settings.output / name).exists()]
    if foreign and not (settings.output / JOURNAL).exists():
        raise SourceError(f"{settings.output / foreign[0]} is of no audit; choose another --output")


def _key(settings: AuditSettings, profiles: Profiles) -> str:
    """A digest of all that the verdicts depend on, but for the pictures themselves."""
    parts = [
        VERSION,
        profiles.sha256,
        sha256_file(settings.bundle / CARD),  # which vouches for the networks
        str(settings.folder),
        settings.false_flags,
        settings.limit,
        settings.follow_links,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _judge_rest(
    settings: AuditSettings, rest: Iterator[Profile], judge: Judge, kept: Journal, tick: Callable[[], None]
) -> None:
    read = partial(read_picture, settings.folder, follow_links=settings.follow_links)
    while block := list(islice(rest, BLOCK)):
        kept.append(judge.verdicts(block, read))
        for _ in block:
            tick()


def _write(
    settings: AuditSettings, profiles: Profiles, kept: Journal, card: Card, warnings: list[str]
) -> dict[str, Any]:
    """Write the results of a journal that is complete."""

    def rows() -> Iterator[tuple[Profile, Verdict]]:
        return zip(profiles, kept, strict=False)  # with a limit there are fewer verdicts

    if sha256_file(settings.profiles) != profiles.sha256:
        kept.drop()  # else the table as it was would be given verdicts on what it was not
        raise SourceError(f"{settings.profiles} has changed while it was audited; audit it again")
    tally = write_results(settings.output / TABLE, profiles.names, rows())
    counts = tally.counts()
    summary = {
        "profiles": printable(settings.profiles),
        "bundle": printable(settings.bundle),
        "false_flags": settings.false_flags,
        "rows": kept.rows,
        "tested": sum(counts[name] for name in TESTED),
        "flagged": sum(counts[name] for name in CONTRADICTS),
        "counts": counts,
        "groups": tally.groups(),
        "warnings": warnings,
    }
    coverage = card.age_interval.coverage if card.age_interval else None
    shown = strongest(rows(), settings.shown)
    write_page(settings.output / PAGE, profiles.names, shown, summary, coverage)
    write_json(settings.output / SUMMARY, summary)
    return summary
