"""A dataset that no settings name: which reader understands it is told from its content."""

import os
from pathlib import Path

from faceline.datasets.sources import manifest, pixels_csv
from faceline.datasets.sources.archive import is_archive, members
from faceline.datasets.sources.columns import column_names
from faceline.datasets.sources.join import is_metadata, is_picture
from faceline.datasets.sources.source import Labels, SourceSettings
from faceline.datasets.sources.utkface import parse_name
from faceline.errors import SettingsError, SourceError

KINDS = {  # by reader: what it reads
    "utkface": "pictures called AGE_GENDER_RACE_STAMP.jpg in an archive or folder",
    "imdb_wiki": "an archive with its .mat inside, or beside it with --metadata",
    "pixels_csv": f"a CSV with the columns {', '.join(pixels_csv.COLUMNS)}",
    "manifest": f"a CSV or Parquet with the columns {', '.join(manifest.REQUIRED)}, and its pictures with --pictures",
}
PREFIX = "archive"  # of the rows' paths


def source_of(
    path: Path, reader: str | None = None, pictures: Path | None = None, metadata: Path | None = None
) -> tuple[Path, SourceSettings]:
    """The folder that a dataset lies in, and the settings that its reader wants.

    Args:
        path: an archive, a folder of pictures or a table.
        reader: one of KINDS; told from the content where it is not given.
        pictures: a manifest's pictures, an archive or folder.
        metadata: the .mat of an IMDB-WIKI archive that holds none.

    Raises:
        SourceError: a file is missing or cannot be read, or no reader understands it.
        SettingsError: `pictures` or `metadata` is missing where it is needed, or given where it is not.
    """
    given = {"file": path, "pictures": pictures, "metadata": metadata}
    files = {name: file for name, file in given.items() if file is not None}
    for file in files.values():
        if not file.exists():
            raise SourceError(f"{file} does not exist")
    reader = reader or ("imdb_wiki" if metadata else guess(path))
    if (pictures is not None) != (reader == "manifest"):
        what = "needs --pictures, the archive or folder that its paths point into" if pictures is None else ""
        raise SettingsError(f"{path}: the reader {reader} {what or 'takes no --pictures; the reader manifest does'}")
    if metadata is not None and reader != "imdb_wiki":
        raise SettingsError(f"{path}: the reader {reader} takes no --metadata; the reader imdb_wiki does")
    absolute = {name: file.resolve() for name, file in files.items()}
    folder = Path(os.path.commonpath([file.parent for file in absolute.values()]))
    names = {name: file.relative_to(folder).as_posix() for name, file in absolute.items()}
    return folder, SourceSettings.model_validate({"reader": reader, "prefix": PREFIX, **names})


def guess(path: Path) -> str:
    """The reader that understands the dataset at `path`; an archive is streamed until that is clear.

    Raises:
        SourceError: the file cannot be read, or no reader understands it; the message lists what can be read.
    """
    return _of_archive(path) if is_archive(path) else _of_table(path)


def _of_archive(path: Path) -> str:
    files = pictures = 0
    for member in members(path):
        files += 1
        if is_metadata(member.name):
            return "imdb_wiki"
        if is_picture(member.name):
            pictures += 1
            if isinstance(parse_name(member.name.rpartition("/")[2]), Labels):
                return "utkface"
    if not files:
        raise SourceError(f"{path} is empty")
    found = f"{pictures} pictures and no label" if pictures else "no picture"
    raise _unknown(path, f"holds {found} that a reader knows")


def _of_table(path: Path) -> str:
    try:
        names = set(column_names(path))
    except SourceError:
        names = set()
    if not names or not all(map(str.isprintable, names)):  # an empty tar is nothing but zeros
        raise _unknown(path, "is neither an archive nor a table, or is empty")
    for reader, needed in (("pixels_csv", pixels_csv.COLUMNS), ("manifest", manifest.REQUIRED)):
        if names.issuperset(needed):
            return reader
    raise _unknown(path, "is a table whose columns no reader knows")


def _unknown(path: Path, what: str) -> SourceError:
    allowed = "; ".join(f"{reader}: {kind}" for reader, kind in KINDS.items())
    return SourceError(f"{path} {what}; readers (--reader): {allowed}")
