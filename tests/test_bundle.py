from pathlib import Path

import numpy as np
import pytest

from faceline.errors import BundleError, PictureError
from faceline.faces.cropping import crop_face
from faceline.faces.decoding import encode_png
from faceline.files import read_json, sha256_file, write_json
from faceline.learning.answering import answers_of
from faceline.learning.bundle import Predictor
from faceline.learning.card import AgeInterval, read_card
from tests.toy_bundle import FACES, Finds, write_toy_bundle
from tests.toys import SIDE, network, recipe

# Keras 3.15 converts variables the old way when it saves a network.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """An untrained bundle for all three targets."""
    return write_toy_bundle(tmp_path / "bundle")


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40, 60, 3)).astype(np.uint8)


def test_answers_have_their_shapes_and_bounds(bundle: Path) -> None:
    crops = np.random.default_rng(1).integers(0, 256, (5, SIDE, SIDE, 3)).astype(np.uint8)
    answers = Predictor(bundle).predict_crops(crops)
    assert answers.age is not None
    assert answers.age_low is not None
    assert answers.female_probability is not None
    assert answers.race_probabilities is not None
    assert answers.age.shape == answers.female_probability.shape == (5,)
    assert answers.age.dtype == np.float32
    assert np.allclose(answers.age_high, answers.age + 7.5)
    assert np.allclose(answers.age_low, np.maximum(answers.age - 7.5, 0))
    assert answers.race_probabilities.shape == (5, 5)
    assert np.allclose(answers.race_probabilities.sum(axis=1), 1)


def test_answers_to_a_picture_and_its_mirror_image_are_averaged(bundle: Path, tmp_path: Path) -> None:
    crops = np.random.default_rng(1).integers(0, 256, (5, SIDE, SIDE, 3)).astype(np.uint8)
    plain, mirrored = (Predictor(bundle).predict_crops(view) for view in (crops, crops[:, :, ::-1]))
    averaged = Predictor(write_toy_bundle(tmp_path / "averaged", flip_averaging=True)).predict_crops(crops)
    for name in ("age", "female_probability", "race_probabilities"):
        first, second, mean = (getattr(found, name) for found in (plain, mirrored, averaged))
        assert not np.allclose(first, second, atol=1e-5)
        assert np.allclose(mean, (first + second) / 2, atol=1e-4)


def test_temperatures_soften_and_keep_the_answer(bundle: Path, tmp_path: Path) -> None:
    crops = np.random.default_rng(1).integers(0, 256, (5, SIDE, SIDE, 3)).astype(np.uint8)
    plain = Predictor(bundle).predict_crops(crops)
    soft = Predictor(write_toy_bundle(tmp_path / "soft", temperatures={"gender": 2.0, "race": 4.0})).predict_crops(
        crops
    )
    assert plain.race_probabilities is not None and soft.race_probabilities is not None
    assert plain.female_probability is not None and soft.female_probability is not None
    logits, softer = (np.log(p / (1 - p)) for p in (plain.female_probability, soft.female_probability))
    assert np.allclose(softer, logits / 2, atol=1e-5)
    wanted = plain.race_probabilities**0.25
    assert np.allclose(soft.race_probabilities, wanted / wanted.sum(axis=1, keepdims=True), atol=1e-5)
    assert np.array_equal(plain.age, soft.age)  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", ["dldl", "ordinal"])
def test_a_temperature_of_age_works_on_its_distribution(loss: str) -> None:
    ages = recipe(networks=[{**network(), "targets": {"age": {"loss": loss}}}])
    two = np.zeros((1, 117), np.float32)
    two[0, [10, 40]] = 0.8, 0.2
    given = two if loss == "dldl" else 1 - two.cumsum(axis=1)[:, :-1]
    plain, sharp = (answers_of({"age": given}, ages, temperatures, None) for temperatures in ({}, {"age": 0.5}))
    assert np.allclose(plain.age, 10 + 30 * 0.2, atol=1e-3)  # type: ignore[arg-type]
    assert np.allclose(sharp.age, 10 + 30 * 0.04 / 0.68, atol=1e-3)  # type: ignore[arg-type]


def test_an_interval_is_wider_where_the_network_is_unsure() -> None:
    bins = np.arange(117)
    outputs = np.exp(-0.5 * ((bins - 50) / np.array([[2.0], [4.0], [8.0]])) ** 2)
    outputs /= outputs.sum(axis=1, keepdims=True)
    interval = AgeInterval(coverage=0.9, half_width=6, typical_deviation=4)
    found = answers_of({"age": outputs.astype(np.float32)}, recipe(), {}, interval)
    assert np.allclose(found.age_high - found.age, [3.6, 6, 10.8], atol=1e-3)  # type: ignore[operator]
    numbers = recipe(networks=[{**network(), "targets": {"age": {"loss": "mae"}}}])
    outputs, interval = np.array([[30.0], [3.0]], np.float32), AgeInterval(coverage=0.9, half_width=6)
    number = answers_of({"age": outputs}, numbers, {}, interval)
    assert number.age_low is not None and number.age_high is not None
    assert number.age_low.tolist() == [24, 0]
    assert number.age_high.tolist() == [36, 9]


