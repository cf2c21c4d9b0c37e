"""Random networks by seed: what people build of Larq's, Keras's and this package's layers."""

from dataclasses import dataclass
from typing import Any

import larq as lq
import numpy as np
import own_layers as own
import tensorflow as tf
from random_blocks import Draw, block, chain, convolution, filters

__all__ = ["Network", "network"]

keras = tf.keras
layers = tf.keras.layers


@dataclass
class Network:
    """A network, what it is made of, and inputs for it in the order of Keras."""

    model: keras.Model
    structure: Any  # what it is called with: a tensor, or a list or dict of them
    inputs: list[np.ndarray]
    parts: list[str]
    small_maps: str

    def __call__(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """Its outputs, flat, computed eagerly."""
        given = tf.nest.pack_sequence_as(self.structure, [tf.constant(x) for x in inputs])
        return [np.asarray(y) for y in tf.nest.flatten(self.model(given, training=False))]


def network(seed: int, policy: str | None = None) -> Network:
    """The network of a seed; `policy` overrides its precision, for a twin in float32."""
    draw = Draw(np.random.default_rng(seed))
    keras.backend.clear_session()
    tf.keras.utils.set_random_seed(seed)
    chosen = "float32"
    if draw.chance(0.08):
        chosen = draw.pick("mixed_float16", "mixed_bfloat16")
        draw.parts.append(chosen)
    keras.mixed_precision.set_global_policy(policy or chosen)
    try:
        model, structure = _model(draw)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    _randomise(model, draw.rng)
    inputs = [_values(x, draw.rng) for x in tf.nest.flatten(structure)]
    return Network(model, structure, inputs, draw.parts, "warn" if draw.chance(0.25) else "rewrite")


def _values(tensor: Any, rng: np.random.Generator) -> np.ndarray:
    dtype = np.dtype(tensor.dtype.as_numpy_dtype)
    batch = tensor.shape[0] or 2
    # One size for all open axes, so that parallel branches fit.
    shape = (batch, *(9 if n is None else n for n in tensor.shape[1:]))
    if dtype.kind in "iu":
        return rng.integers(0, 120, shape).astype(dtype)
    return rng.normal(size=shape).astype(dtype)


def _randomise(model: keras.Model, rng: np.random.Generator) -> None:
    for weight in model.weights:
        if not weight.dtype.is_floating:
            continue
        shape = tuple(weight.shape)
        values = rng.normal(size=shape)
        if "variance" in weight.name:
            values = rng.uniform(0.5, 2.0, shape)
        elif len(shape) > 1 and getattr(weight, "precision", 32) == 32:
            values /= np.sqrt(max(1, np.prod(shape[:-1])))
        weight.assign(tf.cast(values, weight.dtype))


def _model(draw: Draw) -> tuple[keras.Model, Any]:
    kind = draw.pick(*["functional"] * 9, *["sequential"] * 3, "subclassed", "wrapper", "derived")
    draw.parts.append(kind)
    if kind == "sequential":
        model = _sequential(draw)
        return model, model.input
    if kind == "subclassed":
        model, structure = own.Subclassed(filters(draw)), keras.Input((7, 7, 8))
        model(structure if draw.chance(0.5) else np.zeros((1, 7, 7, 8), np.float32))
        return model, structure
    inputs, outputs = _graph(draw)
    if kind == "wrapper":
        model = own.Wrapper(keras.Model(inputs, outputs))
        model(inputs)
        return model, inputs
    return (own.Derived if kind == "derived" else keras.Model)(inputs, outputs), inputs


def _sequential(draw: Draw) -> keras.Model:
    model = keras.Sequential([keras.Input(_shape(draw), batch_size=draw.pick(None, None, None, 2))])
    for _ in range(draw.rng.integers(1, 5)):
        for layer in chain(draw, model.output):
            model.add(layer)
    if draw.chance(0.5):
        model.add(layers.GlobalAveragePooling2D())
        model.add(layers.Dense(draw.pick(1, 4), activation=draw.pick(None, "softmax", "sigmoid")))
    return model


def _shape(draw: Draw) -> tuple:
    if draw.chance(0.07):
        draw.parts.append("dynamic size")
        return None, None, draw.pick(3, 8)
    side = int(draw.pick(1, 2, 3, 4, 6, 7, 9))
    width = side if draw.chance(0.7) else int(draw.pick(2, 5, 8))
    return side, width, int(draw.pick(1, 3, 4, 8, 16, 32, 40, 64))


def _graph(draw: Draw) -> tuple[Any, Any]:
    shape = _shape(draw)
    count = int(draw.pick(1, 1, 1, 1, 2, 3))
    names = [str(name) for name in draw.rng.permutation(["b", "image", "a", "zebra"])[:count]]
    batch = draw.pick(None, None, None, None, None, None, 1, 3)
    dtype = draw.pick(*["float32"] * 9, "uint8", "int32", "float16")
    inputs = [
        keras.Input(shape, batch, name, dtype=dtype if i == 0 else None)
        for i, name in enumerate(names)
    ]
    draw.parts.append(f"{count} inputs {shape} {dtype} batch {batch}")
    xs: list[Any] = list(inputs)
    if dtype != "float32":
        xs[0] = layers.Rescaling(1 / 60, offset=-1.0)(xs[0])
    if draw.chance(0.07) and None not in shape:
        xs[0] = _over_time(draw, xs[0])
    for _ in range(draw.rng.integers(1, 6)):
        place = draw.rng.integers(len(xs))
        xs[place] = block(draw, xs[place])
    xs = _merged(draw, xs)
    outputs = [_head(draw, x) for x in xs]
    if len(outputs) == 1 and draw.chance(0.25):
        outputs.append(_head(draw, xs[0]))
        if draw.chance(0.3):
            outputs.append(_head(draw, xs[0]))
    draw.parts.append(f"{len(outputs)} outputs")
    made: Any = outputs[0] if len(outputs) == 1 else outputs
    if draw.chance(0.2):
        draw.parts.append("dict outputs")
        keys = draw.rng.permutation(["scores", "box", "mask", "aux"])[: len(outputs)]
        made = {str(key): y for key, y in zip(keys, outputs, strict=True)}
    if count > 1 and draw.chance(0.25):
        draw.parts.append("dict inputs")
        return dict(zip(names, inputs, strict=True)), made
    return inputs if count > 1 else inputs[0], made


def _merged(draw: Draw, xs: list[Any]) -> list[Any]:
    """Leaves several branches apart, or joins them."""
    if len(xs) == 1 or draw.chance(0.3):
        return xs
    if draw.chance(0.5) and len({tuple(x.shape) for x in xs}) == 1:
        return [
            draw.pick(layers.Add, layers.Concatenate, layers.Maximum, layers.Subtract)()(xs[:2])
        ]
    flat = [layers.GlobalAveragePooling2D()(x) for x in xs]
    return [layers.Concatenate()(flat)]


def _head(draw: Draw, x: Any) -> Any:
    if x.shape.rank == 2:
        return layers.Dense(draw.pick(1, 3, 5), activation=draw.pick(None, "softmax", "sigmoid"))(x)
    kind = draw.pick("classes", "classes", "binary classes", "map", "nothing", "quant dense")
    draw.parts.append(f"head: {kind}")
    if kind == "map":
        return layers.Conv2D(draw.pick(1, 3), 1, activation=draw.pick(None, "softmax"))(x)
    if kind == "nothing":
        return x
    if kind == "binary classes":
        x = lq.layers.QuantConv2D(4, 1, input_quantizer="ste_sign", kernel_quantizer="ste_sign")(x)
        return layers.GlobalAveragePooling2D()(x)
    x = layers.GlobalAveragePooling2D()(x)
    if kind == "quant dense":
        return lq.layers.QuantDense(3, input_quantizer="ste_sign", kernel_quantizer="ste_sign")(x)
    return layers.Dense(draw.pick(1, 2, 10), activation=draw.pick(None, "softmax", "sigmoid"))(x)


def _over_time(draw: Draw, x: Any) -> Any:
    height, width, channels = x.shape[1:]
    draw.parts.append("TimeDistributed:")
    inner = keras.Input((height, width, channels))
    steps = layers.Lambda(lambda x: tf.stack([x, -x, 2 * x], axis=1))(x)
    made: Any = convolution(draw, inner)
    if draw.chance(0.5):
        made = keras.Model(inner, layers.BatchNormalization()(made(inner)))
    return layers.Lambda(lambda x: tf.reduce_sum(x, axis=1))(layers.TimeDistributed(made)(steps))
