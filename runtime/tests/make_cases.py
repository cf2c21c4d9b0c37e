"""Writes models, inputs and the outputs of Larq Compute Engine 0.16.0 for `replay.py`.

Usage: make_cases.py FILE [single ops] [networks]; needs larq-compute-engine and TensorFlow.
The oracle is LCE's indirect kernel: the only one that runs all options.
"""

import contextlib
import io
import os
import sys
import tempfile
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import siman_larq  # noqa: F401  (before Larq, which needs the Keras 2 that this sets up)

# isort: split
import larq as lq
import larq_compute_engine as lce
import numpy as np
import tensorflow as tf
from larq_compute_engine.tflite.python.interpreter import Interpreter
from tflite_models import random_convolution, random_pool


def converted(model: tf.keras.Model, **options: Any) -> bytes:
    """LCE's file of a model, without what `lce.convert_keras_model` saves for a later training."""
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(io.StringIO()):
            model.export(folder)
        return lce.convert_saved_model(folder, **options)


def lce_outputs(model: bytes, x: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model, use_indirect_bgemm=True).interpreter
    batch = interpreter.input_shapes[0][0]
    steps = [interpreter.predict([x[i : i + batch]])[0] for i in range(0, len(x), batch)]
    return np.concatenate(steps)


class Networks:
    """Random binary networks whose outputs binary ops and float additions alone decide."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.is_int8 = bool(self.rng.integers(3) == 0)

    def pick(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def convolution(self, x: tf.Tensor) -> tf.Tensor:
        channels = x.shape[-1]
        groups = self.pick(1, 1, 2) if channels % 64 == 0 else 1
        stride = self.pick(1, 1, 2)
        dilation = 1 if stride > 1 else self.pick(1, 1, 2)
        kernel = (self.pick(1, 2, 3, 5), self.pick(1, 3, 4))
        # Maps smaller than the kernel: LCE is wrong there, and other tests hold it against Keras.
        reach = max((k - 1) * dilation + 1 for k in kernel)
        fits = min(x.shape[1:3]) > reach
        padding = self.pick("same", "valid") if fits else "same"
        layer = lq.layers.QuantConv2D(
            groups * self.pick(16, 24, 32, 64),
            kernel if fits else 1,
            strides=stride,
            dilation_rate=dilation,
            padding=padding,
            pad_values=self.pick(0.0, 1.0),
            groups=groups,
            input_quantizer="ste_sign",
            kernel_quantizer="ste_sign",
            activation=self.pick(None, None, "relu", "relu6"),
            use_bias=self.pick(True, False),
        )
        return layer(x)

    def block(self, x: tf.Tensor) -> tf.Tensor:
        y = self.convolution(x)
        # XNNPACK's int8 products and sums may differ from LCE's by one step.
        if not self.is_int8 and self.pick(True, True, False):
            y = tf.keras.layers.BatchNormalization()(y)
        if not self.is_int8 and y.shape[1:] == x.shape[1:] and self.pick(True, False):
            y = tf.keras.layers.Add()([x, y])
        if min(y.shape[1:3]) >= 4 and self.pick(True, False, False):
            y = tf.keras.layers.MaxPool2D(
                self.pick(2, 3), self.pick(1, 2), padding=self.pick("same", "valid")
            )(y)
        return y

    def network(self) -> tuple[bytes, np.ndarray]:
        size = (int(self.rng.integers(8, 25)), int(self.rng.integers(8, 25)))
        channels = self.pick(3, 32, 40, 64, 96, 128)
        inputs = tf.keras.Input((*size, channels), batch_size=self.pick(1, 1, 1, 3))
        x = inputs
        for _ in range(int(self.rng.integers(1, 5))):
            x = self.block(x)
        model = tf.keras.Model(inputs, x)
        weights = [
            self.rng.uniform(0.2, 1.5, w.shape)
            if "gamma" in w.name or "variance" in w.name
            else self.rng.normal(0, 1, w.shape)
            for w in model.weights
        ]
        model.set_weights(weights)
        options = {}
        if self.is_int8:
            options = {
                "inference_input_type": tf.int8,
                "inference_output_type": tf.int8,
                "experimental_default_int8_range": (-6.0, 6.0),
            }
        content = converted(model, **options)
        shape = (2 * inputs.shape[0], *size, channels)
        sample = self.rng.normal(0, 1, shape).astype(np.float32)
        if self.is_int8:
            sample = self.rng.integers(-128, 128, shape).astype(np.int8)
        return content, sample


def main() -> None:
    path, *counts = sys.argv[1:]
    singles, networks = [*map(int, counts), 500, 60][:2] if counts else (500, 60)
    cases = []
    rng = np.random.default_rng(2023)
    for _ in range(singles):
        op = random_pool(rng) if rng.random() < 0.15 else random_convolution(rng)
        cases.append((op.model(), op.sample()))
    cases += [Networks(seed).network() for seed in range(networks)]
    arrays = {}
    for index, (model, x) in enumerate(cases):
        kind = "single" if index < singles else "network"
        arrays[f"{kind}{index}/model"] = np.frombuffer(model, np.uint8)
        arrays[f"{kind}{index}/input"] = x
        arrays[f"{kind}{index}/output"] = lce_outputs(model, x)
    np.savez_compressed(path, **arrays)
    print(f"{singles} single ops and {networks} networks written to {path}")


if __name__ == "__main__":
    main()
