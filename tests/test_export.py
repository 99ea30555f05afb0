"""Bundles as ONNX and TFLite: the same numbers as Keras's, whatever heads they have, and nothing lost on the way."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf
from click.testing import CliRunner, Result

from faceline.cli import main
from faceline.errors import ExportError
from faceline.export import agreement, answers, folder, onnx_format, tflite_format
from faceline.export.finding import detector_graphs
from faceline.files import atomic_directory, read_json, sha256_file, write_json
from faceline.learning.answering import CropPredictor
from faceline.learning.card import CARD, read_card
from faceline.learning.pixels import resized
from tests.toy_bundle import pack_toy_bundle, write_toy_bundle
from tests.toys import SIDE, network, recipe

# Keras 3.15 converts variables the old way when it saves a network.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
RUNTIMES: Sequence[folder.Runtime] = (onnx_format, tflite_format)
QUICK = ("--format", "onnx", "--no-detector", "--check", "0")
CLOSE = {"age": 0.01, "age_low": 0.01, "age_high": 0.01, "female_probability": 1e-4, "race_probabilities": 1e-4}


def crops(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, SIDE, SIDE, 3)).astype(np.uint8)


def edit(bundle: Path, **changes: Any) -> Path:
    """The bundle with some fields of its card changed."""
    write_json(bundle / CARD, {**read_json(bundle / CARD), **changes})
    return bundle


def compare(bundle: Path, runtime: folder.Runtime) -> set[str]:
    """The names of the answers, which are those of Keras, to any number of crops."""
    model = runtime.convert(answers.predictor_graph(bundle), half_precision=False)
    for count in (1, 5):
        wanted = vars(CropPredictor(bundle).predict_crops(crops(count)))
        found = runtime.ask(model, crops(count))
        for name, values in found.items():
            assert values.dtype == np.float32
            assert values.shape == wanted[name].shape
            assert np.allclose(values, wanted[name], rtol=0, atol=CLOSE[name]), name
    return set(found)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_answers_are_keras_s_with_temperatures_interval_and_mirror_image(
    tmp_path: Path, runtime: folder.Runtime
) -> None:
    temperatures = {"age": 0.4, "gender": 0.5, "race": 3.0}
    bundle = write_toy_bundle(tmp_path / "bundle", temperatures=temperatures, flip_averaging=True)
    edit(bundle, age_interval={"coverage": 0.9, "half_width": 7.5, "typical_deviation": 20.0})
    assert compare(bundle, runtime) == set(CLOSE)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_half_precision_makes_small_files_with_the_same_answers(tmp_path: Path, runtime: folder.Runtime) -> None:
    wide = {**network(), "arguments": {"width": 12}}
    bundle = pack_toy_bundle(tmp_path / "bundle", recipe(networks=[wide], serving={"half_precision": True}), {})
    model = runtime.convert(answers.predictor_graph(bundle), half_precision=True)
    assert len(model) < 0.7 * 4 * read_card(bundle).networks[0].parameters
    agreement.answers_apart(partial(runtime.ask, model), agreement.answers(bundle, crops(5)), crops(5))


def test_rounded_weights_take_a_byte_each_in_onnx(tmp_path: Path) -> None:
    wide = {**network(), "arguments": {"width": 12}}
    settings = recipe(networks=[wide], serving={"half_precision": True, "rounding": 0.2})
    bundle = pack_toy_bundle(tmp_path / "bundle", settings, {})
    model = onnx_format.convert(answers.predictor_graph(bundle), half_precision=True)
    assert len(model) < 0.4 * 4 * read_card(bundle).networks[0].parameters
    agreement.answers_apart(partial(onnx_format.ask, model), agreement.answers(bundle, crops(5)), crops(5))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_networks_of_one_target_each_are_joined(tmp_path: Path, runtime: folder.Runtime) -> None:
    apart = [network("age"), network("race")]
    bundle = edit(pack_toy_bundle(tmp_path / "bundle", recipe(networks=apart, grey=True), {}), age_interval=None)
    assert compare(bundle, runtime) == {"age", "race_probabilities"}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_members_of_an_ensemble_answer_together(tmp_path: Path, runtime: folder.Runtime) -> None:
    bundle = pack_toy_bundle(tmp_path / "bundle", recipe(networks=[network("gender")], members=2), {})
    assert compare(bundle, runtime) == {"female_probability"}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("loss", ["ordinal", "mae"])
def test_ages_as_numbers_and_as_probabilities_of_being_older(
    tmp_path: Path, runtime: folder.Runtime, loss: str
) -> None:
    learned = {**network(), "targets": {"age": {"loss": loss}, "gender": {"loss": "crossentropy", "given": ["age"]}}}
    bundle = pack_toy_bundle(tmp_path / "bundle", recipe(networks=[learned], scaling="whitened"), {})
    deviation = 20.0 if loss == "ordinal" else None
    interval = {"coverage": 0.9, "half_width": 7.5, "typical_deviation": deviation}
    edit(bundle, age_interval=interval, temperatures={"age": 0.4})
    assert compare(bundle, runtime) == {"age", "age_low", "age_high", "female_probability"}


def test_a_random_forest_is_refused_in_one_line(tmp_path: Path) -> None:
    bundle = write_toy_bundle(tmp_path / "bundle")
    card = read_json(bundle / CARD)
    card["recipe"]["settings"]["networks"][0]["refit"]["age"] = {"learner": "forest"}
    result = run(edit(bundle, **card), tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr == "Error: the head of age is a random forest, which no other format can hold\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", [16, 17, 24, 40])
def test_resizing_by_matrices_is_tensorflow_s(size: int) -> None:
    weights = answers.resize_weights(SIDE, size)
    by_rows = np.einsum("or,nrcx->nocx", weights, crops(3).astype(np.float32))
    found = np.einsum("oc,nrcx->nrox", weights, by_rows)
    assert np.allclose(found, resized(tf.constant(crops(3)), size), atol=1e-3)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_mtcnn_s_networks_answer_for_pictures_of_any_size(runtime: folder.Runtime) -> None:
    for graph in detector_graphs():
        model = runtime.convert(graph, half_precision=False)
        for height, width in ((12, 12), (25, 40)) if graph.name == "pnet" else (graph.takes.shape[1:3],):
            inputs = np.random.default_rng(2).uniform(-1, 1, (2, height, width, 3)).astype(np.float32)
            found = runtime.ask(model, inputs)
            assert set(found) == set(graph.gives)
            for name, values in graph.function(inputs).items():
                assert np.allclose(found[name], values, rtol=0, atol=1e-4), (graph.name, name)


def test_the_folder_says_what_is_in_it(tmp_path: Path) -> None:
    bundle, output = write_toy_bundle(tmp_path / "bundle"), tmp_path / "out"
    result = run(bundle, output, "--check", "2")
    assert result.exit_code == 0, result.output
    about = read_json(output / folder.ABOUT)
    wanted = {f"{name}.{ending}" for name in ("predictor", "pnet", "rnet", "onet") for ending in folder.FORMATS}
    assert {file.name for file in output.iterdir()} == wanted | {CARD, folder.ABOUT}
    assert (output / CARD).read_bytes() == (bundle / CARD).read_bytes()
    assert about["files"].keys() == about["largest_differences"].keys() == wanted
    for name, entry in about["files"].items():
        assert entry["sha256"] == sha256_file(output / name)
        assert entry["bytes"] == (output / name).stat().st_size
    assert about["files"]["predictor.onnx"]["input"] == {
        "name": "crops",
        "type": "uint8",
        "shape": [None, SIDE, SIDE, 3],
    }
    model = onnx.load(output / "predictor.onnx")
    assert sorted(item.name for item in model.graph.output) == about["files"]["predictor.onnx"]["outputs"]
    assert [item.name for item in model.graph.input] == ["crops"]


@pytest.mark.parametrize(("own", "halves"), [({}, True), ({"serving": {}}, False)])
def test_weights_are_written_as_halves_where_every_network_has_them(
    tmp_path: Path, own: dict[str, Any], halves: bool
) -> None:
    wide = {**network("gender"), "arguments": {"width": 8}}
    networks = [wide, {**network("age"), "own": own}]
    bundle = pack_toy_bundle(tmp_path / "bundle", recipe(networks=networks, serving={"half_precision": True}), {})
    result = run(bundle, tmp_path / "out", "--format", "onnx", "--no-detector", "--check", "0")
    assert result.exit_code == 0, result.output
    parameters = sum(file.parameters for file in read_card(bundle).networks)
    assert ((tmp_path / "out/predictor.onnx").stat().st_size < 3 * parameters) == halves


def test_nothing_is_overwritten_by_accident(tmp_path: Path) -> None:
    bundle, output = write_toy_bundle(tmp_path / "bundle"), tmp_path / "out"
    output.mkdir()
    (output / "letter.txt").write_text("dear")
    for more, told in (((), "is there already"), (("--replace",), "is no older export")):
        result = run(bundle, output, *QUICK, *more)
        assert result.exit_code == 2
        assert told in result.stderr
    assert [file.name for file in output.iterdir()] == ["letter.txt"]
    assert run(bundle, tmp_path / "new", *QUICK).exit_code == 0
    assert run(bundle, tmp_path / "new", *QUICK, "--replace").exit_code == 0
    assert {file.name for file in (tmp_path / "new").iterdir()} == {"predictor.onnx", CARD, folder.ABOUT}


def test_an_older_export_is_replaced_behind_a_link_and_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, place = write_toy_bundle(tmp_path / "bundle"), tmp_path / "deep/out"
    (tmp_path / "link").symlink_to(place)
    place.mkdir(parents=True)
    for output, where in ((tmp_path / "link", tmp_path), (Path(), place)):
        monkeypatch.chdir(where)
        write_json(place / folder.ABOUT, {})
        (place / "old").touch()
        result = run(bundle, output, *QUICK, "--replace")
        assert result.exit_code == 0, result.output
        assert {file.name for file in place.iterdir()} == {"predictor.onnx", CARD, folder.ABOUT}
        monkeypatch.chdir(tmp_path)
    assert (tmp_path / "link").is_symlink()
    assert [file.name for file in place.parent.iterdir()] == ["out"]


def test_a_place_that_cannot_be_replaced_or_is_busy_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, output = write_toy_bundle(tmp_path / "bundle"), tmp_path / "out"
    monkeypatch.setattr(folder, "predictor_graph", None)  # calling it would be an error
    output.mkdir()
    write_json(output / folder.ABOUT, {})
    with atomic_directory(output) as partial:
        write_json(partial / folder.ABOUT, {})
        busy = run(bundle, output, *QUICK, "--replace")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_mount", lambda path: path == output)
        mounted = run(bundle, output, *QUICK, "--replace")
    with monkeypatch.context() as patch:
        patch.setattr("os.access", lambda path, _: path != tmp_path)
        locked = run(bundle, output, *QUICK, "--replace")
    refused = f"{output} cannot be replaced: it is mounted, or {tmp_path} cannot be written; name another folder"
    for result, told in (
        (busy, f"another process writes {output}; wait for it"),
        (mounted, refused),
        (locked, refused),
    ):
        assert result.exit_code == 2
        assert told in result.stderr
    assert [file.name for file in output.iterdir()] == [folder.ABOUT]


def test_a_graph_that_answers_otherwise_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = onnx_format.ask

    def wrong(model: bytes, inputs: np.ndarray) -> dict[str, np.ndarray]:
        return {name: values + (name == "age") * 1.0 for name, values in asked(model, inputs).items()}

    monkeypatch.setattr(onnx_format, "ask", wrong)
    bundle, output = write_toy_bundle(tmp_path / "bundle"), tmp_path / "out"
    result = run(bundle, output, "--format", "onnx", "--no-detector", "--check", "2")
    assert result.exit_code == 2
    assert "predictor.onnx does not answer as it should: age is off by up to 1" in result.stderr
    assert not output.exists()


def test_differences_that_are_no_numbers_and_answers_that_are_missing_are_told(tmp_path: Path) -> None:
    wanted = agreement.answers(write_toy_bundle(tmp_path / "bundle", "gender"), crops(2))
    with pytest.raises(ExportError, match="off by up to nan"):
        agreement.answers_apart(lambda inputs: {"female_probability": np.full(len(inputs), np.nan)}, wanted, crops(2))
    with pytest.raises(ExportError, match="gives age, not female_probability"):
        agreement.answers_apart(lambda inputs: {"age": np.zeros(len(inputs))}, wanted, crops(2))


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "PACKAGES", ("onnx", "no_such_package"))
    result = run(write_toy_bundle(tmp_path / "bundle"), tmp_path / "out")
    assert result.exit_code == 2
    assert "ONNX needs no_such_package, which is not installed: `pip install '.[export]'`" in result.stderr


def run(bundle: Path, output: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["export", str(bundle), str(output), *options])
