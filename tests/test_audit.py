"""Audits of plain pictures whose colour says what is on them, with a stand-in for the networks and the detector.

Red tells how many faces there are (100 each), green how old they look, blue how surely they are female (of 250).
"""

import csv
import json
import os
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from faceline import cli
from faceline.audit import auditing, journal
from faceline.audit.auditing import AuditSettings, audit
from faceline.audit.folder import read_picture
from faceline.audit.judging import Judge
from faceline.audit.verdicts import CATEGORIES, category, holm, strength
from faceline.errors import BusyError, PictureError, SourceError
from faceline.faces.decoding import encode_png
from faceline.faces.detection import Face
from faceline.files import read_json, write_json
from faceline.learning.card import Card, read_card
from tests.imports import ROOT

SIDE = 32  # pixels of a picture
AGES = {"youngest": 0, "rows": 999, "scores": [1.5, 1.0, 0.5], "ranks": [1, 4, 500]}  # p .001 above 1.5
GENDERS = {"youngest": 0, "rows": 399, "scores": [0.9, 0.5], "ranks": [1, 80]}  # p .0025 above .9
HALF_WIDTH = 10.0  # years
HOSTILE = "<script>alert(1)</script>\"'&"


class KilledError(Exception):
    """Stands for a kill."""


class Finds:
    """A detector that finds as many faces as the red of the picture says."""

    def __init__(self) -> None:
        self.searched = 0

    def detect(self, pictures: Sequence[np.ndarray]) -> list[list[Face]]:
        self.searched += len(pictures)
        faces = []
        for picture in pictures:
            if picture[0, 0, 0] == 255:
                raise RuntimeError("the detector cannot take this one")
            side = picture.shape[0]
            faces.append([Face(0, 0, side, side, 0.99)] * (int(picture[0, 0, 0]) // 100))
        return faces


def answer(crops: np.ndarray) -> Any:
    years = crops[:, 0, 0, 1].astype(np.float32)
    female = crops[:, 0, 0, 2].astype(np.float32) / 250
    return SimpleNamespace(
        age=years, age_low=np.maximum(years - HALF_WIDTH, 0), age_high=years + HALF_WIDTH, female_probability=female
    )


def picture(age: int = 30, female: float = 0.98, faces: int = 1, side: int = SIDE) -> bytes:
    colour = np.array([100 * faces, age, round(250 * female)], np.uint8)
    return encode_png(np.tile(colour, (side, side, 1)))


def make_card(**changes: Any) -> Card:
    card = read_json(ROOT / "models/pretrained/utkface/card.json")
    card["decode"] = {"max_pixels": 10_000, "min_side": 8}
    card["crop"] |= {"size": 16, "quality": {"min_face_side": 20, "min_sharpness": 0.0, "min_brightness": 0.0}}
    card["nonconformity"] = {"age": [AGES], "gender": [GENDERS]}
    return Card.model_validate({**card, **changes})


PICTURES = {
    "woman.png": picture(),
    "man.png": picture(female=0.02),
    "boy.png": picture(8, 0.4),
    "empty.png": picture(faces=0),
    "couple.png": picture(faces=2),
    "tiny.png": picture(side=12),
    "html.png": b"<html>",
    "failing.png": encode_png(np.full((SIDE, SIDE, 3), 255, np.uint8)),
}
ROWS = [
    ("woman.png", "33", "female", "consistent"),
    ("woman.png", "60", "F", "contradicts_age"),
    ("woman.png", "30", "Male", "contradicts_gender"),
    ("man.png", "99", "f", "contradicts_both"),
    ("boy.png", "8.9", "m", "consistent"),
    ("man.png", "", "M", "consistent"),
    ("man.png", "60", "", "contradicts_age"),
    ("empty.png", "30", "female", "no_face"),
    ("couple.png", "30", "female", "several_faces"),
    ("tiny.png", "30", "female", "poor_picture"),
    ("html.png", "30", "female", "unreadable"),
    ("failing.png", "30", "female", "unreadable"),
    ("absent.png", "30", "female", "unreadable"),
    ("woman.png", "-3", "female", "bad_statement"),
    ("woman.png", "30", "2", "bad_statement"),
    ("woman.png", "", "", "bad_statement"),
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with pictures, profiles and a bundle's card."""
    monkeypatch.chdir(tmp_path)
    Path("bundle").mkdir()
    write_json(Path("bundle/card.json"), make_card().model_dump(mode="json"))
    Path("pictures").mkdir()
    for name, data in PICTURES.items():
        Path("pictures", name).write_bytes(data)
    write_profiles([row[:3] for row in ROWS])


def write_profiles(rows: Sequence[Sequence[str]], *further: str, path: str = "profiles.csv") -> None:
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("picture", "age", "gender", *further), *rows])


def judge(settings: AuditSettings, detector: Any = None) -> Judge:
    return Judge(read_card(settings.bundle), answer, detector or Finds(), settings.false_flags)


def settings(**changes: Any) -> AuditSettings:
    given = {"profiles": "profiles.csv", "bundle": "bundle", "output": "out", "pictures": "pictures"}
    paths = {name: Path(changes.pop(name, path)) for name, path in given.items()}
    return AuditSettings(**paths, **changes)


def table(folder: str = "out") -> list[dict[str, str]]:
    with Path(folder, "audit.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.setattr(cli, "judge_of", judge)
    given = ["profiles.csv", "--bundle", "bundle", "--pictures", "pictures", "--output", "out"]
    return CliRunner().invoke(cli.main, ["audit", *given, *arguments])


def test_every_row_has_its_category_and_none_is_lost() -> None:
    summary = audit(settings(), judge)
    rows = table()
    assert [row["category"] for row in rows] == [row[3] for row in ROWS]
    assert summary["rows"] == len(ROWS) and sum(summary["counts"].values()) == len(ROWS)
    assert summary["counts"].keys() == CATEGORIES.keys()
    assert (summary["tested"], summary["flagged"]) == (7, 4)
    details = {row["picture"]: row["detail"] for row in rows}
    assert details["html.png"].startswith("not_a_picture: ")
    assert details["absent.png"].startswith("missing_file: ")
    assert details["failing.png"] == "detector_failed: RuntimeError: the detector cannot take this one"
    assert details["tiny.png"].startswith("face_too_small: ")
    assert [row["detail"] for row in rows[-3:]] == [
        "age '-3'; allowed: years from 0 to 116",
        "gender '2'; allowed: f, female, m, male",
        "nothing is stated",
    ]


def test_numbers_of_a_flag() -> None:
    """Stated 60 beside 30 ± 10: three half-widths, above all 999 scores; two statements double the p-value."""
    audit(settings(), judge)
    row = table()[1]
    assert row["age_score"] == "3.0" and row["age_p_value"] == "0.001"
    assert float(row["gender_score"]) == pytest.approx(0.02, abs=1e-4) and row["gender_p_value"] == "1.0"
    assert row["p_value"] == "0.002" and row["strength"] == "2.699"
    assert [row[name] for name in ("age_predicted", "age_low", "age_high")] == ["30.0", "20.0", "40.0"]
    assert (row["gender_predicted"], row["gender_probability"]) == ("female", "0.98")
    assert row["detail"] == "age 60 stated, looks 30 (20 to 40)"
    alone = table()[6]
    assert alone["p_value"] == alone["age_p_value"] == "0.001" and alone["gender_p_value"] == ""
    assert table()[3]["detail"] == "age 99 stated, looks 30 (20 to 40); female stated, looks male (98.0%)"


def test_the_rate_decides_and_the_p_values_stay() -> None:
    audit(settings(false_flags=0.004), judge)
    strict = table()
    audit(settings(output="lax", false_flags=0.01), judge)
    lax = table("lax")
    assert [row["p_value"] for row in strict] == [row["p_value"] for row in lax]
    assert strict[2]["category"] == "consistent"  # the gender's p of .0025 counts twice
    assert lax[2]["category"] == "contradicts_gender"


def test_no_gender_is_contradicted_by_an_answer_that_agrees_with_it() -> None:
    """Where answers are sure, .1 for the other gender is rare, and still the stated one is what the face looks like."""
    sure = {"youngest": 0, "rows": 399, "scores": [0.6, 0.05], "ranks": [1, 2]}
    card = make_card(nonconformity={"age": [AGES], "gender": [sure]})
    write_json(Path("bundle/card.json"), card.model_dump(mode="json"))
    Path("pictures/perhaps.png").write_bytes(picture(female=0.9))
    Path("pictures/half.png").write_bytes(picture(female=0.5))
    write_profiles([("perhaps.png", "", "female"), ("perhaps.png", "", "male"), ("half.png", "", "female")])
    audit(settings(), judge)
    agreeing, other, half = table()
    assert (half["category"], half["gender_p_value"]) == ("consistent", "1.0")
    assert (agreeing["category"], agreeing["gender_p_value"]) == ("consistent", "1.0")
    assert (other["category"], other["gender_p_value"]) == ("contradicts_gender", "0.0025")


def test_two_statements_are_adjusted_by_holm() -> None:
    assert holm({"age": 0.004, "gender": 0.008}) == {"age": 0.008, "gender": 0.008}
    assert holm({"age": 0.03, "gender": 0.004}) == {"age": 0.03, "gender": 0.008}
    assert holm({"gender": 0.7, "age": 0.6}) == {"age": 1.0, "gender": 1.0}
    assert holm({"age": 0.004}) == {"age": 0.004}
    assert category({"age": 0.008, "gender": 0.0081}, 0.008) == "contradicts_age"
    assert category({"age": 0.008, "gender": 0.008}, 0.008) == "contradicts_both"
    assert strength({"age": 0.01, "gender": 0.5}) == 2 and str(strength({"age": 1.0})) == "0.0"


@pytest.mark.parametrize("dependent", [False, True])
def test_no_more_true_profiles_are_flagged_than_the_rate_whichever_statement(dependent: bool) -> None:
    random = np.random.default_rng(1)
    ages = random.random(20_000)
    genders = 1 - ages if dependent else random.random(20_000)
    pairs = [{"age": age, "gender": gender} for age, gender in zip(ages, genders, strict=True)]
    flagged = np.mean([category(holm(pair), 0.05) != "consistent" for pair in pairs])
    assert 0.045 < flagged < 0.055
    # A false age does not make the true gender be flagged oftener.
    blamed = [category(holm({**pair, "age": 1e-9}), 0.05) == "contradicts_both" for pair in pairs]
    assert 0.045 < np.mean(blamed) < 0.055


def test_further_columns_are_carried_through_untouched() -> None:
    rows = [
        ("7", "woman.png", " 33 ", 'a "b", c\r\nd', "=1+1"),
        ("", "boy.png", "8", "é", HOSTILE),
        ("9", "woman.png", "33", "a\rb", "a\nb"),
    ]
    with Path("profiles.csv").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([("id", "picture", "age", "name", "note"), *rows])
    audit(settings(), judge)
    found = [tuple(row[name] for name in ("id", "picture", "age", "name", "note")) for row in table()]
    assert found == rows


def test_pictures_lie_beside_the_csv_unless_told_otherwise() -> None:
    write_profiles([("woman.png", "33", "f")], path="pictures/here.csv")
    assert audit(settings(profiles="pictures/here.csv", pictures="."), judge)["counts"]["unreadable"] == 1
    beside = AuditSettings(Path("pictures/here.csv"), Path("bundle"), Path("out"))
    assert audit(beside, judge)["counts"]["consistent"] == 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../secret.png", "outside_folder"),
        ("inside/../woman.png", "outside_folder"),
        ("{here}/secret.png", "outside_folder"),
        ("{here}/pictures/woman.png", "outside_folder"),
        ("link.png", "outside_folder"),
        ("linked/secret.png", "outside_folder"),
        ("circle", "unreadable_file"),
        ("a\0b", "unreadable_file"),
        ("x" * 5000, "unreadable_file"),
        ("", "missing_file"),
        ("pipe", "not_a_file"),
        ("inside", "not_a_file"),
        ("none.png", "missing_file"),
    ],
)
def test_paths_lead_to_plain_files_in_the_folder_alone(tmp_path: Path, name: str, reason: str) -> None:
    Path("secret.png").write_bytes(PICTURES["woman.png"])
    folder = tmp_path / "pictures"
    (folder / "inside").mkdir()
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "linked").symlink_to(tmp_path)
    (folder / "circle").symlink_to("circle")
    os.mkfifo(folder / "pipe")
    with pytest.raises(PictureError) as caught:
        read_picture(folder, name.format(here=tmp_path))
    assert caught.value.reason == reason
    assert str(tmp_path) not in caught.value.detail


