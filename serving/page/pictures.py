"""Make the page's pictures anew: samples, people who do not exist, and the icons that phones ask for.

    python -m serving.page.pictures

The samples are taken as those of the dataset `sample`; the icons are the design of `serving/device/icon.svg` on white,
small enough for the round masks of Android.
"""

from PIL import Image, ImageDraw

from faceline.datasets.labels import Gender, Race
from faceline.datasets.sample.picture import Shot, Sitter, take
from serving.page import FILES, SAMPLES

QUALITY = 82
SIDE = 320  # pixels of a sample with one person
SHOTS = (
    Shot((7,), SIDE, (Sitter((7, 0), 34, Gender.FEMALE, Race.INDIAN),)),
    Shot((11,), SIDE, (Sitter((11, 0), 68, Gender.MALE, Race.WHITE),)),
    Shot((5,), SIDE, (Sitter((5, 0), 8, Gender.MALE, Race.ASIAN), Sitter((5, 1), 41, Gender.FEMALE, Race.ASIAN))),
    Shot((2,), SIDE, (Sitter((2, 0), 27, Gender.MALE, Race.BLACK), Sitter((2, 1), 25, Gender.FEMALE, Race.OTHER))),
)
ICONS = (192, 512)  # pixels a side
GREEN, WHITE = "#0a6e5c", "#ffffff"
UNITS = 48  # a side of an icon, of which the design takes the inner 32
SMOOTH = 4  # drawn so many times larger, then scaled down


def icon(side: int) -> Image.Image:
    """The icon, in pixels a side: a face within a box."""
    scale = SMOOTH * side / UNITS
    image = Image.new("RGB", (SMOOTH * side, SMOOTH * side), WHITE)
    pen = ImageDraw.Draw(image)

    def at(*numbers: float) -> list[float]:
        return [scale * (number + (UNITS - 32) / 2) for number in numbers]

    pen.rounded_rectangle(at(2.5, 2.5, 29.5, 29.5), 4.5 * scale, outline=GREEN, width=round(3 * scale))
    for eye in (12, 20):
        pen.ellipse(at(eye - 2, 12, eye + 2, 16), fill=GREEN)
    # The quadratic curve of the design, as round strokes.
    steps = 64
    for step in range(steps + 1):
        t = step / steps
        x, y = 11 + 10 * t, 21 + 10 * t * (1 - t)
        pen.ellipse(at(x - 1, y - 1, x + 1, y + 1), fill=GREEN)
    return image.resize((side, side), Image.Resampling.LANCZOS)


def main() -> None:
    """Write them where the page has them."""
    for sample, shot in zip(SAMPLES, SHOTS, strict=True):
        take(shot).save(FILES / sample["file"], quality=QUALITY, optimize=True)
    for side in ICONS:
        icon(side).save(FILES / f"icon-{side}.png", optimize=True)


if __name__ == "__main__":
    main()
