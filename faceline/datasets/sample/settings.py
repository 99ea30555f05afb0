"""The settings of the synthetic sample."""

from typing import Annotated

from pydantic import Field

from faceline.params import Settings


class SampleSettings(Settings):
    """Who is on the sample's pictures and how large they are; the section `sample` of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]  # another seed gives other people
    faces: Annotated[int, Field(ge=20, le=100_000)]  # ordinary rows; the faults come on top, in proportion
    size: Annotated[int, Field(ge=48, le=512)]  # pixels a side of a picture
