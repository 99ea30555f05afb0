"""Bringing together the rows of a metadata table and the pictures of an archive, so that neither loses one.

The archive is streamed once, the metadata held by path. Every row ends as a sample or a rejection: `missing_file`
where the archive lacks its picture, `duplicate_path` for a path named again; a picture of no row is `no_label_row`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from faceline.datasets.sources.archive import Member, members
from faceline.datasets.sources.source import Item, Labels, Rejection, Sample
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
    rows: dict[str, int] = {}
    for row, path in enumerate(paths):
        if not path:
            yield Rejection(f"{prefix}/#{row + 1}", "missing_file", f"row {row + 1} names no picture")
        elif path in rows:
            yield Rejection(f"{prefix}/{path}", "duplicate_path", f"row {row + 1} repeats row {rows[path] + 1}")
        else:
            rows[path] = row
    del paths
    seen = bytearray(max(rows.values(), default=0) + 1)
    root: str | None = None
    for member in members(archive):
        if root is None:
            root, first = _root(member.name, rows), member.name
        elif not member.name.startswith(root) and _root(member.name, rows) is not None:
            found = f"{archive}: {first!r} and {member.name!r} both match a path of the metadata"
            raise SourceError(f"{found}; allowed: paths as in the archive, or all without the one folder around them")
        path = member.name.removeprefix(root or "")
        if path in rows and member.name == f"{root}{path}":
            row = rows[path]
            again = ("duplicate_path", "the archive holds it again") if seen[row] else labels_of(row)
            seen[row] = True
            yield sample(f"{prefix}/{path}", member, again)
        elif is_picture(member.name):
            yield Rejection(f"{prefix}/{path}", "no_label_row", "the metadata has no row for it")
        else:
            notes["other_files"] += 1
    for path, row in rows.items():
        if not seen[row]:
            yield Rejection(f"{prefix}/{path}", "missing_file", f"{archive.name} does not hold it")


def _root(name: str, rows: dict[str, int]) -> str | None:
    """The folders, with a slash at the end, that stand before a path of the metadata in `name`; None if none does."""
    start = 0
    while name[start:] not in rows:
        start = name.find("/", start) + 1
        if not start:
            return None
    return name[:start]
