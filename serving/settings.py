"""What a server is set by: its bundle, its limits, and who may ask. `faceline serve --help` says the same to people."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from faceline.params import Settings

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]
MEBIBYTE = 2**20
FRAMING = 4096  # bytes that boundaries and headers of a part may take, beside the picture


class ServeSettings(Settings):
    """Of one server. The defaults suit two cores and 4 GiB of memory."""

    bundle: Path
    api_key: Annotated[str, Field(min_length=1)] | None = None  # asked of everybody, as the header X-API-Key
    cors_origins: tuple[str, ...] = ()  # whose pages may ask from a browser; none

    page: bool = True  # whether there is a web page beside the API

    max_bytes: Count = 10 * MEBIBYTE  # of an encoded picture
    max_pixels: Count | None = None  # of a picture, before it is decoded; what the bundle's card says if less or None
    max_pictures: Count = 16  # a request of `predict/batch`
    max_faces: Count = 100  # a picture

    max_waiting: Count = 64  # requests whose pictures are here, at a time; a further one is turned away with 503
    # Of uploads held at a time, in all; a request whose next bytes find no room is turned away with 503.
    bytes_in_memory: Annotated[int, Field(validate_default=True)] = 256 * MEBIBYTE
    pixels_in_memory: Count = 100_000_000  # decoded at a time, in all; a picture waits until there is room
    batch_pictures: Count = 32  # pictures in which faces are looked for together
    batch_faces: Count = 64  # faces that go through the networks together
    batch_wait: Annotated[float, Field(ge=0, le=1)] = 0.004  # seconds waited for pictures that are on their way

    upload_timeout: Seconds = 30.0  # seconds from a request's first byte to its last
    answer_timeout: Seconds = 30.0  # seconds from then to the answer
    drain_timeout: Count = 30  # seconds that SIGTERM leaves for what is under way

    def request_bytes(self, pictures: int) -> int:
        """Bytes that the body of a request with so many pictures may have."""
        return pictures * (self.max_bytes + FRAMING)

    @field_validator("bytes_in_memory")
    @classmethod
    def _room_for_one(cls, value: int, info: ValidationInfo) -> int:
        least = info.data.get("max_pictures", 0) * (info.data.get("max_bytes", 0) + FRAMING)
        if value < least:
            raise ValueError(f"one request may bring more; allowed: at least {least}, max_pictures x max_bytes")
        return value
