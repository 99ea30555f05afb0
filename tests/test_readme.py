"""README.md says what is: its tree is git's, its metrics are those of models/metrics.json, its commands are there."""

import re

from click.testing import CliRunner

from docs.readme import main
from tests.imports import ROOT


def test_the_metrics_and_the_tree_are_up_to_date() -> None:
    assert CliRunner().invoke(main, ["--check"]).exit_code == 0, "run `make readme`"


def test_the_commands_it_names_are_in_the_makefile() -> None:
    readme, makefile = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "Makefile"))
    named = set(re.findall(r"^make ([a-z-]+)", readme, flags=re.M)) | set(re.findall(r"`make ([a-z-]+)`", readme))
    targets = set(re.findall(r"^([a-z-]+):.*##", makefile, flags=re.M))
    assert named <= targets
    assert {"repro", "test"} <= named


def test_the_pages_and_pictures_it_links_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!http)([^)#]+)\)", readme)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_reason_of_cleaning_is_documented() -> None:
    code = (ROOT / "faceline/datasets/cleaning.py").read_text(encoding="utf-8") + (ROOT / "stages/clean.py").read_text()
    reasons = set(re.findall(r'^\s+(?:.*, )?"([a-z]+(?:_[a-z]+)+)",', code, flags=re.M))
    page = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    assert {"age_below_minimum", "contradicting_twin", "second_face"} <= reasons
    assert [reason for reason in sorted(reasons) if reason not in page] == []
