"""A way to find faces, in a process of its own: benchmarks.crop asks it on stdin, and it answers on stdout.

A line of stdin is a JSON list of files; the line answered is a JSON list, of each picture the faces as
[x, y, width, height, then x and y of each of five landmarks], in an order of their own.
"""

import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import numpy as np

from faceline.console import load_tensorflow
from faceline.faces.decoding import PIXELS_LIMIT, decode
from faceline.faces.detection import DetectSettings
from faceline.faces.detector import Detector
from faceline.parallel import SINGLE

LIST_SIZE = 32  # pictures of one size in a list call of the package
LANDMARKS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")

Faces = list[list[int]]
Find = Callable[[Sequence[np.ndarray]], list[Faces]]


def single() -> Find:
    """The package, one picture a call."""
    load_tensorflow()
    from mtcnn import MTCNN

    detector = MTCNN()
    return lambda pictures: [_faces(detector.detect_faces(picture)) for picture in pictures]


def listed() -> Find:
    """The package's list call, on pictures of equal size as it must be."""
    load_tensorflow()
    from mtcnn import MTCNN

    detector = MTCNN()

    def find(pictures: Sequence[np.ndarray]) -> list[Faces]:
        by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, picture in enumerate(pictures):
            by_shape[picture.shape].append(index)
        found: list[Faces] = [[] for _ in pictures]
        for alike in by_shape.values():
            for start in range(0, len(alike), LIST_SIZE):
                batch = alike[start : start + LIST_SIZE]
                for index, faces in zip(batch, detector.detect_faces([pictures[i] for i in batch]), strict=True):
                    found[index] = _faces(faces)
        return found

    return find


def ours() -> Find:
    """This project's, on one thread, as a worker of the stage has it."""
    os.environ.update(SINGLE)
    detector = Detector(DetectSettings())
    return lambda pictures: [
        [[face.x, face.y, face.width, face.height, *face.landmarks] for face in faces]
        for faces in detector.detect(pictures)
    ]


def nothing() -> Find:
    """Nobody looks: what decoding alone takes."""
    return lambda pictures: [[] for _ in pictures]


WAYS: dict[str, Callable[[], Find]] = {"single": single, "list": listed, "ours": ours, "decode": nothing}


@click.command(help=__doc__)
@click.argument("way", type=click.Choice(list(WAYS)))
def main(way: str) -> None:
    """Answer until stdin ends."""
    find = WAYS[way]()
    for line in sys.stdin:
        pictures = [decode(Path(name).read_bytes(), max_pixels=PIXELS_LIMIT) for name in json.loads(line)]
        print(json.dumps([sorted(faces) for faces in find(pictures)]), flush=True)


def _faces(answers: list[dict[str, dict[str, list[int]]]]) -> Faces:
    return [
        [*map(int, answer["box"]), *(int(value) for name in LANDMARKS for value in answer["keypoints"][name])]
        for answer in answers
    ]


if __name__ == "__main__":
    main()
