"""Small files that would cost a decoder minutes or gigabytes are refused; what cameras and programs write is not."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from faceline.errors import PictureError
from faceline.faces.costly import COMMENTS, COVERS, EXIFS, PARTS, PREFACE, SCANS
from faceline.faces.decoding import decode, dimensions

LIMIT = 10**6
SHAPE = (16, 24, 3)


def encoded(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    grid = np.arange(np.prod(SHAPE), dtype=np.uint32).reshape(SHAPE) % 251
    Image.fromarray(grid.astype(np.uint8)).save(buffer, kind, **options)
    return buffer.getvalue()


def refused(data: bytes) -> str:
    """What is said of a file that is refused, by its header and when it is decoded alike."""
    with pytest.raises(PictureError) as caught:
        dimensions(data, max_pixels=LIMIT)
    assert caught.value.reason == "unsupported_format"
    with pytest.raises(PictureError, match=caught.value.detail.split(";")[0]):
        decode(data, max_pixels=LIMIT)
    return caught.value.detail


def read(data: bytes) -> bool:
    return decode(data, max_pixels=LIMIT).shape == SHAPE


def with_scans(count: int, before: bytes = b"") -> bytes:
    """A progressive JPEG whose last scan is repeated, behind something, until there are so many."""
    data = encoded("JPEG", progressive=True)
    start, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + (before + data[start:end]) * (count - data.count(b"\xff\xda")) + data[end:]


def with_exifs(count: int, before: bytes = b"") -> bytes:
    data = encoded("JPEG")
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"
    return data[:2] + before + (b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif) * count + data[2:]


def with_extensions(*bodies: bytes) -> bytes:
    """A GIF with extensions before its image: the label, then blocks."""
    data = encoded("GIF")
    start = data.index(b",", 13 + 3 * 256)
    return data[:start] + b"".join(b"!" + body + b"\0" for body in bodies) + data[start:]


def tiff(compression: int, pixels: bytes, tags: dict[int, tuple[int, ...]]) -> bytes:
    """A TIFF of 8-bit grey, 24 by 16, whose parts all are `pixels`; `tags` say how large parts are and how many."""
    entries = {256: (24,), 257: (16,), 258: (8,), 259: (compression,), 262: (1,), 277: (1,), **tags}
    body, extra = b"", b""
    first = 8 + 2 + 12 * len(entries) + 4
    for tag, values in sorted(entries.items()):
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            packed, extra = struct.pack("<I", first + len(pixels) + len(extra)), extra + packed
        body += struct.pack("<HHI", tag, 4, len(values)) + packed
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4) + pixels + extra


def at(tags: int) -> int:
    """Where the pixels of a TIFF with so many tags of its own begin."""
    return 8 + 2 + 12 * (6 + tags) + 4


def test_a_jpeg_has_as_many_scans_as_programs_write() -> None:
    assert read(encoded("JPEG", progressive=True))
    assert read(with_scans(SCANS))
    for before in (b"", b"\xff\x01"):  # which has no length
        assert refused(with_scans(SCANS + 1, before)) == f"a JPEG of more than {SCANS} scans"


@pytest.mark.filterwarnings("ignore:::PIL")
@pytest.mark.parametrize(
    "before", [b"", b"\xff\xd9", b"\xff\xff\xd8", b"\xff\xe2\0\x04\xff\xda", b"\xff\xf0", b"\xff\xc8"]
)
def test_a_jpeg_has_a_few_exif_segments_and_nothing_hides_further_ones(before: bytes) -> None:
    assert read(with_exifs(EXIFS))
    assert refused(with_exifs(EXIFS + 1, before)) == f"a JPEG of more than {EXIFS} Exif segments"


@pytest.mark.filterwarnings("ignore:::PIL")
def test_a_jpeg_of_fill_bytes_is_looked_through_once() -> None:
    """A search that begins anew at each of them would take hours."""
    data = encoded("JPEG")
    end = data.rindex(b"\xff\xd9")
    assert read(data[:end] + b"\xff" * 10**6 + b"\0" + data[end:])


def test_a_gif_has_short_comments() -> None:
    assert read(with_extensions(b"\xfe\x05hello", *[b"\xff\x0bXMP DataXMP" + b"\xff" + bytes(255)] * 300))
    assert (
        refused(with_extensions(*[b"\xfe\x01A"] * (COMMENTS // 5 + 1)))
        == f"a GIF with comments of more than {COMMENTS} bytes"
    )
    assert (
        refused(with_extensions(*[b"\xfe"] * (COMMENTS // 3 + 1)))
        == f"a GIF with comments of more than {COMMENTS} bytes"
    )
    assert "comments" in refused(with_extensions(b"\xfe" + (b"\xff" + bytes(255)) * 257))


@pytest.mark.parametrize("before", [b"\xf9\0", b"\xff\x0bNETSCAPE2.0\0"])
def test_an_empty_block_hides_no_comment_of_a_gif(before: bytes) -> None:
    """Pillow looks for further blocks behind it, of which one may begin as an image would."""
    comment = b"!\xfe" + b"\x01A" * (COMMENTS // 2 + 1) + b"\0"
    data = with_extensions(before + b"," + bytes(44))
    start = data.index(b"," + bytes(44)) + 46
    assert "comments" in refused(data[:start] + comment + data[start:])


def test_an_animation_that_repeats_is_read() -> None:
    frames = [Image.new("P", (24, 16), colour) for colour in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], loop=0, comment=b"hello")
    assert read(buffer.getvalue())


def test_the_first_image_of_a_gif_comes_soon() -> None:
    long = b"\xff" + (b"\xff" + bytes(range(255))) * (PREFACE // 256 + 1)
    assert refused(with_extensions(long)) == f"a GIF whose first image does not begin within {PREFACE} bytes"


def test_a_bmp_of_run_lengths_is_refused_before_it_is_decoded() -> None:
    """Eight bytes of it let Pillow write 255 rows of zeros, of any width."""
    rows = b"\0\x02\xff\xff\0\x01"
    header = struct.pack("<IiiHHIIiiII", 40, 24, 16, 1, 8, 1, len(rows), 0, 0, 256, 0) + bytes(1024)
    data = b"BM" + struct.pack("<IHHI", 14 + len(header) + len(rows), 0, 0, 14 + len(header)) + header + rows
    assert "run lengths" in refused(data)
    assert read(encoded("BMP"))


def test_a_tiff_of_compressed_tiles_is_refused() -> None:
    """Libtiff unpacks a whole tile, which may be thousands of times as large as the picture."""
    side = 2048
    packed = zlib.compress(bytes(side * side))
    tags = {322: (side,), 323: (side,), 324: (at(4),), 325: (len(packed),)}
    data = tiff(8, packed, tags)
    assert "compressed tiles" in refused(data)
    # Of a type that libtiff knows and Pillow does not.
    assert "compressed tiles" in refused(data.replace(struct.pack("<HH", 322, 4), struct.pack("<HH", 322, 17)))
    assert read(encoded("TIFF", compression="tiff_adobe_deflate"))
    assert read(tiff(1, bytes(16 * 32), {322: (32,), 323: (16,), 324: (at(4),), 325: (512,)}))


@pytest.mark.filterwarnings("ignore:::PIL")
def test_tags_that_lie_one_over_another_are_not_copied_without_end() -> None:
    count, size = 500, 100_000
    head = b"II*\0" + struct.pack("<IH", 8, count)
    tags = b"".join(struct.pack("<HHII", 1000 + tag, 7, size, 0) for tag in range(count))
    data = head + tags + bytes(size)
    exif = Image.Exif()
    exif.load(data)
    assert 1 <= len(exif) <= 2 * len(data) // size + 1
    with pytest.raises(PictureError):
        decode(data, max_pixels=LIMIT)
    small = b"Exif\0\0" + head + tags + bytes(9000)
    assert read(encoded("PNG", exif=small.replace(struct.pack("<I", size), struct.pack("<I", 9000))))


def test_a_tiff_has_as_many_parts_as_rows_at_most() -> None:
    offsets = (at(3),) * (PARTS + 1)
    data = tiff(1, bytes(24), {278: (1,), 273: offsets, 279: (24,) * len(offsets)})
    assert refused(data) == f"a picture of more than {PARTS} parts"


def test_the_parts_of_a_tiff_cover_it_a_few_times() -> None:
    rows = bytes(24 * 8)
    for times, fair in [(1, True), (COVERS, True), (COVERS + 1, False)]:
        data = tiff(1, rows, {278: (8,), 273: (at(3),) * 2 * times, 279: (len(rows),) * 2 * times})
        assert read(data) if fair else "cover it more than" in refused(data)