def test_links_are_followed_where_that_is_asked_for() -> None:
    Path("secret.png").write_bytes(PICTURES["woman.png"])
    Path("pictures/link.png").symlink_to(Path("secret.png").resolve())
    Path("pictures/near.png").symlink_to("woman.png")
    write_profiles([("link.png", "33", "f"), ("near.png", "33", "f")])
    audit(settings(), judge)
    assert [row["category"] for row in table()] == ["unreadable", "consistent"]
    audit(settings(follow_links=True), judge)
    assert [row["category"] for row in table()] == ["consistent", "consistent"]
    with pytest.raises(PictureError, match="outside_folder"):
        read_picture(Path("pictures").resolve(), str(Path("secret.png").resolve()), follow_links=True)


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> int:
    """40 rows in blocks of 5, their pictures all different."""
    monkeypatch.setattr(auditing, "BLOCK", 5)
    rows = []
    for number in range(40):
        Path("pictures", f"{number}.png").write_bytes(picture(20 + number, number / 40))
        rows.append((f"{number}.png", str(70 - number), "mf"[number % 2]))
    write_profiles(rows)
    return len(rows)


class Dies(Finds):
    """A detector that is killed after some pictures."""

    def __init__(self, after: int):
        super().__init__()
        self.after = after

    def detect(self, pictures: Sequence[np.ndarray]) -> list[list[Face]]:
        if self.searched >= self.after:
            raise KeyboardInterrupt
        return super().detect(pictures)


