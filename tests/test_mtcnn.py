"""Our MTCNN beside the package's: the same numbers into its networks, out of them, and the same decisions."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from benchmarks.pictures import photos
from faceline.console import load_tensorflow
from faceline.datasets.labels import Gender, Race
from faceline.datasets.sample.picture import Shot, Sitter, take
from faceline.faces.decoding import PIXELS_LIMIT, decode
from faceline.faces.mtcnn.boxes import by_score, squared, suppressed
from faceline.faces.mtcnn.resampling import cut, shrink, turned

load_tensorflow()

from mtcnn import MTCNN  # noqa: E402 - TensorFlow's banner is kept out by the line above
from mtcnn.utils.bboxes import resize_to_square, smart_nms_from_bboxes  # noqa: E402
from mtcnn.utils.images import build_scale_pyramid, extract_patches, normalize_images, scale_images  # noqa: E402

from faceline.faces.mtcnn import cascade  # noqa: E402
from faceline.faces.mtcnn.cascade import CPU, Batches, Cascade  # noqa: E402
from faceline.faces.mtcnn.networks import Networks  # noqa: E402

THRESHOLDS = (0.6, 0.7, 0.8)


@pytest.fixture(scope="module")
def package() -> MTCNN:
    return MTCNN()


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks()


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Chips and photos of several sizes, with none to four faces, some of equal size; noise and a blank one."""
    people = [Sitter((number,), 12 + 11 * number, Gender(number % 2), Race(number % 5)) for number in range(6)]
    sides = [128, 128, 200, 90, 33, 24]
    shots = [Shot((number,), side, (people[number],)) for number, side in enumerate(sides)]
    noise = np.random.default_rng(5).integers(0, 256, (61, 85, 3), dtype=np.uint8)
    return [
        *(np.asarray(take(shot)) for shot in [*shots, Shot((9,), 128, tuple(people[:2]))]),
        *(decode(data, max_pixels=PIXELS_LIMIT) for data in photos(4, seed=77, shortest=150, longest=420)),
        noise,
        np.full((50, 40, 3), 128, np.uint8),
    ]


def noisy(height: int, width: int) -> np.ndarray:
    return np.random.default_rng((height, width)).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(24, 24), (25, 301), (200, 200), (143, 97), (360, 241)])
def test_levels_are_the_packages_to_the_bit(size: tuple[int, int]) -> None:
    picture = noisy(*size)
    for scale in build_scale_pyramid(size[1], size[0], 20, 0.709):
        theirs = scale_images(normalize_images(picture)[None], scale)[0].numpy()
        ours = np.empty_like(theirs)
        shrink(turned(picture), ours)
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("side", [24, 48])
def test_patches_are_the_packages_to_the_bit(side: int) -> None:
    picture, rng = noisy(71, 103), np.random.default_rng(1)
    corners = rng.uniform(-40, 110, (60, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.5, 120, (60, 1))], axis=1)
    boxes[:2] = [[0, 0, 103, 71], [102, 70, 102, 70]]
    ours = np.empty((len(boxes), side, side, 3), np.float32)
    cut(picture, boxes, ours)
    with_owner = np.insert(boxes, 0, 0, axis=1)
    assert np.array_equal(ours, extract_patches(normalize_images(picture)[None], with_owner, (side, side)).numpy())


