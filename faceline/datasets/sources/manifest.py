"""A table of your own, CSV or Parquet, beside an archive of pictures: path, age, gender and, if known, race, subject.

A path is the picture's in the archive (a folder around everything may be left out). Gender is 0, 1, male or female;
race 0 to 4 or its name; an empty field is an unknown label. A subject may be any text: only its salted hash goes on.
"""

from collections import Counter
from pathlib import Path, PurePosixPath

from faceline.datasets.sources.columns import read_columns
from faceline.datasets.sources.join import join
from faceline.datasets.sources.source import Labels, Reading, SourceSettings, raw_file, subject_code
from faceline.datasets.sources.values import parse_age, parse_gender, parse_race

ADVICE = (
    "A manifest is a CSV or Parquet with the columns path, age and gender, and if you like race and subject, "
    "beside an archive or a folder of the pictures that it names."
)
REQUIRED = ("path", "age", "gender")
OPTIONAL = ("race", "subject")


def read(source: SourceSettings, folder: Path, salt: str) -> Reading:
    """Open a manifest and its pictures.

    Raises:
        SourceError: one of the files is missing, or the table lacks a column.
    """
    file = raw_file(folder, source.file, ADVICE)
    archive = raw_file(folder, source.pictures or "", ADVICE)
    table = read_columns(file, REQUIRED, OPTIONAL)
    columns = {name: table.column(name).combine_chunks() for name in table.column_names if name != "path"}

    def labels_of(row: int) -> Labels | tuple[str, str]:
        values: dict[str, str | None] = {name: column[row].as_py() for name, column in columns.items()}
        subject = values.get("subject")
        try:
            return Labels(
                age=parse_age(values["age"]),
                gender=parse_gender(values["gender"]),
                race=parse_race(values.get("race")),
                subject=subject_code(salt, source.prefix, subject) if subject else None,
            )
        except ValueError as error:
            return "malformed_label", str(error)

    # Spelt as the members of an archive are: without "./" and "//".
    paths = [str(PurePosixPath(path)) if path else "" for path in table.column("path").to_pylist()]
    notes: Counter[str] = Counter()
    return Reading(frozenset(columns), join(archive, paths, labels_of, source.prefix, notes), notes)
