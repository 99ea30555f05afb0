"""The bundle that comes with the project, exported: as near to Keras on 200 pictures as docs/device.md says."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from faceline.cli import main
from faceline.export import folder
from faceline.files import read_json
from faceline.learning.card import read_card
from tests.imports import ROOT

BUNDLE = ROOT / "models/pretrained/utkface"
PICTURES = 200
YEARS, PROBABILITY, DETECTION = 0.05, 0.002, 0.001  # as docs/device.md states them
BYTES = {"onnx": 1.2, "tflite": 2.1}  # a weight: one and two, and what stands around the networks

pytestmark = pytest.mark.slow


def test_the_bundle_agrees_within_the_stated_tolerance(tmp_path: Path) -> None:
    output = tmp_path / "out"
    result = CliRunner().invoke(main, ["export", str(BUNDLE), str(output), "--check", str(PICTURES)])
    assert result.exit_code == 0, result.output
    about = read_json(output / folder.ABOUT)
    assert about["checked_on"] == PICTURES
    weights = sum(network.parameters for network in read_card(BUNDLE).networks)
    for ending in folder.FORMATS:
        assert (output / f"predictor.{ending}").stat().st_size < BYTES[ending] * weights
        answers = about["largest_differences"][f"predictor.{ending}"]
        assert set(answers) == {"age", "age_low", "age_high", "female_probability", "race_probabilities"}
        assert all(worst <= (YEARS if name.startswith("age") else PROBABILITY) for name, worst in answers.items())
        for name in ("pnet", "rnet", "onet"):
            assert max(about["largest_differences"][f"{name}.{ending}"].values()) <= DETECTION
