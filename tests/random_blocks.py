"""Random blocks of random networks: every block takes a tensor and gives one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import larq as lq
import numpy as np
import own_layers as own
import tensorflow as tf

from siman_larq import SampleSign, SiMaNConv2D, SiMaNQuantizer

__all__ = ["Draw", "block", "chain", "convolution", "filters"]

keras = tf.keras
layers = tf.keras.layers

INPUT_QUANTIZERS: list[Callable[[], Any]] = [
    lambda: "ste_sign",
    lambda: "approx_sign",
    lambda: "swish_sign",
    lambda: "sample_sign",
    lambda: SampleSign(zero=1),
    lambda: own.sign_function,
    lambda: own.OwnSign(),
]
RARE_INPUT_QUANTIZERS: list[Callable[[], Any]] = [
    lambda: None,
    lambda: "ste_tern",
    lambda: "ste_heaviside",
    lambda: lq.quantizers.DoReFa(2, "activations"),
]
KERNEL_QUANTIZERS: list[Callable[[], Any]] = [
    lambda: "ste_sign",
    lambda: "approx_sign",
    lambda: "magnitude_aware_sign",
    lambda: "ste_heaviside",
    lambda: "siman",
    lambda: SiMaNQuantizer(levels=(-1, 1)),
    lambda: SiMaNQuantizer(levels=(-1, 1), threshold="angle"),
    lambda: SiMaNQuantizer(levels=(0, 1), threshold=0.3),
]
RARE_KERNEL_QUANTIZERS: list[Callable[[], Any]] = [
    lambda: None,
    lambda: "ste_tern",
    lambda: lq.quantizers.DoReFa(1, "weights"),
    lambda: lq.quantizers.DoReFa(4, "weights"),
    lambda: lq.quantizers.DoReFa(8, "weights"),
    lambda: own.four_bits,
    lambda: own.OwnSign(),
]
ACTIVATIONS: list[Any] = ["relu", "tanh", "sigmoid", lambda x: 0.5 * x, tf.nn.relu6, "elu"]


@dataclass
class Draw:
    rng: np.random.Generator
    parts: list[str] = field(default_factory=list)

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def pick(self, *options: Any) -> Any:
        return options[self.rng.integers(len(options))]

    def quantizer(self, usual: list, rare: list) -> Any:
        """A fresh one, since layers that share one are a case of their own."""
        return self.pick(*(rare if self.chance(0.15) else usual))()


def block(draw: Draw, x: Any) -> Any:
    makers: list[tuple[float, Callable[[Draw, Any], Any]]] = [
        (6, lambda draw, x: convolution(draw, x)(x)),
        (3, _normalised),
        (2, _residual),
        (1, _pooled),
        (1, _between),
        (1, _nested),
        (1, _shared),
        (1, _inside_own_layer),
        (1, _augmented),
        (0.5, _attention),
    ]
    weights = np.array([weight for weight, _ in makers])
    _, make = makers[draw.rng.choice(len(makers), p=weights / weights.sum())]
    return make(draw, x)


def filters(draw: Draw) -> int:
    return int(draw.pick(1, 4, 8, 8, 12, 32, 36))


def convolution(draw: Draw, x: Any) -> layers.Layer:
    kind = draw.pick(*["QuantConv2D"] * 7, *["SiMaNConv2D"] * 5, *["own"] * 2, "float", "other")
    if kind == "other":
        return _other_binary_layer(draw)
    if kind == "float":
        return layers.Conv2D(filters(draw), 3, padding="same", activation=draw.pick(None, "relu"))
    options = _options(draw, x)
    if kind == "QuantConv2D" or (kind == "own" and draw.chance(0.5)):
        options["input_quantizer"] = draw.quantizer(INPUT_QUANTIZERS, RARE_INPUT_QUANTIZERS)
        options["kernel_quantizer"] = draw.quantizer(KERNEL_QUANTIZERS, RARE_KERNEL_QUANTIZERS)
        made: Any = lq.layers.QuantConv2D
        subclasses = own.QUANT_SUBCLASSES
    else:
        if draw.chance(0.5):
            options["kernel_quantizer"] = SiMaNQuantizer(levels=draw.pick((0, 1), (-1, 1)))
        if draw.chance(0.2):
            options["input_quantizer"] = draw.quantizer(INPUT_QUANTIZERS, RARE_INPUT_QUANTIZERS)
        made, subclasses = SiMaNConv2D, own.SIMAN_SUBCLASSES
    if kind == "own":
        made = draw.pick(*subclasses)
    shown = {name: own.shown(value) for name, value in options.items()}
    draw.parts.append(f"{made.__name__}{shown} on {tuple(x.shape[1:])}")
    return made(filters(draw) * options.get("groups", 1), **options)


def _options(draw: Draw, x: Any) -> dict[str, Any]:
    height, width, channels = (n or 9 for n in x.shape[1:])
    options: dict[str, Any] = {"kernel_size": draw.pick(1, 2, 3, 3, 3, 5, (2, 3))}
    options["padding"] = draw.pick("same", "same", "valid")
    if draw.chance(0.3):
        options["strides"] = draw.pick(2, 2, (2, 2), (1, 2))
    elif draw.chance(0.2):
        options["dilation_rate"] = draw.pick(2, 2, (1, 2))
    extent = np.broadcast_to(options["kernel_size"], 2) - 1
    extent = extent * np.broadcast_to(options.get("dilation_rate", 1), 2) + 1
    if extent[0] > height or extent[1] > width:
        options["padding"] = "same"
    if None in x.shape[1:]:
        # Branches of open sizes have to fit.
        options = {"kernel_size": options["kernel_size"], "padding": "same"}
    if options["padding"] == "same" and draw.chance(0.4):
        options["pad_values"] = 1.0
    if draw.chance(0.3):
        options["use_bias"] = True
    if draw.chance(0.25):
        options["activation"] = draw.pick(*ACTIVATIONS)
    if draw.chance(0.08) and channels % 2 == 0:
        options["groups"] = 2
    return options


def _other_binary_layer(draw: Draw) -> layers.Layer:
    signs = {"input_quantizer": "ste_sign"}
    kernel = draw.pick("ste_sign", lq.quantizers.DoReFa(4, "weights"), "siman")
    kind = draw.pick("depthwise", "separable", "transpose", "dense", "channels_first")
    draw.parts.append(f"{kind} {own.shown(kernel)}")
    if kind == "depthwise":
        return lq.layers.QuantDepthwiseConv2D(
            3, padding="same", depthwise_quantizer=kernel, **signs
        )
    if kind == "separable":
        return lq.layers.QuantSeparableConv2D(
            4, 3, padding="same", depthwise_quantizer=kernel, pointwise_quantizer=kernel, **signs
        )
    if kind == "transpose":
        return lq.layers.QuantConv2DTranspose(4, 3, kernel_quantizer=kernel, **signs)
    if kind == "dense":
        return lq.layers.QuantDense(5, kernel_quantizer=kernel, **signs)
    return keras.Sequential(
        [
            layers.Permute((3, 1, 2)),
            lq.layers.QuantConv2D(
                6,
                3,
                padding="same",
                data_format="channels_first",
                kernel_quantizer=draw.pick("ste_sign", "siman", SiMaNQuantizer(levels=(-1, 1))),
                **signs,
            ),
            layers.Permute((2, 3, 1)),
        ]
    )


def _normalised(draw: Draw, x: Any) -> Any:
    x = convolution(draw, x)(x)
    draw.parts.append("batch norm")
    x = layers.BatchNormalization(center=draw.chance(0.9), scale=draw.chance(0.9))(x)
    if draw.chance(0.3):
        x = layers.PReLU(shared_axes=[1, 2])(x)
    elif draw.chance(0.3):
        x = draw.pick(layers.ReLU, lambda: layers.ReLU(1.0), layers.LeakyReLU)()(x)
    return x


def _residual(draw: Draw, x: Any) -> Any:
    y = _normalised(draw, x)
    if tuple(x.shape) != tuple(y.shape):
        if x.shape[1:3] != y.shape[1:3]:
            return y
        x = layers.Conv2D(y.shape[-1], 1)(x)
    join = draw.pick(layers.Add, layers.Concatenate, layers.Multiply, layers.Average)
    draw.parts.append(f"residual {join.__name__}")
    return join()([x, y])


def _pooled(draw: Draw, x: Any) -> Any:
    pool = draw.pick(layers.MaxPooling2D, layers.AveragePooling2D)
    draw.parts.append(pool.__name__)
    return pool(2, strides=draw.pick(1, 2), padding="same")(x)


def _between(draw: Draw, x: Any) -> Any:
    """A function, a constant or a weight behind a binary convolution."""
    kind = draw.pick(
        "add", "multiply", "scalar", "normalization", "lambda", "bias", "scale", "dropout"
    )
    draw.parts.append(f"between: {kind}")
    x = convolution(draw, x)(x)
    if x.shape[-1] is None:
        return x
    constant = draw.rng.normal(size=(1, 1, 1, x.shape[-1])).astype(np.float32)
    if kind == "add":
        return x + tf.cast(constant, x.dtype)
    if kind == "multiply":
        return x * tf.cast(constant, x.dtype)
    if kind == "scalar":
        return x + tf.cast(constant[..., :1], x.dtype)
    if kind == "normalization":
        return layers.Normalization(mean=constant.ravel(), variance=constant.ravel() ** 2 + 0.5)(x)
    if kind == "lambda":
        return layers.Lambda(draw.pick(tf.abs, lambda x: 2 * x - 1, own.flipped))(x)
    if kind == "dropout":
        return layers.GaussianNoise(0.3)(layers.Dropout(0.5)(x))
    return own.Affine(is_scale=kind == "scale")(x)


def _nested(draw: Draw, x: Any) -> Any:
    inner = keras.Input(x.shape[1:], batch_size=x.shape[0])
    if draw.chance(0.4):
        draw.parts.append("nested Sequential:")
        return keras.Sequential(chain(draw, x))(x)
    draw.parts.append("nested functional:")
    made = keras.Model(inner, block(draw, inner))
    x = made(x)
    if draw.chance(0.3) and tuple(made.input_shape) == tuple(made.output_shape):
        draw.parts.append("used twice")
        x = made(x)
    draw.parts.append("nested ends")
    return x


def _shared(draw: Draw, x: Any) -> Any:
    layer = convolution(draw, x)
    draw.parts.append("shared layer")
    x1 = layer(x)
    x2 = layer(draw.pick(lambda x: -x, layers.ReLU(), lambda x: x)(x))
    return layers.Add()([x1, x2])


def _inside_own_layer(draw: Draw, x: Any) -> Any:
    made = draw.pick(own.Residual, own.UnregisteredResidual)
    draw.parts.append(f"{made.__name__} on {tuple(x.shape[1:])}")
    return made(levels=draw.pick((-1, 1), (0, 1)))(x)


def _augmented(draw: Draw, x: Any) -> Any:
    if None in x.shape[1:]:
        return x
    make = draw.pick(
        lambda: layers.RandomFlip("horizontal"),
        lambda: layers.RandomRotation(0.1),
        lambda: layers.RandomZoom(0.1),
        lambda: layers.RandomContrast(0.1),
        lambda: layers.ZeroPadding2D(1),
        lambda: layers.UpSampling2D(2),
        lambda: layers.Resizing(6, 6),
        lambda: layers.Cropping2D(((0, 0), (0, 0))),
    )
    layer = make()
    draw.parts.append(type(layer).__name__)
    return layer(x)


def _attention(draw: Draw, x: Any) -> Any:
    draw.parts.append("attention")
    y = layers.GlobalAveragePooling2D(keepdims=True)(x)
    return x * layers.Dense(x.shape[-1], activation="sigmoid")(y)


def chain(draw: Draw, x: Any) -> list[layers.Layer]:
    return [convolution(draw, x), *([layers.BatchNormalization()] if draw.chance(0.6) else [])]
