"""The errors of faceline: one line each for the person who typed the command.

Every `FacelineError` is a `click.ClickException`, so a stage or a command that raises one prints
`Error: <message>` and exits with its `exit_code`; no traceback. Errors of a single picture are data,
not failures: `PictureError` carries the machine-readable reason that a rejected row will bear.
"""

import click


class FacelineError(click.ClickException):
    """Something that the user can mend; its message names what, where and what is allowed."""

    exit_code = 2


class SettingsError(FacelineError):
    """A setting that does not exist, or a value that is not allowed."""


class SourceError(FacelineError):
    """A source of data that cannot be read: missing, damaged, hostile or of another format."""


class GateError(FacelineError):
    """A table that did not pass its gate, or whose pass is missing or stale."""

    exit_code = 3


class WorkError(FacelineError):
    """Work handed to other processes that could not be done: no worker, or one that failed each time."""


class BundleError(FacelineError):
    """A model bundle that is incomplete, altered, or of another version."""


class ExportError(FacelineError):
    """A bundle that another runtime cannot hold, a place that is taken, or a graph that answers otherwise."""


class TrainingError(FacelineError):
    """A training that has gone astray: its loss is no number any more."""


class WeightsError(FacelineError):
    """Pretrained weights that cannot be had: a file missing, damaged or of another network, or nowhere to fetch it."""


class BusyError(FacelineError):
    """A folder in which another process works."""


class PictureError(Exception):
    """A picture that cannot be used. `reason` is the code a rejected row bears, `detail` is for people."""

    def __init__(self, reason: str, detail: str):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
