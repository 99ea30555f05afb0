"""`faceline evaluate` with a real, untrained bundle on tiny datasets of every kind."""

import csv
import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from faceline import cli
from faceline.cli import main
from faceline.datasets.tables import PREDICTIONS
from faceline.evaluation.metrics import Constants, evaluate
from faceline.faces.decoding import encode_png
from faceline.files import read_json, read_table, write_json
from tests.toy_bundle import write_toy_bundle

# Keras 3.15 converts variables the old way when it saves a network.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
AGES = (31, 8, 55, 74)
SIDE = 32  # pixels
PICTURES = {
    f"UTKFace/{age}_{number % 2}_{number}_2017010100000000{number}.jpg": encode_png(
        np.random.default_rng(number).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    )
    for number, age in enumerate(AGES)
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_bundle(tmp_path_factory.mktemp("trained") / "bundle")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a bundle where the default looks for it, and the pictures in a tar."""
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    Path("models/bundle").symlink_to(bundle)
    make_tar(Path("faces.tar"))


def make_tar(path: Path, pictures: dict[str, bytes] = PICTURES) -> list[str]:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as packed:
        for name, data in pictures.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
    return [str(path)]


def make_zip(path: Path) -> list[str]:
    with zipfile.ZipFile(path, "w") as packed:
        for name, data in PICTURES.items():
            packed.writestr(name, data)
    return [str(path)]


def make_folder(path: Path) -> list[str]:
    for name, data in PICTURES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return [str(path)]


def make_manifest(path: Path) -> list[str]:
    rows = [[name, *Path(name).name.split("_")[:3]] for name in PICTURES]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["path", "age", "gender", "race"], *rows])
    return [str(path), "--pictures", "faces.tar"]


def make_pixels(path: Path) -> list[str]:
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["age", "ethnicity", "gender", "img_name", "pixels"])
        for number, age in enumerate(AGES):
            grey = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
            out.writerow([age, number, number % 2, f"{number}.png", " ".join(map(str, grey.ravel()))])
    return [str(path)]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["evaluate", *arguments])


def judged(*arguments: str) -> dict[str, object]:
    result = run(*arguments, "--no-detect", "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_the_same_pictures_give_the_same_metrics_from_every_source() -> None:
    made = {
        "utkface": [make_tar(Path("faces.tar")), make_tar(Path("faces.tar.gz")), make_zip(Path("faces.zip"))],
        "manifest": [make_manifest(Path("faces.csv"))],
        "pixels_csv": [make_pixels(Path("pixels.csv"))],
    }
    made["utkface"].append(make_folder(Path("folder")))
    results = []
    for reader, sources in made.items():
        for arguments in sources:
            results.append(judged(*arguments))
            assert results[-1].pop("reader") == reader
            assert results[-1].pop("archive") == arguments[0]
    assert all(result == results[0] for result in results)
    assert {"age", "gender", "race", "baseline", "coverage", "rows"} < results[0].keys()
    assert results[0]["rows"] == 4
    assert results[0]["all_readable"]["rows"] == 4  # type: ignore[index]


def test_kept_predictions_give_the_metrics_again_and_can_be_compared(bundle: Path) -> None:
    metrics = judged("faces.tar", "--predictions", "kept/out.parquet")
    predictions = read_table(Path("kept/out.parquet"))
    assert predictions.schema == PREDICTIONS
    again = json.loads(json.dumps(evaluate(predictions, Constants(age_median=30, gender_majority=0))))
    assert again == {name: metrics[name] for name in again}
    compared = CliRunner().invoke(main, ["compare", "kept/out.parquet", "kept/out.parquet"])
    assert "on the 4 rows that both have" in compared.stdout


def test_the_tables_and_the_sentence_are_for_people() -> None:
    make_tar(Path("faces.tar"), {**PICTURES, "1_1_1_20170101000000099.jpg": b"<html>", "x.jpg": b""})
    result = run("faces.tar", "--no-detect")
    assert result.exit_code == 0
    assert "one good face" in result.stdout and "every readable picture" in result.stdout
    assert "age 50-59" in result.stdout and "race black" in result.stdout
    assert result.stdout.splitlines()[-1] == (
        "models/bundle on faces.tar (utkface): 6 rows, 4 readable, 4 different pictures, 4 of them (100.0%) with one "
        "good face; left out: malformed_name 1, not_a_picture 1."
    )


def test_a_limit_takes_the_first_rows() -> None:
    assert judged("faces.tar", "--limit", "3")["rows_in"] == 3


def test_the_bundles_own_detection_is_the_default() -> None:
    """There is no face in noise: with the detector of the card, nothing is left but the whole pictures."""
    found = json.loads(run("faces.tar", "--json").stdout)
    assert found["rows"] == 0 and "age" not in found
    assert found["rejected"] == {"no_face": 4}
    assert found["all_readable"]["rows"] == 4 and found["all_readable"]["age"]["mae"] > 0


def test_the_default_bundle_is_the_pretrained_one_where_there_is_one(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert judged("faces.tar")["bundle"] == "models/bundle"
    Path("models/pretrained").mkdir()
    Path("models/pretrained/utkface").symlink_to(bundle)
    assert judged("faces.tar")["bundle"] == "models/pretrained/utkface"
    assert judged("models/bundle", "faces.tar")["bundle"] == "models/bundle"
    clone = tmp_path / "clone"
    clone.mkdir()
    (tmp_path / "models").rename(clone / "models")
    monkeypatch.setattr(cli, "__file__", str(clone / "faceline/cli.py"))
    assert judged("faces.tar")["bundle"] == str(clone / "models/pretrained/utkface")


def test_help_says_which_bundle_is_taken() -> None:
    for command in ("evaluate", "predict"):
        told = " ".join(CliRunner().invoke(main, [command, "--help"]).output.split())
        assert "models/pretrained/utkface where that folder is, else models/bundle" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.tar"], "absent.tar does not exist"),
        (["rubbish"], "rubbish is neither an archive nor a table, or is empty; readers (--reader): utkface: "),
        (["cut.tar.gz"], "cut.tar.gz is damaged or cut off: "),
        (["hostile.tar"], "hostile.tar: member '../2_0_0_20170101000000000.jpg' has a name that is not allowed"),
        (["plain.tar"], "plain.tar holds 1 pictures and no label that a reader knows; readers"),
        (
            ["plain.tar", "--reader", "utkface"],
            "plain.tar has 1 rows, but no picture that can be used: malformed_name 1",
        ),
        (["texts.tar", "--reader", "utkface"], "texts.tar holds no picture"),
        (["faces.tar", "--reader", "imdb_wiki"], "holds no .mat; name the file that lies outside the archive"),
        (["faces.tar", "--reader", "manifest"], "faces.tar: the reader manifest needs --pictures"),
        (
            ["unlabelled.csv", "--pictures", "faces.tar"],
            "unlabelled.csv has no label of what the bundle answers: age, ",
        ),
        (["absent", "faces.tar"], "absent/card.json is missing"),
        (["older", "faces.tar"], "older/card.json has format 1; this version reads format"),
    ],
)
def test_what_cannot_be_judged_is_told_in_one_line(arguments: list[str], message: str, bundle: Path) -> None:
    Path("rubbish").write_bytes(os.urandom(64).replace(b"\n", b"") + b"\0\n")
    whole = Path(make_tar(Path("whole.tar.gz"))[0]).read_bytes()
    Path("cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    make_tar(Path("hostile.tar"), {**PICTURES, "../2_0_0_20170101000000000.jpg": b""})
    make_tar(Path("plain.tar"), {"a.jpg": b""})
    make_tar(Path("texts.tar"), {"a.txt": b""})
    Path("unlabelled.csv").write_text("path,age,gender\n" + "".join(f"{name},,\n" for name in PICTURES))
    Path("older").mkdir()
    write_json(Path("older/card.json"), {**read_json(bundle / "card.json"), "format": 1})
    result = run(*arguments, "--no-detect", "--predictions", "kept.parquet")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("Error: ") and message in result.stderr
    assert not Path("kept.parquet").exists()


def test_a_wrong_number_of_arguments_shows_the_usage() -> None:
    for arguments in ([], ["a", "b", "c"]):
        result = run(*arguments)
        assert result.exit_code == 2
        assert "[BUNDLE] ARCHIVE" in result.output
