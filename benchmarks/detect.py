"""How fast detection is, and whether its decisions are those of the package called with one picture at a time.

Renders faces of the sample, all of one size, and has them searched by the package picture by picture, by its own list
call, and by ours, in one process and one run; prints pictures a second and the share of pictures with the same boxes.

    python -m benchmarks.detect --pictures 300 --json
"""

import json
import time
from collections.abc import Callable
from typing import Any

import click
import numpy as np

from faceline.console import load_tensorflow
from faceline.datasets.sample.population import ordinary
from faceline.datasets.sample.rendering import encode_all
from faceline.datasets.sample.settings import SampleSettings
from faceline.faces.decoding import PIXELS_LIMIT, decode

BATCH = 64  # pictures a call

Boxes = list[tuple[int, ...]]


def timed(find: Callable[[], list[list[dict[str, Any]]]]) -> tuple[float, list[Boxes]]:
    """Seconds that `find` takes, and the boxes of each picture in an order of their own."""
    started = time.perf_counter()
    answers = find()
    seconds = time.perf_counter() - started
    return seconds, [sorted(tuple(map(int, face["box"])) for face in faces) for faces in answers]


@click.command(help=__doc__)
@click.option("--pictures", type=click.IntRange(min=1), default=300, show_default=True, help="How many to search.")
@click.option("--size", type=click.IntRange(48, 512), default=128, show_default=True, help="Pixels a side.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def main(pictures: int, size: int, as_json: bool) -> None:
    """Render, search in three ways, compare."""
    rows = ordinary(SampleSettings(seed=7, faces=max(20, pictures), size=size))[:pictures]
    images = [decode(data, max_pixels=PIXELS_LIMIT) for data in encode_all(rows)]
    batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    load_tensorflow()
    from mtcnn import MTCNN

    from faceline.faces.mtcnn import BatchedMtcnn

    package, ours = MTCNN(), BatchedMtcnn((0.6, 0.7, 0.8), 20)
    ways: dict[str, Callable[[], list[list[dict[str, Any]]]]] = {
        "single": lambda: [package.detect_faces(image) for image in images],
        "list": lambda: [faces for batch in batches for faces in package.detect_faces(batch)],
        "ours": lambda: [faces for batch in batches for faces in ours.detect(np.stack(batch))],
    }
    found = {name: timed(find) for name, find in ways.items()}
    result = {
        name: {
            "pictures_a_second": round(len(images) / seconds, 1),
            "as_single": sum(map(list.__eq__, boxes, found["single"][1])) / len(images),
        }
        for name, (seconds, boxes) in found.items()
    }
    if as_json:
        click.echo(json.dumps(result))
        return
    for name, measured in result.items():
        speed, share = measured["pictures_a_second"], measured["as_single"]
        click.echo(f"{name:7} {speed:7.1f} pictures a second, boxes as single calls give on {share:.1%}")


if __name__ == "__main__":
    main()
