"""The verdicts so far, on disk: an audit that is killed goes on after its last whole block of rows.

A line of JSON a block. Its first line says what the verdicts depend on; with another key everything begins anew. A last
line that a kill has torn is cut off. One process at a time holds the file.
"""

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from faceline.audit.verdicts import Verdict
from faceline.errors import BusyError, SettingsError

JOURNAL = "verdicts.jsonl"


@dataclass
class Journal:
    """The open file; `rows` of the table have their verdict in it, and `began_anew` tells of another key in it."""

    file: IO[bytes]
    rows: int = 0
    began_anew: bool = False

    def append(self, verdicts: Sequence[Verdict]) -> None:
        """Add the verdicts on the next rows, all or none of which will be found again."""
        block = [{name: value for name, value in asdict(verdict).items() if value is not None} for verdict in verdicts]
        self.file.write(_line(block))
        self.file.flush()
        self.rows += len(block)

    def drop(self) -> None:
        """Forget all verdicts, and what they depend on: the next audit begins anew."""
        self.file.truncate(0)
        self.file.flush()
        self.rows = 0

    def __iter__(self) -> Iterator[Verdict]:
        """All verdicts in order; a block is held at a time."""
        self.file.seek(0)
        self.file.readline()
        for line in self.file:
            yield from (Verdict(**values) for values in json.loads(line))


@contextmanager
def opened(folder: Path, key: str) -> Iterator[Journal]:
    """The journal of a folder, which is made; what it holds under another key is dropped.

    Raises:
        BusyError: another process has it open.
        SettingsError: it cannot be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        opened_file = (folder / JOURNAL).open("a+b")
    except OSError as error:
        raise SettingsError(f"{folder} cannot be written: {error.strerror}; choose another --output") from None
    with opened_file as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it goes with the file, also when the process is killed
        except BlockingIOError:
            raise BusyError(f"another audit writes to {folder}; wait for it, or choose another --output") from None
        journal = Journal(file)
        _restore(journal, _line({"key": key}))
        yield journal


def _restore(journal: Journal, head: bytes) -> None:
    """Count the whole blocks under this head, and cut off the rest."""
    file = journal.file
    file.seek(0)
    found = file.readline(len(head))
    if found != head:
        journal.began_anew = found.endswith(b"\n")
        file.truncate(0)
        file.write(head)
        file.flush()
        return
    end = file.tell()
    for line in file:
        block = _block(line)
        if block is None:
            break
        end += len(line)
        journal.rows += len(block)
    file.truncate(end)


def _block(line: bytes) -> list[dict[str, Any]] | None:
    """The block of a line; None if it is torn."""
    if not line.endswith(b"\n"):
        return None
    try:
        block: list[dict[str, Any]] = json.loads(line)
    except ValueError:
        return None
    return block


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"