def results(folder: str) -> list[bytes]:
    return [Path(folder, name).read_bytes() for name in ("audit.csv", "index.html", "summary.json")]


@pytest.mark.parametrize("torn", [b"", b'[{"row": 21, "categ', b"\0\0\0", b"nonsense\n[]\n"])
def test_a_killed_audit_goes_on_to_the_same_bytes(many: int, torn: bytes) -> None:
    audit(settings(output="whole"), judge)
    with pytest.raises(KeyboardInterrupt):
        audit(settings(), lambda given: judge(given, Dies(20)))
    assert not Path("out/audit.csv").exists()
    with Path("out/verdicts.jsonl").open("ab") as file:
        file.write(torn)
    detector, ticks, said = Finds(), list[int](), list[str]()
    audit(settings(), lambda given: judge(given, detector), lambda: ticks.append(1), said.append)
    assert detector.searched == len(ticks) == many - 20
    assert said == [f"out has 20 of {many} rows already"]
    assert results("out") == results("whole")


def test_an_audit_that_is_done_is_not_done_again(many: int) -> None:
    audit(settings(), judge)
    before = results("out")
    Path("out/audit.csv").unlink()

    def refuse(given: AuditSettings) -> Judge:
        raise AssertionError

    audit(settings(), refuse)
    assert results("out") == before


