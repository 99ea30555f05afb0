"""facenet-pytorch's MTCNN as a way of benchmarks.crop; needs nothing of this project.

It wants an older numpy and Pillow than this project, so it lives in an environment of its own:

    uv venv --python 3.11 .venv-facenet
    uv pip install --python .venv-facenet facenet-pytorch==2.6.0
"""

import json
import sys
from collections import defaultdict

import numpy as np
from facenet_pytorch import MTCNN
from PIL import Image

BATCH = 8  # pictures of one size a call; the fastest of 1, 8, 32 and 64 on 200×200


def find(detector: MTCNN, names: list[str]) -> list[list[list[int]]]:
    """The boxes of each picture."""
    pictures = [np.asarray(Image.open(name).convert("RGB")) for name in names]
    by_shape = defaultdict(list)
    for index, picture in enumerate(pictures):
        by_shape[picture.shape].append(index)
    found: list[list[list[int]]] = [[] for _ in pictures]
    for alike in by_shape.values():
        for start in range(0, len(alike), BATCH):
            batch = alike[start : start + BATCH]
            for index, boxes in zip(batch, detector.detect([pictures[i] for i in batch])[0]):  # noqa: B905 - Python 3.9
                found[index] = [] if boxes is None else [[round(float(value)) for value in box] for box in boxes]
    return found


def main() -> None:
    """Answer until stdin ends."""
    detector = MTCNN(keep_all=True, device="cpu", min_face_size=20)
    for line in sys.stdin:
        print(json.dumps(find(detector, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
