"""Label values as tables write them, turned to the project's codes; what cannot be turned raises a ValueError."""

import math

from faceline.datasets.labels import GENDERS, RACES

_SHORT = 2**15 - 1  # ages and years are stored as 16-bit integers


def parse_age(value: str | None) -> int | None:
    """Whole years, a fraction cut off; None for an empty value. What ages make sense is for cleaning to say."""
    if not (value or "").strip():
        return None
    age = _number(value, "a number of years")
    if not math.isfinite(age):
        return None
    if abs(age) > _SHORT:
        raise ValueError(f"{value!r} is not an age")
    return math.floor(age)


def parse_gender(value: str | None) -> int | None:
    """The code of `0`, `1`, `male` or `female`; None for an empty value."""
    return _code(value, GENDERS)


def parse_race(value: str | None) -> int | None:
    """The code of `0` to `4` or one of the names in `labels.RACES`; None for an empty value."""
    return _code(value, RACES)


def _code(value: str | None, names: tuple[str, ...]) -> int | None:
    text = (value or "").strip().lower()
    if not text:
        return None
    if text in names:
        return names.index(text)
    allowed = f"0 to {len(names) - 1} or {', '.join(names)}"
    code = _number(text, allowed)
    if math.isnan(code):
        return None
    if code not in range(len(names)):
        raise ValueError(f"{value!r} is not allowed; allowed: {allowed}")
    return int(code)


def _number(value: str | None, allowed: str) -> float:
    try:
        return float(value or "")
    except ValueError:
        raise ValueError(f"{value!r} is not allowed; allowed: {allowed}") from None