def change_profiles() -> dict[str, Any]:
    Path("profiles.csv").write_text(Path("profiles.csv").read_text().replace("70", "71"))
    return {}


def change_bundle() -> dict[str, Any]:
    write_json(Path("bundle/card.json"), make_card(dataset="other").model_dump(mode="json"))
    return {}


@pytest.mark.parametrize("change", [change_profiles, change_bundle, lambda: {"false_flags": 0.02}])
def test_another_table_bundle_or_rate_begins_anew(many: int, change: Callable[[], dict[str, Any]]) -> None:
    audit(settings(), judge)
    changes = change()
    detector, said = Finds(), list[str]()
    audit(settings(**changes), lambda given: judge(given, detector), say=said.append)
    assert detector.searched == many
    assert said == ["out is of another table, bundle or setting: the audit begins anew"]


def test_what_another_table_gave_is_gone_when_an_audit_begins_anew(many: int) -> None:
    """If it is killed, the results of before would look like its own."""
    audit(settings(), judge)
    change_profiles()
    with pytest.raises(KeyboardInterrupt):
        audit(settings(), lambda given: judge(given, Dies(20)))
    assert [path.name for path in Path("out").iterdir()] == ["verdicts.jsonl"]


def test_a_table_that_was_changed_meanwhile_and_changed_back_is_audited_anew(many: int) -> None:
    with Path("profiles.csv").open(encoding="utf-8", newline="") as file:
        _, *rows = csv.reader(file)
    write_profiles([(*row, "x" * 10_000) for row in rows], "note")  # more than is read at a time
    audit(settings(output="whole"), judge)
    before = Path("profiles.csv").read_bytes()

    def changing(given: AuditSettings) -> Judge:
        Path("profiles.csv").write_bytes(before.replace(b",31,", b",59,"))
        return judge(given)

    with pytest.raises(SourceError, match="has changed while it was audited"):
        audit(settings(), changing)
    Path("profiles.csv").write_bytes(before)
    audit(settings(), judge)
    assert results("out") == results("whole")


def test_names_of_any_bytes_can_be_audited() -> None:
    name = os.fsdecode(b"prof\xe9.csv")
    Path("profiles.csv").rename(name)
    assert audit(settings(profiles=name), judge)["profiles"] == "prof\N{REPLACEMENT CHARACTER}.csv"