def test_no_crops_give_no_answers(bundle: Path) -> None:
    answers = Predictor(bundle).predict_crops(np.zeros((0, SIDE, SIDE, 3), np.uint8))
    assert answers.age is not None
    assert answers.age.shape == (0,)


def test_an_absent_target_is_none(tmp_path: Path) -> None:
    predictor = Predictor(write_toy_bundle(tmp_path / "bundle", "gender"), Finds())
    answers = predictor.predict_crops(np.zeros((2, SIDE, SIDE, 3), np.uint8))
    assert answers.age is answers.age_low is answers.race_probabilities is None
    face = predictor.predict([encode_png(picture(1))])[0][0]
    assert face.age is None
    assert 0 <= (face.female_probability or -1) <= 1


def test_crops_of_another_shape_are_refused(bundle: Path) -> None:
    with pytest.raises(ValueError, match=r"not uint8 \(n, 24, 24, 3\)"):
        Predictor(bundle).predict_crops(np.zeros((1, 30, 30, 3), np.uint8))


def test_a_picture_goes_the_way_of_training(bundle: Path) -> None:
    predictor = Predictor(bundle, Finds())
    pictures = [picture(1), np.zeros((40, 60, 3), np.uint8), picture(2)]
    found = predictor.predict([encode_png(pixels) for pixels in pictures])
    assert [[answer.face for answer in answers] for answers in found] == [FACES[:2], [], FACES[:2]]
    for pixels, answers in zip(pictures, found, strict=True):
        for answer in answers:
            crop = crop_face(pixels, answer.face, predictor.card.crop)
            assert np.array_equal(answer.crop, crop)
            alone = predictor.predict_crops(crop[None])
            assert alone.age is not None
            assert alone.race_probabilities is not None
            assert answer.age == pytest.approx(float(alone.age[0]), abs=1e-3)
            assert answer.race_probabilities == pytest.approx(alone.race_probabilities[0].tolist(), abs=1e-4)


def test_pictures_are_decoded_within_the_bounds_of_the_card(bundle: Path) -> None:
    predictor = Predictor(bundle, Finds())
    with pytest.raises(PictureError) as caught:
        predictor.predict([encode_png(np.zeros((8, 40, 3), np.uint8))])
    assert caught.value.reason == "too_small"


def test_an_altered_network_is_refused(bundle: Path) -> None:
    file = bundle / read_card(bundle).networks[0].file
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(BundleError, match="not the file that the card names"):
        Predictor(bundle)


@pytest.mark.parametrize("keep", [0, 1000, -1000])
def test_a_damaged_network_is_one_line_even_if_its_checksum_is_right(bundle: Path, keep: int) -> None:
    card = read_json(bundle / "card.json")
    file = bundle / card["networks"][0]["file"]
    file.write_bytes(file.read_bytes()[:keep])
    card["networks"][0]["sha256"] = sha256_file(file)
    write_json(bundle / "card.json", card)
    with pytest.raises(BundleError) as caught:
        Predictor(bundle)
    assert "is damaged, no network of Keras" in caught.value.message
    assert len(caught.value.message.splitlines()) == 1


def test_a_missing_network_is_refused(bundle: Path) -> None:
    (bundle / read_card(bundle).networks[0].file).unlink()
    with pytest.raises(BundleError, match="is missing"):
        Predictor(bundle)


def test_a_network_outside_the_bundle_is_refused(bundle: Path, tmp_path: Path) -> None:
    card = read_json(bundle / "card.json")
    name = card["networks"][0]["file"]
    (bundle / name).rename(tmp_path / name)
    card["networks"][0]["file"] = f"../{name}"
    write_json(bundle / "card.json", card)
    with pytest.raises(BundleError, match="is missing"):
        Predictor(bundle)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "has format 2; this version reads format 3"),
        ({"networks": [{}]}, "networks.0.file"),
        ({"more": 1}, "more"),
    ],
)
def test_a_card_of_another_version_is_refused(bundle: Path, changes: dict[str, object], message: str) -> None:
    write_json(bundle / "card.json", {**read_json(bundle / "card.json"), **changes})
    with pytest.raises(BundleError) as caught:
        read_card(bundle)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arguments": {"width": 2, "x": 1}}, "card.json: networks.compact.arguments.x is not a setting"),
        ({"own": {"epochs": 0}}, "card.json: networks.compact.own.epochs = 0"),
    ],
)
def test_a_network_s_settings_of_another_version_are_told_of_the_card(
    bundle: Path, changes: dict[str, object], message: str
) -> None:
    card = read_json(bundle / "card.json")
    card["recipe"]["settings"]["networks"][0] |= changes
    write_json(bundle / "card.json", card)
    with pytest.raises(BundleError) as caught:
        read_card(bundle)
    assert message in caught.value.message
    assert "params.yaml" not in caught.value.message


def test_a_folder_without_a_card_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"card\.json is missing"):
        read_card(tmp_path)
