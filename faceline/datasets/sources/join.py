"""Bringing together the rows of a metadata table and the pictures of an archive, so that neither loses one.

The archive is streamed once, the metadata held by path. Every row ends as a sample or a rejection: `missing_file`
where the archive lacks its picture, `duplicate_path` for a path named again, `contradicting_duplicate` for every row
of a path whose rows disagree; a picture of no row is `no_label_row`. Paths match in Unicode's normal form NFC: macOS
packs names in NFD, and tables seldom have them so.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unicodedata import normalize

from faceline.datasets.sources.archive import Member, members
from faceline.datasets.sources.source import LABEL_FIELDS, Item, Labels, Rejection, Sample
from faceline.errors import PictureError, SourceError

PICTURES = (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")

# Labels of a metadata row by its number, or its machine-readable reason for rejection and the detail.
LabelsOf = Callable[[int], Labels | tuple[str, str]]


def is_picture(name: str) -> bool:
    """Whether a member of an archive claims, by its ending, to be a picture (and is no hidden file)."""
    base = name.rpartition("/")[2]
    return base.lower().endswith(PICTURES) and not base.startswith(".")


def is_metadata(name: str) -> bool:
    """Whether a member of an archive claims, by its ending, to be IMDB-WIKI's metadata (and is no hidden file)."""
    base = name.rpartition("/")[2]
    return base.endswith(".mat") and not base.startswith(".")


def sample(path: str, member: Member, labels: Labels | tuple[str, str]) -> Item:
    """The item of a picture in an archive, under the key `path`."""
    if isinstance(labels, tuple):
        return Rejection(path, *labels)
    try:
        return Sample(path, member.read(), labels)
    except PictureError as error:
        return Rejection(path, error.reason, error.detail)


def join(archive: Path, paths: Sequence[str], labels_of: LabelsOf, prefix: str, notes: Counter[str]) -> Iterator[Item]:
    """The items of metadata rows with the given `paths` and of the pictures in `archive`, in the archive's order.

    Archives often hold everything in one more folder than the metadata name; the first member that matches a path
    settles which.

    Raises:
        SourceError: a later member matches a path outside that folder, so that either may be the picture meant.
    """
    rows = _Rows(paths, labels_of, prefix)
    del paths
    yield from rows.rejections()
    seen = bytearray(max(rows.first.values(), default=0) + 1)
    root: str | None = None
    for member in members(archive):
        name = normalize("NFC", member.name)
        if root is None:
            root, first = _root(name, rows.first), member.name
        elif not name.startswith(root) and _root(name, rows.first) is not None:
            found = f"{archive}: {first!r} and {member.name!r} both match a path of the metadata"
            raise SourceError(f"{found}; allowed: paths as in the archive, or all without the one folder around them")
        path = name.removeprefix(root or "")
        if path in rows.first and name == f"{root}{path}":
            row = rows.first[path]
            again = ("duplicate_path", "the archive holds it again") if seen[row] else rows.labels(path)
            seen[row] = True
            yield sample(rows.key(path, row), member, again)
        elif is_picture(member.name):
            yield Rejection(f"{prefix}/{path}", "no_label_row", "the metadata has no row for it")
        else:
            notes["other_files"] += 1
    for path, row in rows.first.items():
        if not seen[row]:
            yield Rejection(rows.key(path, row), "missing_file", f"{archive.name} does not hold it")


class _Rows:
    """The rows of the metadata by their paths in NFC; what is told of them has the path as the metadata spell it."""

    def __init__(self, paths: Sequence[str], labels_of: LabelsOf, prefix: str):
        self.first: dict[str, int] = {}  # the first row of each path
        self._later: dict[str, list[int]] = {}  # the others, of the paths that are named again
        self._nameless: list[int] = []
        self._spelt: dict[int, str] = {}  # the path of a row, where it is not in NFC
        self._labels_of = labels_of
        self._prefix = prefix
        for row, spelt in enumerate(paths):
            path = normalize("NFC", spelt)
            if path != spelt:
                self._spelt[row] = spelt
            if not path:
                self._nameless.append(row)
            elif path in self.first:
                self._later.setdefault(path, []).append(row)
            else:
                self.first[path] = row
        found = {path: self._contradiction([self.first[path], *later]) for path, later in self._later.items()}
        self._contradicting = {path: detail for path, detail in found.items() if detail}

    def key(self, path: str, row: int) -> str:
        """The key of a row of that path."""
        return f"{self._prefix}/{self._spelt.get(row, path)}"

    def labels(self, path: str) -> Labels | tuple[str, str]:
        """The labels of a path's first row, or why it is rejected."""
        if path in self._contradicting:
            return "contradicting_duplicate", self._contradicting[path]
        return self._labels_of(self.first[path])

    def rejections(self) -> Iterator[Rejection]:
        """The rows that no picture can be meant for: those without a path, and all but the first of each path."""
        for row in self._nameless:
            yield Rejection(f"{self._prefix}/#{row + 1}", "missing_file", f"row {row + 1} names no picture")
        for path, later in self._later.items():
            for row in later:
                reason, detail = "duplicate_path", f"row {row + 1} repeats row {self.first[path] + 1}"
                if path in self._contradicting:
                    reason, detail = "contradicting_duplicate", self._contradicting[path]
                yield Rejection(self.key(path, row), reason, detail)

    def _contradiction(self, rows: Sequence[int]) -> str | None:
        """Which two of the rows of one path disagree, and about what; None if all that is known agrees."""
        known: dict[str, tuple[int, Any]] = {}  # by label: the first row that says it, and what it says
        for row in rows:
            labels = self._labels_of(row)
            if isinstance(labels, tuple):  # what cannot be read contradicts nothing
                continue
            for name in LABEL_FIELDS:
                value = getattr(labels, name)
                first, said = known.setdefault(name, (row, value)) if value is not None else (row, None)
                if value != said:
                    return f"rows {first + 1} and {row + 1} name it and disagree about {name}"
        return None


def _root(name: str, rows: dict[str, int]) -> str | None:
    """The folders, with a slash at the end, that stand before a path of the metadata in `name`; None if none does."""
    start = 0
    while name[start:] not in rows:
        start = name.find("/", start) + 1
        if not start:
            return None
    return name[:start]
