"""The demo of a gate works in a checkout as it is, and leaves it so."""

import subprocess
import sys

import pytest

from tests.e2e.project import environment
from tests.imports import ROOT

pytestmark = pytest.mark.slow


def test_the_demo_of_a_gate_shows_it_and_the_next_stage_refusing_a_spoiled_table() -> None:
    command = [sys.executable, "-m", "demos.gate"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), text=True, capture_output=True, check=False)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "gate clean failed" in told and "Neither the gate nor the next stage let the spoiled table through." in told
