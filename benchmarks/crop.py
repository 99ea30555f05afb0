"""How fast faces are found, decoding included, and whether the decisions are those of the package's single calls.

Every way runs in processes of its own, and they take turns on the same pictures: the `mtcnn` package with one picture a
call and with its list call, facenet-pytorch (benchmarks/facenet.py says how to install it), this project's detector in
one and in two processes, and decoding alone. UTKFace's pictures are taken where its archive lies in data/raw/utkface,
else rendered ones; photos are composites. Prints pictures a second, medians over the rounds.

    python -m benchmarks.crop --json
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from benchmarks.pictures import chips, photos

FACENET = Path(".venv-facenet/bin/python")
OWN = [sys.executable, "-m", "benchmarks.finders"]
WARM_UP = 48  # pictures

Faces = list[list[int]]


class Process:
    """A process that finds faces in one way."""

    def __init__(self, command: Sequence[str]):
        self._command = command
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.kill = self._process.kill

    def ask(self, files: Sequence[str]) -> None:
        """Let it begin."""
        if self._process.stdin:
            self._process.stdin.write(json.dumps(files) + "\n")
            self._process.stdin.flush()

    def answer(self) -> list[Faces]:
        """The faces of each picture, when it is done."""
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise click.ClickException(f"`{' '.join(self._command)}` has ended")
        found: list[Faces] = json.loads(line)
        return found


class Finder:
    """Processes that find faces in one way, each in its share of the pictures."""

    def __init__(self, processes: list[Process]):
        self._processes = processes

    def find(self, files: Sequence[str]) -> list[Faces]:
        """The faces of each picture."""
        count = len(self._processes)
        shares = [files[number::count] for number in range(count)]
        for process, share in zip(self._processes, shares, strict=True):
            process.ask(share)
        answers: list[Faces] = [[] for _ in files]
        for number, process in enumerate(self._processes):
            answers[number::count] = process.answer()
        return answers


@contextmanager
def finders() -> Iterator[dict[str, Finder]]:
    """The ways by name; their processes end with the context."""
    commands: dict[str, tuple[list[str], int]] = {
        "single": ([*OWN, "single"], 1),
        "list": ([*OWN, "list"], 1),
        "ours_1": ([*OWN, "ours"], 1),
        "ours_2": ([*OWN, "ours"], 2),
        "decode": ([*OWN, "decode"], 1),
    }
    if FACENET.exists():
        commands["facenet"] = ([str(FACENET), "benchmarks/facenet.py"], 1)
    with ExitStack() as stack:
        started = {}
        for name, (command, count) in commands.items():
            processes = [Process(command) for _ in range(count)]
            for process in processes:
                stack.callback(process.kill)
            started[name] = Finder(processes)
        yield started


def measure(ways: dict[str, Finder], files: list[str], rounds: int) -> tuple[dict[str, float], dict[str, list[Faces]]]:
    """Pictures a second of each way, the median over the rounds, and what each found in all pictures."""
    for way in ways.values():
        way.find(files[:WARM_UP])
    rates: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, list[Faces]] = {name: [] for name in ways}
    for number in range(rounds):
        share = files[len(files) * number // rounds : len(files) * (number + 1) // rounds]
        for name, way in ways.items():
            started = time.perf_counter()
            found[name] += way.find(share)
            rates[name].append(len(share) / (time.perf_counter() - started))
    return {name: round(statistics.median(values), 1) for name, values in rates.items()}, found


def agreement(ours: list[Faces], single: list[Faces]) -> dict[str, Any]:
    """On how many pictures boxes and counts are equal, and how far landmarks lie apart there, pixels at most."""
    same = [
        (mine, theirs)
        for mine, theirs in zip(ours, single, strict=True)
        if [face[:4] for face in mine] == [face[:4] for face in theirs]
    ]
    apart = [
        abs(a - b)
        for mine, theirs in same
        for one, other in zip(mine, theirs, strict=True)
        for a, b in zip(one, other, strict=True)
    ]
    return {
        "pictures": len(ours),
        "faces": sum(map(len, single)),
        "same_boxes": len(same) / len(ours),
        "landmarks_apart": max(apart, default=0),
    }


def write(folder: Path, pictures: Iterator[bytes] | list[bytes]) -> list[str]:
    """The encoded pictures as files."""
    folder.mkdir()
    names = []
    for number, data in enumerate(pictures):
        names.append(str(folder / f"{number}.jpg"))
        Path(names[-1]).write_bytes(data)
    return names


@click.command(help=__doc__)
@click.option("--chips", "chip_count", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--photos", "photo_count", type=click.IntRange(min=1), default=300, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the photos; another one gives other sizes.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Turns that each way takes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def main(chip_count: int, photo_count: int, seed: int, rounds: int, as_json: bool) -> None:
    """Write the pictures, take turns, compare."""
    for option, count in (("--chips", chip_count), ("--photos", photo_count)):
        if count < rounds:
            raise click.BadParameter(f"{count} are not one for each of {rounds} rounds", param_hint=option)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, finders() as ways:
        source, faces = chips(chip_count)
        kinds = {
            "chips": write(Path(name) / "chips", faces),
            "photos": write(Path(name) / "photos", photos(photo_count, seed=seed)),
        }
        for kind, files in kinds.items():
            result[kind], found = measure(ways, files, rounds)
            result[kind].setdefault("facenet", None)
            result.setdefault("as_single", {})[kind] = {
                way: agreement(found[way], found["single"]) for way in ("ours_1", "ours_2", "list")
            }
    result["source"] = source
    click.echo(json.dumps(result, indent=2) if as_json else told(result))


def told(result: dict[str, Any]) -> str:
    """The result for people."""
    lines = [f"chips are of {result['source']}"]
    for kind in ("chips", "photos"):
        rates = result[kind]
        for name, rate in rates.items():
            speed = f"{rate:8.1f} pictures/s  {rate / rates['single']:6.1f}× single" if rate else "       not installed"
            lines.append(f"{kind:7} {name:8} {speed}")
        for name, agreed in result["as_single"][kind].items():
            lines.append(
                f"{kind:7} {name:8} boxes and counts as single calls on {agreed['same_boxes']:.2%}"
                f" of {agreed['pictures']} pictures ({agreed['faces']} faces);"
                f" landmarks {agreed['landmarks_apart']} px apart at most"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
