"""What `binarize` keeps of a model: sharing, frozen parts, names."""

import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from siman_larq import zoo

L = tf.keras.layers
SHAPE = (8, 8, 4)
IMAGES = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float32)


def conv(name, **kwargs):
    return lq.layers.QuantConv2D(
        4,
        3,
        padding="same",
        input_quantizer="ste_sign",
        kernel_quantizer="ste_sign",
        kernel_constraint="weight_clip",
        name=name,
        **kwargs,
    )


def functional(*layers, name=None):
    image = x = tf.keras.Input(SHAPE)
    for layer in layers:
        x = layer(x)
    return tf.keras.Model(image, x, name=name)


def sequential(*layers, name=None):
    return tf.keras.Sequential([tf.keras.Input(SHAPE), *layers], name=name)


def both(one, other):
    image = tf.keras.Input(SHAPE)
    return tf.keras.Model(image, [L.Add()([one(image), other(image)]), other(one(image))])


def shared_by_functional_models():
    shared = conv("shared")
    return both(functional(shared), functional(L.BatchNormalization(), shared))


def shared_by_sequential_models():
    shared = conv("shared")
    return both(sequential(shared), sequential(L.ReLU(), shared))


def shared_model():
    inner = sequential(conv("inner"))
    return both(functional(inner, inner), both_in_one(inner))


def both_in_one(inner):
    return sequential(inner, L.ReLU())


def shared_with_the_top():
    shared = conv("shared")
    return both(shared, functional(conv("other"), shared))


def frozen_model():
    inner = functional(conv("inner"), L.BatchNormalization())
    inner.trainable = False
    return functional(inner, conv("last"))


def frozen_model_with_thawed_layers():
    """Of which Keras trains none."""
    model = frozen_model()
    for layer in model.layers[1].layers:
        layer.trainable = True
    return model


def frozen_in_one_of_two():
    shared = sequential(conv("shared"))
    model = both(functional(shared), functional(conv("other"), shared))
    model.layers[1].trainable = False
    return model


def frozen_layers():
    frozen = L.TimeDistributed(L.Dense(4, trainable=False))
    return functional(conv("first", trainable=False), frozen, L.BatchNormalization(trainable=False))


def frozen_as_a_whole():
    model = sequential(conv("first"), L.BatchNormalization())
    model.trainable = False
    model.layers[0].trainable = True
    return model


MODELS = [
    shared_by_functional_models,
    shared_by_sequential_models,
    shared_model,
    shared_with_the_top,
    frozen_model,
    frozen_model_with_thawed_layers,
    frozen_in_one_of_two,
    frozen_layers,
    frozen_as_a_whole,
]


def layers_of(model):
    return [
        (layer.name, type(layer).__name__, layer.trainable)
        for layer in model.submodules
        if isinstance(layer, L.Layer)
        and not isinstance(layer, lq.quantizers.Quantizer | L.InputLayer)
    ]


@pytest.mark.parametrize("make", MODELS)
def test_copies(make):
    model = make()
    before = layers_of(model)
    made = zoo.binarize(model, kernel_quantizer="ste_sign")
    assert layers_of(made) == before == layers_of(model)
    for weights in ("weights", "trainable_weights", "non_trainable_weights"):
        ours, theirs = (getattr(each, weights) for each in (made, model))
        assert [weight.name for weight in ours] == [weight.name for weight in theirs]
    tf.nest.map_structure(np.testing.assert_array_equal, made(IMAGES), model(IMAGES))


def test_names_that_are_near():
    with pytest.raises(ValueError, match="'dorefa' is unknown; .* such as 'dorefa_quantizer'"):
        zoo.binarize(functional(conv("first")), kernel_quantizer="dorefa")
