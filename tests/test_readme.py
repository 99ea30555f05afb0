"""README.md says what is: its tree, its metrics, its commands; and every link of the documentation leads somewhere."""

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


def test_what_pages_link_exists() -> None:
    pages = {page: page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]}
    anchors = {page: {_anchor(title) for title in re.findall(r"^#+ (.*)$", text, re.M)} for page, text in pages.items()}
    links = [
        (page, target, anchor)
        for page, text in pages.items()
        for target, anchor in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]+))?\)", text)
    ]
    assert any(anchor for _, _, anchor in links)
    for page, target, anchor in links:
        linked = (page.parent / target).resolve() if target else page
        assert linked.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors[linked], f"{page.name}: {target}#{anchor}"


def _anchor(title: str) -> str:
    """What GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def test_every_reason_of_cleaning_is_documented() -> None:
    code = (ROOT / "faceline/datasets/cleaning.py").read_text(encoding="utf-8") + (ROOT / "stages/clean.py").read_text()
    reasons = set(re.findall(r'^\s+(?:.*, )?"([a-z]+(?:_[a-z]+)+)",', code, flags=re.M))
    page = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    assert {"age_below_minimum", "contradicting_twin", "second_face"} <= reasons
    assert [reason for reason in sorted(reasons) if reason not in page] == []
