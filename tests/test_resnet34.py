"""ResNet-34 answers as PyTorch's does with the same weights, and takes no others than a ResNet-34's."""

from pathlib import Path

import keras
import numpy as np
import pytest

from faceline.errors import WeightsError
from faceline.learning import networks
from faceline.learning.networks._imagenet import DEVIATION, MEAN
from faceline.learning.normalization import fused
from faceline.learning.recipe import Recipe
from faceline.learning.training import build
from tests.torch_files import write_state
from tests.toys import recipe

SIDE = 48  # pixels: 24, 12, 6, 3, 2 after each halving, so that even and odd sides are padded
STAGES = ((64, 64, 3), (64, 128, 4), (128, 256, 6), (256, 512, 3))  # channels in and out, blocks
State = dict[str, np.ndarray]


def settings(weights: Path | None) -> Recipe:
    entry = {"network": "resnet34", "arguments": {"weights": weights}, "targets": {"age": {"loss": "mse"}}}
    return recipe(networks=[entry], input_size=SIDE)


def random_state() -> State:
    """Weights of a ResNet-34 under FairFace's names: of a network for several devices, with 18 outputs."""
    random, state = np.random.default_rng(1), {}

    def convolution(name: str, out: int, into: int, kernel: int) -> None:
        scale = np.sqrt(1 / (into * kernel**2))
        state[f"{name}.weight"] = (scale * random.normal(size=(out, into, kernel, kernel))).astype(np.float32)

    def normalization(name: str, channels: int) -> None:
        for part, low, high in (("weight", 0.5, 1), ("bias", -1, 1), ("running_mean", -1, 1), ("running_var", 0.5, 2)):
            state[f"{name}.{part}"] = random.uniform(low, high, channels).astype(np.float32)
        state[f"{name}.num_batches_tracked"] = np.array(9)

    convolution("conv1", 64, 3, 7)
    normalization("bn1", 64)
    for number, (into, out, blocks) in enumerate(STAGES, 1):
        for block in range(blocks):
            name = f"layer{number}.{block}"
            convolution(f"{name}.conv1", out, out if block else into, 3)
            normalization(f"{name}.bn1", out)
            convolution(f"{name}.conv2", out, out, 3)
            normalization(f"{name}.bn2", out)
            if not block and number > 1:
                convolution(f"{name}.downsample.0", out, into, 1)
                normalization(f"{name}.downsample.1", out)
    state["fc.weight"], state["fc.bias"] = np.zeros((18, 512), np.float32), np.zeros(18, np.float32)
    return {f"module.{name}": value for name, value in state.items()}


def windows(x: np.ndarray, kernel: int, stride: int, padding: int, value: float = 0) -> np.ndarray:
    """(batch, channels, rows, columns, kernel, kernel), padded on each side as PyTorch does."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=value)
    return np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (2, 3))[:, :, ::stride, ::stride]


def pooled_features(state: State, x: np.ndarray) -> np.ndarray:
    """torchvision's ResNet-34 in NumPy: pooled features (batch, 512) of pictures (batch, 3, side, side)."""

    def convolution(x: np.ndarray, name: str, stride: int = 1) -> np.ndarray:
        weight = state[f"module.{name}.weight"]
        kernel = weight.shape[-1]
        seen = windows(x, kernel, stride, kernel // 2)
        return np.tensordot(seen, weight, ([1, 4, 5], [1, 2, 3])).transpose(0, 3, 1, 2)

    def normalization(x: np.ndarray, name: str) -> np.ndarray:
        gamma, beta, mean, variance = (
            state[f"module.{name}.{part}"][:, None, None] for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta

    x = np.maximum(normalization(convolution(x, "conv1", 2), "bn1"), 0)
    x = windows(x, 3, 2, 1, -np.inf).max(axis=(4, 5))
    for number, (_, _, blocks) in enumerate(STAGES, 1):
        for block in range(blocks):
            name, stride, shortcut = f"layer{number}.{block}", 2 if number > 1 and not block else 1, x
            if stride > 1:
                shortcut = normalization(convolution(x, f"{name}.downsample.0", 2), f"{name}.downsample.1")
            x = np.maximum(normalization(convolution(x, f"{name}.conv1", stride), f"{name}.bn1"), 0)
            x = np.maximum(normalization(convolution(x, f"{name}.conv2"), f"{name}.bn2") + shortcut, 0)
    return x.mean(axis=(2, 3))


@pytest.fixture(scope="module")
def state() -> State:
    return random_state()


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return fused(build(settings(None).networks[0], settings(None)))  # as training has it


def initialize(model: keras.Model, path: Path) -> str | None:
    return networks.initialize("resnet34", model, settings(path).networks[0].parsed_arguments)


def test_it_is_torchvision_s_resnet_34(model: keras.Model) -> None:
    trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trained - 513 == 21_797_672 - 513_000  # as torchvision counts it, each less its last layer


def test_a_checkpoint_gives_the_numbers_that_it_gives_in_pytorch(
    model: keras.Model, state: State, tmp_path: Path
) -> None:
    path = write_state(tmp_path / "fairface.pt", state, older=True)
    assert initialize(model, path) == f"starts from the weights in {path}"
    pixels = np.random.default_rng(2).uniform(0, 1, (2, SIDE, SIDE, 3)).astype(np.float32)
    wanted = pooled_features(state, ((pixels - MEAN) / DEVIATION).transpose(0, 3, 1, 2))
    features = keras.Model(model.inputs, model.layers[-2].output)
    found = features.predict(pixels * 2 - 1, verbose=0)
    assert wanted.std() > 0.1
    assert np.allclose(found, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bn1.running_var": None}, "lacks bn1.running_var; expected a state dict of a ResNet-34 of torchvision"),
        ({"layer1.3.conv1.weight": np.zeros(1, np.float32)}, "has layer1.3.conv1.weight too; expected"),
        ({"bn1.bias": np.zeros(32, np.float32)}, "bn1.bias is (32,) or not finite; expected finite numbers, (64,)"),
        ({"bn1.bias": np.full(64, np.nan, np.float32)}, "bn1.bias is (64,) or not finite"),
    ],
)
def test_the_weights_of_another_network_are_refused(
    model: keras.Model, state: State, tmp_path: Path, changes: dict[str, np.ndarray | None], message: str
) -> None:
    new = {f"module.{name}": value for name, value in changes.items()}
    changed = {name: value for name, value in {**state, **new}.items() if value is not None}
    with pytest.raises(WeightsError) as caught:
        initialize(model, write_state(tmp_path / "x.pt", changed, older=False))
    assert message in caught.value.message
    assert str(tmp_path / "x.pt") in caught.value.message
