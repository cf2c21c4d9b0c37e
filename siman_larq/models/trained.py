"""Networks with the weights that come with the package."""

import hashlib
from typing import Any

import tensorflow as tf

from siman_larq.bits import load_binary
from siman_larq.models.variants import SETTINGS, variant
from siman_larq.published import Published, published

__all__ = ["build", "tflite", "trained", "untrained"]


def trained(
    network: str, weights: str, input_shape: tuple[int, int, int], num_classes: int, **parts: Any
) -> tf.keras.Model:
    """A network with weights that come with the package, built as it was trained.

    # Arguments
        network: The name of the function that is called.
        weights: Which weights.
        input_shape: What it was given.
        num_classes: What it was given.
        parts: What else it was given, other than by default.

    # Raises
        ValueError: for unknown weights, another shape or number of classes, or parts of one's own.
    """
    known = {record.weights: record for record in published().values() if record.network == network}
    where = f"models.{network}: weights={weights!r}"
    if weights not in known:
        names = ", ".join(repr(name) for name in known)
        have = f"there are {names}, and None" if known else "there are none for it; leave them out"
        raise ValueError(f"{where} are unknown; {have}.")
    record = known[weights]
    given, needed = (
        (tuple(shape), classes)
        for shape, classes in (
            (input_shape, num_classes),
            (record.input_shape, record.num_classes),
        )
    )
    if given != needed:
        raise ValueError(
            f"{where} are for input_shape={needed[0]} and num_classes={needed[1]}, not {given[0]} "
            f"and {given[1]}; leave these out."
        )
    if parts:
        raise ValueError(
            f"{where} come with the layers that they were trained in; leave out "
            f"{' and '.join(parts)}."
        )
    return build(record)


def build(record: Published) -> tf.keras.Model:
    """The trained network that a record tells of.

    # Raises
        ValueError: when its file is not the one that was published.
    """
    if hashlib.sha256(record.path.read_bytes()).hexdigest() != record.sha256:
        raise ValueError(
            f"{record.path} is not the file that came with siman-larq (its SHA-256 is another): "
            "install siman-larq again."
        )
    model = untrained(record)
    load_binary(model, record.path)
    return model


def untrained(record: Published) -> tf.keras.Model:
    """The network that a record tells of, with random weights."""
    settings = {name: record.recipe[name] for name in SETTINGS}
    settings["levels"] = tuple(settings["levels"])
    return variant(record.network, record.input_shape, record.num_classes, **settings)


def tflite(record: Published) -> bytes:
    """The 1-bit file of a trained network, which says itself how pictures are prepared.

    # Raises
        ImportError: if Larq Compute Engine is not installed.
    """
    from siman_larq.conversion import add_input_settings, convert

    content = convert(build(record), small_maps="rewrite")
    return add_input_settings(content, record.input_settings)
