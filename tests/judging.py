"""Judging the small tables of `tests.builders`: thresholds that they meet, and what a verdict found wrong."""

from typing import Any

from faceline.gates.expectations import Inputs
from faceline.gates.suite import run
from faceline.gates.verdict import Verdict
from faceline.params import parse_settings
from stages.gate import load
from tests.builders import World

LABELS = {
    "known": {"age": 1, "gender": 0.9},
    "shares": {"female": {"minimum": 0.4, "maximum": 0.6}, "white": {"minimum": 0.1, "maximum": 0.3}},
    "age_mean": {"minimum": 30, "maximum": 60},
}
LIMITS: dict[str, dict[str, Any]] = {
    "ingest": {"min_rows": 50, "max_rejected": 0.1, "max_side": 100, "labels": LABELS},
    "clean": {"min_rows": 50, "max_rejected": 0.1, "age": {"minimum": 9, "maximum": 99}, "labels": LABELS},
    "detect": {"min_found": 0.9, "max_errors": 0.05},
    "crop": {"min_rows": 50, "max_rejected": 0.1},
    "split": {
        "min_rows": 10,
        "max_group": 0.05,
        "fraction_tolerance": 0.05,
        "age_mean_tolerance": 3,
        "share_tolerance": 0.1,
    },
    "shard": {"min_rows": 10, "labels": LABELS},
    "train": {"min_fall": 0.05, "packed_tolerance": 0.1},
    "evaluate": {
        "min_rows": 50,
        "floors": {"gender_accuracy": 0.8},
        "ceilings": {"age_mae": 5},
        "age_mae_below_constant": 0.6,
        "accuracy_above_constant": 0.1,
        "slices": {"min_rows": 5, "max_age_mae": 10, "min_gender_accuracy": 0.5, "min_race_accuracy": 0.3},
        "coverage": 0.9,
        "baseline_tolerance": 0.1,
    },
}
PLACES = {
    "ingest": ("ingest", "ingest"),  # the ingest gate needs nothing of the raw folder
    "clean": ("clean", "ingest"),
    "detect": ("detect", "clean"),
    "crop": ("crop", "clean"),
    "split": ("split", "crop"),
    "shard": ("shards", "split"),
    "train": ("bundle", "history.csv"),
    "evaluate": ("evaluate", "baseline.json"),
}
Failures = dict[tuple[str, str | None], list[Any]]


def inputs(made: World, name: str) -> Inputs:
    """What gate `name` is given."""
    table, beside = PLACES[name]
    return Inputs(made / table, made / beside, "sample", "compact", made / "store")


def judge(made: World, name: str, **changes: Any) -> Verdict:
    """The verdict of gate `name`, under LIMITS with some of them changed."""
    gate = load(name)
    limits = parse_settings(gate.limits, {**LIMITS[name], **changes}, name)
    return run(name, gate.suite(inputs(made, name), limits))


def failures(verdict: Verdict) -> Failures:
    """The keys of the failing rows by table and column, of every expectation that failed."""
    found: Failures = {}
    for finding in verdict.findings:
        if not finding.success:
            keys = [example[finding.key] for example in finding.examples]
            found.setdefault((finding.table, finding.column), []).extend(keys)
    return {place: sorted(set(keys)) for place, keys in found.items()}
