"""Memory of the detector stays below its bound, whatever the sizes of the pictures."""

import subprocess
import sys

import pytest

from tests.imports import ROOT

pytestmark = pytest.mark.slow

BOUND = 2 * 2**30  # bytes

START = """
import re
from pathlib import Path
import numpy as np
from PIL import Image
from faceline.faces.detection import DetectSettings
from faceline.faces.detector import Detector
from faceline.parallel import SINGLE
import os
os.environ.update(SINGLE)
coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
detector = Detector(DetectSettings())
"""

SIZES = """
for start in range(0, 1000, 50):
    sizes = [(60 + number, 60 + number // 2) for number in range(start, start + 50)]
    detector.detect([np.asarray(coarse.resize(size)) for size in sizes])
"""

LARGE = """
detector.detect([np.asarray(coarse.resize((7300, 5475)))])
"""

# Not ru_maxrss, which a program inherits from the one that started it.
END = """
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024)
"""


@pytest.mark.parametrize("work", [SIZES, LARGE], ids=["a thousand pictures of a thousand sizes", "40 megapixels"])
def test_memory_is_bounded(work: str) -> None:
    command = [sys.executable, "-c", START + work + END]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True)
    peak = int(done.stdout)
    print(f"{peak / 2**20:.0f} MiB")
    assert peak < BOUND
