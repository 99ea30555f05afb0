"""An expectation that a table did not meet, in words: for the message of its gate and for the report."""

from collections.abc import Mapping
from typing import Any


def expected(kind: str, arguments: Mapping[str, Any]) -> str:
    """A type of Great Expectations with its arguments: `values to be between, min_value 0, max_value 116`."""
    name = kind.removeprefix("expect_").removeprefix("column_").removeprefix("table_").replace("_", " ")
    return ", ".join([name, *(f"{argument} {told(value)}" for argument, value in arguments.items())])


def told(value: Any) -> str:
    """A value of a gate's report on one line, with all its digits: a rounded one could look as if it had been met."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {told(item)}" for name, item in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(told(item) for item in value) + "]"
    return str(value)
