"""What CoupledDecaySGD spares, and what check_no_l2 sees of it, also after saving and loading."""

import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from siman_larq import SiMaNConv2D, check_no_l2
from siman_larq.training import CoupledDecaySGD, binary_variables


def conv(name, **kwargs):
    # PercentileClip would move weights in every step.
    return SiMaNConv2D(4, 3, kernel_constraint=None, name=name, **kwargs)


def flat():
    layers = [conv("a"), lq.layers.QuantConv2D(4, 1, kernel_quantizer="ste_sign", name="b")]
    return tf.keras.Sequential(
        [tf.keras.Input((8, 8, 4)), *layers, tf.keras.layers.Conv2D(4, 1, name="c")]
    )


def nested():
    image = tf.keras.Input((8, 8, 4))
    shared = conv("shared", padding="same")
    inner = tf.keras.Sequential(
        [tf.keras.Input((8, 8, 4)), tf.keras.layers.Conv2D(4, 1, name="c"), conv("d")], name="inner"
    )
    late = tf.keras.Sequential([tf.keras.layers.TimeDistributed(conv("timed"))], name="late")
    return tf.keras.Model(image, late(inner(shared(shared(image)))[:, None]))


@lq.utils.register_keras_custom_object
class Block(tf.keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = conv("conv", padding="same")
        self.head = tf.keras.layers.Conv2D(4, 1, name="head")

    def call(self, inputs):
        return self.head(self.conv(inputs))


def blocks():
    return tf.keras.Sequential([tf.keras.Input((8, 8, 4)), Block(), Block()])


def moved_by_decay(model):
    """Names of weights that move in a step without gradients."""
    before = [weight.numpy() for weight in model.trainable_weights]
    model.optimizer.learning_rate = 0.5
    model.optimizer.apply_gradients((tf.zeros_like(w), w) for w in model.trainable_weights)
    return {
        weight.name.split(":")[0]
        for weight, old in zip(model.trainable_weights, before, strict=True)
        if np.abs(weight.numpy() - old).max() > 0
    }


def binary_names(model):
    return {variable.name.split(":")[0] for variable in binary_variables(model)}


def compiled(model, wrap=False):
    optimizer = CoupledDecaySGD(0.1, l2=0.1)
    optimizer.exclude(binary_variables(model))
    if wrap:
        optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
    model.compile(optimizer, "mse")
    return model


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (flat, "keras"),
        (flat, "h5"),
        (flat, "tf"),
        (nested, "keras"),
        (nested, "h5"),
        (blocks, "keras"),
    ],
)
def test_exclusion_survives_files(tmp_path, make, kind):
    model = compiled(make())
    moved_by_decay(model)
    path = tmp_path / ("saved" if kind == "tf" else f"saved.{kind}")
    model.save(path, save_format=kind)
    loaded = tf.keras.models.load_model(path)
    assert isinstance(loaded.optimizer, CoupledDecaySGD)
    check_no_l2(loaded)
    moved = moved_by_decay(loaded)
    assert len(moved) >= 1
    assert not moved & binary_names(loaded)


def test_without_exclusion_the_check_names_every_layer():
    model = flat()
    optimizer = CoupledDecaySGD(0.1, l2=0.1)
    model.compile(tf.keras.mixed_precision.LossScaleOptimizer(optimizer))
    with pytest.raises(ValueError, match="Binary kernels are penalised") as error:
        check_no_l2(model)
    for line in ("a: CoupledDecaySGD(l2=0.1) on kernel", "a: CoupledDecaySGD(l2=0.1) on alpha"):
        assert line in str(error.value)
    assert "b: CoupledDecaySGD(l2=0.1) on kernel" in str(error.value)
    assert "c:" not in str(error.value)
    optimizer.exclude(binary_variables(model))  # The cure that the message names.
    check_no_l2(model)


def test_wrapped_and_copied():
    model = compiled(flat(), wrap=True)
    check_no_l2(model)
    copy = tf.keras.models.clone_model(model)
    made = tf.keras.optimizers.deserialize(tf.keras.optimizers.serialize(model.optimizer))
    copy.compile(made, "mse")
    check_no_l2(copy)
    assert moved_by_decay(copy) == {"c/kernel"}


def test_other_weights_are_found_by_name():
    def model(*names):
        layers = [tf.keras.layers.Dense(4, name=name) for name in names]
        parts = [tf.keras.Sequential([layer]) for layer in layers]
        return tf.keras.Sequential([tf.keras.Input((4,)), *parts])

    first, second, third = model("x", "y"), model("x", "y"), model("x", "x")
    optimizer = CoupledDecaySGD(0.1, l2=0.1)
    optimizer.exclude([first.trainable_weights[0]])
    first.compile(optimizer, "mse")
    assert moved_by_decay(first) == {"y/kernel"}
    second.compile(CoupledDecaySGD.from_config(optimizer.get_config()), "mse")
    assert moved_by_decay(second) == {"y/kernel"}
    third.compile(CoupledDecaySGD.from_config(optimizer.get_config()), "mse")
    with pytest.raises(ValueError, match=r"'x/kernel' had no decay .* 2 of the weights to train"):
        moved_by_decay(third)


def test_other_optimizers_forget_and_the_check_sees_it(tmp_path):
    model = flat()
    optimizer = tf.keras.optimizers.AdamW(weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=binary_variables(model))
    model.compile(optimizer, "mse")
    check_no_l2(model)
    model.save(tmp_path / "saved.keras")
    loaded = tf.keras.models.load_model(tmp_path / "saved.keras")
    with pytest.raises(ValueError, match=r"a: AdamW.*on kernel(?s:.*)compile the model with a new"):
        check_no_l2(loaded)


class Decaying(tf.keras.optimizers.legacy.SGD):
    weight_decay = 0.25


def test_case_optimizer_and_frozen_layers():
    model = flat()
    is_binary = lq.optimizers.Bop.is_binary_variable
    plain, decaying = tf.keras.optimizers.legacy.SGD(), Decaying()
    case = lq.optimizers.CaseOptimizer((is_binary, plain), default_optimizer=plain)
    assert check_no_l2(model, case) is None
    case = lq.optimizers.CaseOptimizer((is_binary, decaying), default_optimizer=plain)
    with pytest.raises(ValueError, match=r"a: Decaying\(weight_decay=0.25\) on kernel"):
        check_no_l2(model, case)
    with pytest.raises(ValueError, match=r"(?s)a: Ftrl\(l2_reg.*another optimizer"):
        check_no_l2(model, tf.keras.optimizers.Ftrl(l2_regularization_strength=0.1))
    model.get_layer("a").trainable = model.get_layer("b").trainable = False
    assert check_no_l2(model, case) is None
