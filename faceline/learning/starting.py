"""Training that goes on from a bundle, on new data or with other heads: `start` of a recipe.

Each network starts from the weights of the bundle's network of the same architecture. A head that the bundle lacks, or
that has another shape there, starts anew; everything else must have the same shapes.
"""

from pathlib import Path

import keras

from faceline.datasets.labels import TARGETS
from faceline.errors import SettingsError
from faceline.learning.answering import load_network
from faceline.learning.card import Card, NetworkFile, read_card
from faceline.learning.recipe import Member, NetworkSettings, Recipe

Shapes = list[list[tuple[int, ...]]]  # of the weights of each layer


def start(model: keras.Model, member: Member, bundle: Path, recipe: Recipe) -> str:
    """Put a bundle's weights into the network that `member` of the recipe describes; say in a few words what was put.

    Raises:
        BundleError: the bundle cannot be read.
        SettingsError: it has no such network, or one of other shapes or for pixels scaled otherwise.
    """
    entry = member.settings
    file = _source(read_card(bundle), member, bundle)
    if file.input.scaling != recipe.scaling:
        raise SettingsError(f"start = {bundle}: its pixels are {file.input.scaling}, the recipe's {recipe.scaling}")
    source = load_network(bundle, file)
    mine, theirs = _trunk(model), _trunk(source)
    _require_same([_shapes(layer) for layer in mine], [_shapes(layer) for layer in theirs], bundle / file.file)
    for layer, known in zip(mine, theirs, strict=True):
        layer.set_weights(known.get_weights())
    heads = [name for name in entry.targets.names if name in file.targets and _put_head(model, source, name)]
    new = [name for name in entry.targets.names if name not in heads]
    return f"starts from {bundle / file.file}" + (f", {' and '.join(new)} anew" if new else "")


def _source(card: Card, member: Member, bundle: Path) -> NetworkFile:
    """The bundle's network of the same architecture; of several, that with equal arguments and the most like targets.

    Where the bundle has several of these, members that differ by their seeds alone take them in turn.
    """
    entry = member.settings
    found = [
        (_likeness(theirs, file, entry), file)
        for theirs, file in zip(
            card.recipe.settings.networks * card.recipe.settings.members, card.networks, strict=True
        )
        if theirs.network == entry.network
    ]
    if not found:
        has = ", ".join(sorted({theirs.network for theirs in card.recipe.settings.networks}))
        raise SettingsError(f"start = {bundle}: it has no network {entry.network}; it has {has}")
    best = max(likeness for likeness, _ in found)
    alike = [file for likeness, file in found if likeness == best]
    return alike[(member.number - 1) % len(alike)]


def _likeness(theirs: NetworkSettings, file: NetworkFile, mine: NetworkSettings) -> tuple[bool, int, int]:
    """The higher the better: are the arguments equal, how many targets are shared, and how few are not."""
    both, either = {*file.targets} & {*mine.targets.names}, {*file.targets} | {*mine.targets.names}
    return (theirs.arguments == mine.arguments, len(both), -len(either))


def _trunk(model: keras.Model) -> list[keras.Layer]:
    """The layers with weights, without the heads, in the order of the graph; their names differ each time."""
    return [layer for layer in model.layers if layer.weights and layer.name not in TARGETS]


def _shapes(layer: keras.Layer) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]


def _require_same(mine: Shapes, theirs: Shapes, file: Path) -> None:
    if len(mine) != len(theirs):
        raise SettingsError(f"start: {file} has {len(theirs)} layers with weights, the recipe's network {len(mine)}")
    for number, (wanted, found) in enumerate(zip(mine, theirs, strict=True), start=1):
        if wanted != found:
            told = f"the weights of layer {number} of {len(mine)} have shapes {found}, the recipe's {wanted}"
            raise SettingsError(f"start: {file}: {told}")


def _put_head(model: keras.Model, source: keras.Model, target: str) -> bool:
    """Whether the source's head of a target has the model's shapes, and was put."""
    head, known = model.get_layer(target), source.get_layer(target)
    if _shapes(head) != _shapes(known):
        return False
    head.set_weights(known.get_weights())
    return True