@pytest.mark.parametrize("method", ["union", "min"])
def test_suppression_and_order_are_the_packages_even_where_scores_are_equal(method: str) -> None:
    rng = np.random.default_rng(2)
    for count in (1, 2, 17, 90, 300):
        corners = rng.uniform(0, 60, (count, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(0, 30, (count, 2))], axis=1)
        boxes[::9, 2:] = boxes[::9, :2]  # without area: a division of nothing by nothing
        scores = rng.choice([0.7, 0.8, 0.9, 1.0], (count, 1))
        theirs = np.concatenate([np.zeros((count, 1)), boxes, scores], axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            theirs = smart_nms_from_bboxes(theirs, 0.5, method=method, initial_sort=True)
        ours = suppressed(by_score(np.concatenate([boxes, scores], axis=1)), 0.5, of_smaller=method == "min")
        assert np.array_equal(ours, theirs[:, 1:])
        assert np.array_equal(squared(ours), resize_to_square(theirs)[:, 1:])


def test_pnet_answers_as_the_packages_to_the_bit_alone_and_in_company(package: MTCNN, networks: Networks) -> None:
    levels = [normalize_images(noisy(61, 48)).astype(np.float32) for _ in range(5)]
    offsets, logits = networks.propose(np.stack(levels))
    scores = networks.scores(logits.reshape(-1, 2)).reshape(logits.shape[:3])
    for index, level in enumerate(levels):
        theirs = package.get_stage(stage_id=1).model(level[None])
        assert np.array_equal(offsets[index], theirs[0][0])
        assert np.array_equal(scores[index], theirs[1][0, ..., 1])


@pytest.mark.parametrize(("stage", "side"), [(2, 24), (3, 48)])
def test_rnet_and_onet_answer_as_the_packages_to_the_bit_from_two_patches(
    stage: int, side: int, package: MTCNN, networks: Networks
) -> None:
    patches = np.random.default_rng(3).uniform(-1, 1, (70, side, side, 3)).astype(np.float32)
    ask = networks.refine if stage == 2 else networks.output
    whole = ask(patches)
    for count in (2, 3, 8, 33, 70):
        offsets, *landmarks, scores = package.get_stage(stage_id=stage).model(patches[:count])
        theirs = [offsets, scores[:, 1], *landmarks]
        assert all(np.array_equal(mine, their) for mine, their in zip(ask(patches[:count]), theirs, strict=True))
        assert all(np.array_equal(mine[:count], their) for mine, their in zip(whole, theirs, strict=True))


def smallest_level(picture: np.ndarray, min_face_size: int) -> int:
    height, width, _ = picture.shape
    return int(min(height, width) * build_scale_pyramid(width, height, min_face_size, 0.709)[-1])


def boxes_of(answers: Sequence[dict[str, list[int]]]) -> list[list[int]]:
    return [list(map(int, answer["box"])) for answer in answers]


def rounded(found: np.ndarray) -> list[list[int]]:
    sides = np.column_stack([found[:, :2], found[:, 2:4] - found[:, :2]])
    return sides.round().astype(int).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("min_face_size", [20, 24])
def test_decisions_are_those_of_single_calls(min_face_size: int, package: MTCNN, pictures: list[np.ndarray]) -> None:
    # Of a level of 10 pixels and less the package's P-Net raises, and it says that there is no face.
    searched = [picture for picture in pictures if smallest_level(picture, min_face_size) > 10]
    found = Cascade(THRESHOLDS, min_face_size).detect(searched)
    assert sum(map(len, found)) >= 8
    for picture, faces in zip(searched, found, strict=True):
        answers = package.detect_faces(picture, min_face_size=min_face_size)
        assert rounded(faces) == boxes_of(answers)
        assert faces[:, 4].astype(np.float32).tolist() == pytest.approx(
            [float(answer["confidence"]) for answer in answers], abs=1e-6
        )
        order = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
        for face, answer in zip(faces, answers, strict=True):
            theirs = np.asarray([answer["keypoints"][name] for name in order])
            assert np.abs(face[5:].reshape(2, 5).T - theirs).max() <= 1


def test_where_no_network_saw_a_single_box_the_numbers_are_equal_to_the_bit(
    package: MTCNN, pictures: list[np.ndarray]
) -> None:
    found = Cascade(THRESHOLDS, 20).detect(pictures)
    theirs = [package.detect_faces(each, output_type="numpy", box_format="xyxy")[:, 1:] for each in pictures]
    assert sum(len(faces) > 1 and np.array_equal(faces, them) for faces, them in zip(found, theirs, strict=True)) >= 2


@pytest.mark.parametrize(
    "arrange",
    [
        lambda pictures: [[picture] for picture in pictures],
        lambda pictures: [pictures[::-1]],
        lambda pictures: [pictures[:5], pictures[5:]],
        lambda pictures: [[picture] * 40 for picture in pictures[:4]],
    ],
    ids=["alone", "turned round", "in two chunks", "with forty equals"],
)
def test_the_company_of_a_picture_changes_no_bit_of_its_answer(
    arrange: Callable[[list[np.ndarray]], list[list[np.ndarray]]], pictures: list[np.ndarray]
) -> None:
    detector = Cascade(THRESHOLDS, 20)
    alone = {id(picture): faces for picture, faces in zip(pictures, detector.detect(pictures), strict=True)}
    for chunk in arrange(pictures):
        for picture, faces in zip(chunk, detector.detect(chunk), strict=True):
            assert np.array_equal(faces, alone[id(picture)])


def test_other_batches_change_no_bit(pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Cascade(THRESHOLDS, 20, CPU).detect(pictures)
    monkeypatch.setattr(cascade.sheets, "SIDE", 128)  # large levels are cut into pieces
    monkeypatch.setattr(cascade.sheets, "STACK", 2)
    other = Cascade(THRESHOLDS, 20, Batches(pixels=30_000, sheets=3, refine=7, output=3)).detect(pictures)
    assert all(np.array_equal(one, two) for one, two in zip(usual, other, strict=True))


def test_a_level_too_small_for_pnet_does_not_cost_the_faces_of_the_others(
    package: MTCNN, pictures: list[np.ndarray]
) -> None:
    photo = next(picture for picture in pictures if smallest_level(picture, 24) <= 10 < min(picture.shape[:2]) / 4)
    assert package.detect_faces(photo, min_face_size=24) == []
    assert len(Cascade(THRESHOLDS, 24).detect([photo])[0]) >= 1


def test_none_at_all() -> None:
    assert Cascade(THRESHOLDS, 20).detect([]) == []
