"""What of a model's weights can be in its file."""

import numpy as np
import pytest
import tensorflow as tf

from siman_larq import SiMaNConv2D, convert
from siman_larq.conversion import operators
from siman_larq.conversion.flatbuffer import constant_bytes
from siman_larq.conversion.size import float32_bytes, theoretical_bytes

layers = tf.keras.layers


def randomised(model):
    rng = np.random.default_rng(0)
    for layer in model.layers:
        drawn = [rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()]
        if not isinstance(layer, layers.RandomFlip):
            layer.set_weights(drawn)
    return model


@pytest.fixture(scope="module")
def model():
    return randomised(
        tf.keras.Sequential(
            [
                layers.Input((8, 8, 3)),
                layers.Conv2D(33, 3, use_bias=True, name="stem"),
                layers.BatchNormalization(name="into_stem"),
                layers.ReLU(),
                SiMaNConv2D(40, 3, name="binary"),
                layers.BatchNormalization(name="into_shift"),
                layers.PReLU(shared_axes=[1, 2], name="slopes"),
                SiMaNConv2D(24, 3, use_bias=True, name="biased"),
                layers.BatchNormalization(scale=False, name="into_bias"),
                layers.ReLU(),
                layers.GlobalAveragePooling2D(),
                layers.BatchNormalization(name="into_dense"),
                layers.Dropout(0.1),
                layers.Dense(5, name="logits"),
            ]
        )
    )


def test_counts_what_the_file_holds(model):
    tflite = convert(model)
    stem = 3 * 3 * 3 * 33 + 33
    binary = 9 * 2 * 40 + 2 * 40 + 40  # 33 channels are two words
    biased = 9 * 2 * 24 + 2 * 24
    dense = 24 * 5 + 5
    expected = 4 * (stem + binary + biased + dense)
    assert theoretical_bytes(model, tflite) == expected
    # The rest are the axes of MEAN and the like.
    assert expected <= constant_bytes(tflite) <= expected + 64
    assert "MUL" not in operators(tflite)
    kernels = 9 * 33 * 40 + 9 * 40 * 24
    assert float32_bytes(model) == expected + 4 * kernels - 4 * 9 * 2 * (40 + 24)


def test_seeds_of_augmentation_are_no_weights():
    augmented = tf.keras.Sequential(
        [layers.Input((8, 8, 3)), layers.RandomFlip(), layers.Conv2D(2, 3, use_bias=False)]
    )
    assert float32_bytes(augmented) == 4 * 3 * 3 * 3 * 2


def test_untrained_weights_that_are_kept_once_count_once():
    model = tf.keras.Sequential([layers.Input((8, 8, 32))])
    for number in range(4):
        model.add(layers.PReLU(shared_axes=[1, 2], name=f"equal{number}"))
    model.add(SiMaNConv2D(8, 3))
    tflite = convert(model)
    assert theoretical_bytes(model, tflite) == constant_bytes(tflite) < len(tflite)


class Subclassed(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.convolution = layers.Conv2D(2, 3, use_bias=False)
        self.norm = layers.BatchNormalization()
        self.unused = layers.BatchNormalization()

    def call(self, inputs):
        return self.norm(self.convolution(inputs))


def test_models_without_a_graph_of_layers():
    model = Subclassed()
    model(tf.zeros((1, 8, 8, 3)))
    assert float32_bytes(model) == 4 * (3 * 3 * 3 * 2 + 2)
