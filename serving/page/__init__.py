"""The web page of the API: a picture in, its faces drawn and told. `docs/page.md`."""

from pathlib import Path

PAGE = Path(__file__).parent
FILES = PAGE / "files"  # what browsers load
SAMPLES = (
    {"file": "sample-1.jpg", "told": "a woman"},
    {"file": "sample-2.jpg", "told": "an old man"},
    {"file": "sample-3.jpg", "told": "a boy and a woman"},
    {"file": "sample-4.jpg", "told": "a man and a woman"},
)
