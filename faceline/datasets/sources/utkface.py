"""UTKFace: the labels stand in the name of the picture, `AGE_GENDER_RACE_STAMP.jpg` (Zhang, Song, Qi 2017).

Some real names have an odd stamp (16 or 18 digits, a space, no dot before jpg) but good labels: they are read, and
counted as `odd_names`. A name that lacks a field cannot be read and is rejected.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from faceline.datasets.labels import OLDEST, Gender, Race
from faceline.datasets.sources.archive import members
from faceline.datasets.sources.join import is_picture, sample
from faceline.datasets.sources.source import Item, Labels, Reading, Rejection, SourceSettings, raw_file

ADVICE = "UTKFace is at https://susanqq.github.io/UTKFace/ (UTKFace.tar.gz)."
FIELDS = frozenset({"age", "gender", "race"})

_NAME = re.compile(r"(?P<age>\d{1,4})_(?P<gender>\d{1,4})_(?P<race>\d{1,4})_(?P<stamp>\d{8,})(?P<rest>\D.*)", re.ASCII)
_ORDINARY = re.compile(r"\d{17}\.jpg(\.chip\.jpg)?", re.ASCII)


def read(source: SourceSettings, folder: Path, salt: str) -> Reading:
    """Open an archive of UTKFace; it has no subjects, so `salt` is not used.

    Raises:
        SourceError: the archive is missing.
    """
    archive = raw_file(folder, source.file, ADVICE)
    notes: Counter[str] = Counter()
    return Reading(FIELDS, _items(archive, source.prefix, notes), notes)


def parse_name(name: str) -> Labels | tuple[str, str]:
    """The labels in a picture's name (without folders), or `malformed_name` and what is wrong."""
    match = _NAME.fullmatch(name)
    if match is None:
        return "malformed_name", "not AGE_GENDER_RACE_STAMP.jpg: a field is missing or not a number"
    values = {field: int(match[field]) for field in ("age", "gender", "race")}
    for field, highest in (("age", OLDEST), ("gender", max(Gender)), ("race", max(Race))):
        if values[field] > highest:
            return "malformed_name", f"{field} {values[field]}; allowed: 0 to {int(highest)}"
    return Labels(age=values["age"], gender=values["gender"], race=values["race"])


def _items(archive: Path, prefix: str, notes: Counter[str]) -> Iterator[Item]:
    seen: set[str] = set()
    for member in members(archive):
        path = f"{prefix}/{member.name}"
        name = member.name.rpartition("/")[2]
        if not is_picture(name):
            notes["other_files"] += 1
        elif path in seen:
            yield Rejection(path, "duplicate_path", "the archive holds it again")
        else:
            seen.add(path)
            labels = parse_name(name)
            if isinstance(labels, Labels) and not _ORDINARY.fullmatch(name.split("_", 3)[3]):
                notes["odd_names"] += 1
            yield sample(path, member, labels)