def test_a_limit_takes_the_first_rows(many: int) -> None:
    assert audit(settings(limit=12), judge)["rows"] == len(table()) == 12


def test_a_second_audit_of_the_same_output_stops_at_once() -> None:
    with journal.opened(Path("out"), "another"), pytest.raises(BusyError) as caught:
        audit(settings(), judge)
    assert caught.value.message == "another audit writes to out; wait for it, or choose another --output"
    audit(settings(), judge)


class Page(HTMLParser):
    """What a page loads and runs, and its headings and pictures."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def gallery() -> Page:
    return Page(Path("out/index.html").read_text(encoding="utf-8"))


def test_the_gallery_shows_the_strongest_first_and_loads_nothing() -> None:
    audit(settings(shown=3), judge)
    page = gallery()
    text = " ".join(" ".join(page.text).split())
    images = page.attributes("img")
    # Rows 4, 7 and 2: of equal strength the larger error first, and a lone statement is not doubled.
    assert [image["alt"] for image in images] == ["The face of row 7", "The face of row 4", "The face of row 2"]
    assert all((image["src"] or "").startswith("data:image/jpeg;base64,/9j/") for image in images)
    assert "The 3 strongest of 4" in text and "never a decision by itself" in text and "by appearance" in text
    loaded = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert all((value or "").startswith("data:") for value in loaded)
    assert not page.attributes("script") and page.attributes("html") == [{"lang": "en"}]
    assert "default-src 'none'" in str(page.attributes("meta"))


@pytest.mark.parametrize(("coverage", "told"), [(0.9, "90%"), (0.995, "99.5%")])
def test_the_gallery_tells_how_many_ages_an_interval_holds(coverage: float, told: str) -> None:
    card = make_card(age_interval={"coverage": coverage, "half_width": 8.0, "typical_deviation": None})
    write_json(Path("bundle/card.json"), card.model_dump(mode="json"))
    audit(settings(), judge)
    assert f"the interval that holds {told} of true ages" in "".join(gallery().text)


def test_hostile_names_stay_text() -> None:
    Path("pictures", "<img src=x onerror=alert(1)>.png").write_bytes(PICTURES["man.png"])
    write_profiles([("<img src=x onerror=alert(1)>.png", "99", "f", HOSTILE)], HOSTILE)
    Path(f"{HOSTILE.replace('/', '')}.csv").write_text(Path("profiles.csv").read_text())
    audit(settings(profiles=f"{HOSTILE.replace('/', '')}.csv"), judge)
    page = gallery()
    assert not page.attributes("script")
    assert len(page.attributes("img")) == 1 and "onerror" not in page.attributes("img")[0]
    assert HOSTILE in "".join(page.text)


def test_shares_of_flags_are_told_by_what_is_stated() -> None:
    audit(settings(), judge)
    groups = {(group["by"], group["group"]): group for group in read_json(Path("out/summary.json"))["groups"]}
    assert groups["age", "60-69"] == {"by": "age", "group": "60-69", "tested": 2, "flagged": 2}
    assert groups["gender", "male"]["tested"] == 3 and groups["gender", "male"]["flagged"] == 1
    assert ("age", "9-19") not in groups


def test_the_command_prints_counts_or_json(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == (
        "profiles.csv: 16 profiles, 4 of 7 tested ones flagged at a false-flag rate of 1%: contradicts_both 1, "
        "contradicts_age 2, contradicts_gender 1, consistent 3, no_face 1, several_faces 1, poor_picture 1, "
        "unreadable 3, bad_statement 3"
    )
    assert json.loads(run(monkeypatch, "--json").stdout) == read_json(Path("out/summary.json"))
    told = " ".join(CliRunner().invoke(cli.main, ["audit", "--help"]).output.split())
    assert "never a decision" in told and "--false-flags" in told and "default: 0.01" in told


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "profiles.csv is empty; allowed: a CSV in UTF-8 with a header"),
        (b"\n\n", "profiles.csv is empty; "),
        (b"picture,age\n", "profiles.csv has no row below its header; "),
        (b"a.png,33,f\nb.png,44,m\n", "neither age nor gender; its first line has 'a.png', '33', 'f'; allowed: "),
        (b"picture,name\na,b\n", "profiles.csv has no column picture, or neither age nor gender"),
        (b"picture;age\na;3\n", "its first line has 'picture;age'; allowed: "),
        (b"picture,age,age\na,1,2\n", "profiles.csv has more than one column 'age'; allowed: each name once"),
        (b"picture,age,strength\na,1,2\n", "profiles.csv has a column 'strength', which the audit adds itself"),
        (b"picture,age\na,1\nb\n", "profiles.csv: line 3 has 1 fields, the header 2; allowed: as many as the header"),
        (b"picture,age\na,1,2\n", "profiles.csv: line 2 has 3 fields, the header 2"),
        ("picture,age,name\na,1,é\n".encode("latin-1"), "profiles.csv: line 2 is not UTF-8: "),
        ("picture,age\na,1\n".encode("utf-16"), "profiles.csv: line 1 is not UTF-8: "),
        (b"picture,age\n" + b"x" * 200_000 + b",1\n", "profiles.csv: line 2 is no line of a CSV: field larger than "),
        (b"picture,age\n" + b"x," * 600_000 + b"1\n", "profiles.csv: line 2 is too long; allowed: 1048576 bytes"),
        (b'picture,age\n"a,1\n' + b"b,2\n" * 50_000, "is no line of a CSV: field larger than field limit"),
        (b'picture,age\n"a,1\n', "profiles.csv: line 2 is no line of a CSV: unexpected end of data"),
        (b'picture,age\n"a' + b'\n","a' * 300_000, "a row does not end within 1048576 characters; is a quote missing?"),
        (None, "profiles.csv cannot be read: No such file or directory"),
    ],
)
def test_a_bad_table_is_told_in_one_line_before_any_work(
    monkeypatch: pytest.MonkeyPatch, content: bytes | None, message: str
) -> None:
    Path("profiles.csv").unlink()
    if content is not None:
        Path("profiles.csv").write_bytes(content)
    refused(run(monkeypatch), message)


def refused(result: Result, message: str) -> None:
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert not Path("out").exists()


def test_what_cannot_be_audited_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    refused(run(monkeypatch, "--pictures", "absent"), "absent is no folder; allowed: that of the pictures")
    refused(run(monkeypatch, "--false-flags", "0.001"), "for a false-flag rate of 0.001; allowed with age and gender: ")
    refused(run(monkeypatch, "--bundle", "absent"), "absent/card.json is missing")
    write_json(Path("bundle/card.json"), make_card(nonconformity=None).model_dump(mode="json"))
    refused(run(monkeypatch), "bundle has no calibration of age in its card")
    write_json(Path("bundle/card.json"), make_card(nonconformity={"age": [AGES]}).model_dump(mode="json"))
    refused(run(monkeypatch), "bundle has no calibration of gender in its card")


def test_the_table_that_is_read_is_not_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("profiles.csv").rename("audit.csv")
    before = Path("audit.csv").read_bytes()
    result = CliRunner().invoke(cli.main, ["audit", "audit.csv", "--bundle", "bundle", "--output", "."])
    assert result.exit_code == 2 and "is what the audit would write" in result.stderr
    assert Path("audit.csv").read_bytes() == before


@pytest.mark.parametrize("name", ["index.html", "audit.csv", "summary.json"])
def test_what_no_audit_has_written_is_not_written_over(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    Path("out").mkdir()
    Path("out", name).write_text("somebody's own")
    result = run(monkeypatch)
    assert result.exit_code == 2 and f"out/{name} is of no audit; choose another --output" in result.stderr
    assert Path("out", name).read_text() == "somebody's own"


def test_an_output_that_cannot_be_written_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("out").write_text("a file")
    result = run(monkeypatch)
    assert result.stderr == "Error: out cannot be written: File exists; choose another --output\n"


def test_bands_that_cannot_be_flagged_at_the_rate_are_named() -> None:
    few = {"youngest": 60, "rows": 99, "scores": [1.5], "ranks": [1]}
    card = make_card(nonconformity={"age": [AGES, few], "gender": [GENDERS]})
    write_json(Path("bundle/card.json"), card.model_dump(mode="json"))
    said: list[str] = []
    summary = audit(settings(), judge, say=said.append)
    assert (
        said
        == summary["warnings"]
        == [
            "no age can be flagged at this rate where the stated age is 60 or more, unless the row states nothing "
            "else or both are contradicted: only 99 pictures to calibrate with"
        ]
    )
    assert table()[1]["category"] == "consistent"
    assert [row["category"] for row in table()][3] == "contradicts_both"
    assert [row["category"] for row in table()][6] == "contradicts_age"
    assert said[0] in " ".join("".join(gallery().text).split())
