"""check_no_l2: what it finds, what it leaves alone, and that its cures work."""

import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from siman_larq import SiMaNConv2D, check_no_l2

L2 = tf.keras.regularizers.L2


def sequential(*layers, **kwargs):
    return tf.keras.Sequential([tf.keras.Input((8, 8, 4)), *layers], **kwargs)


def penalised(name="conv_a", regularizer=None):
    return SiMaNConv2D(4, 3, name=name, kernel_regularizer=regularizer or L2(5e-4))


def message(model, optimizer=None):
    with pytest.raises(ValueError, match="Binary kernels are penalised") as error:
        check_no_l2(model, optimizer)
    return str(error.value)


def test_clean_models():
    model = sequential(
        SiMaNConv2D(4, 3),
        SiMaNConv2D(4, 3, kernel_regularizer=L2(0.0)),
        SiMaNConv2D(4, 3, kernel_regularizer=tf.keras.regularizers.L1L2(0.0, 0.0)),
        tf.keras.layers.Conv2D(4, 3, kernel_regularizer=L2(5e-4)),
        lq.layers.QuantConv2D(
            4, 1, kernel_quantizer=lq.quantizers.DoReFa(2), kernel_regularizer=L2(5e-4)
        ),
    )
    assert check_no_l2(model) is None
    for optimizer in ("SGD", "Adam"):
        optimizer = getattr(tf.keras.optimizers, optimizer)()
        assert check_no_l2(model, optimizer) is None
    model.compile(tf.keras.optimizers.SGD(weight_decay=0.0))
    assert check_no_l2(model) is None


def test_every_layer_is_named():
    text = message(
        sequential(penalised("conv_a"), SiMaNConv2D(4, 3, name="b"), penalised("conv_c"))
    )
    assert "conv_a: kernel_regularizer=L2(0.0005)" in text
    assert "conv_c: kernel_regularizer=L2(0.0005)" in text
    assert "\n  b:" not in text
    assert "Laplacian" in text
    assert "Leave the kernel_regularizer" in text


def norm(weights):
    return tf.reduce_sum(weights**4)


class Custom(tf.keras.regularizers.Regularizer):
    """Without a config, as Keras allows."""

    def __call__(self, weights):
        return norm(weights)


@pytest.mark.parametrize(
    ("regularizer", "text"),
    [
        (L2(1e-5), "=L2(1e-05)"),
        (tf.keras.regularizers.L1(0.01), "=L1(0.01)"),
        (tf.keras.regularizers.L1L2(0.01, 0.02), "=L1L2(0.01, 0.02)"),
        ("l2", "=L2(0.01)"),
        (tf.keras.regularizers.OrthogonalRegularizer(), "=OrthogonalRegularizer"),
        (Custom(), "=Custom"),
        (norm, "=norm"),
    ],
)
def test_regularizers(regularizer, text):
    assert f"conv_a: kernel_regularizer{text}\n" in message(
        sequential(penalised("conv_a", regularizer))
    )


def test_depthwise_and_pointwise():
    model = sequential(
        lq.layers.QuantSeparableConv2D(
            4,
            3,
            depthwise_quantizer="siman",
            pointwise_quantizer="siman",
            depthwise_regularizer=L2(0.1),
            pointwise_regularizer=L2(0.2),
            name="separable",
        ),
        lq.layers.QuantDepthwiseConv2D(
            3, depthwise_quantizer="ste_sign", depthwise_regularizer=L2(0.3), name="depthwise"
        ),
    )
    text = message(model)
    assert "separable: depthwise_regularizer=L2(0.1)" in text
    assert "separable: pointwise_regularizer=L2(0.2)" in text
    assert "depthwise: depthwise_regularizer=L2(0.3)" in text


def test_nested_models():
    inner = tf.keras.Sequential([penalised("conv_a")])
    image = tf.keras.Input((8, 8, 4))
    model = tf.keras.Model(image, tf.keras.Sequential([inner])(image))
    text = message(model, tf.keras.optimizers.SGD(weight_decay=5e-4))
    assert "conv_a: kernel_regularizer=L2(0.0005)" in text
    assert text.count("conv_a: SGD(weight_decay=0.0005) on kernel") == 1
    assert "conv_a: SGD(weight_decay=0.0005) on alpha" in text


def two_layers():
    return sequential(
        # PercentileClip would move weights in every step.
        SiMaNConv2D(4, 3, kernel_constraint=None, name="conv_a"),
        lq.layers.QuantConv2D(4, 3, kernel_quantizer="siman", name="conv_b"),
        tf.keras.layers.Conv2D(4, 3, name="conv_c"),
    )


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("kind", ["SGD", "AdamW"])
def test_weight_decay(kind, wrapped, compiled):
    optimizer = getattr(tf.keras.optimizers, kind)(weight_decay=5e-4)
    if wrapped:
        optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
    model = two_layers()
    if compiled:
        model.compile(optimizer)
    text = message(model, None if compiled else optimizer)
    for found in ("conv_a", "conv_b"):
        assert f"{found}: {kind}(weight_decay=0.0005) on kernel" in text
    assert f"conv_a: {kind}(weight_decay=0.0005) on alpha" in text
    assert "conv_c" not in text
    assert "exclude_from_weight_decay" in text


def test_excluded_variables():
    model, optimizer = two_layers(), tf.keras.optimizers.AdamW()
    conv_a, conv_b = model.get_layer("conv_a"), model.get_layer("conv_b")
    optimizer.exclude_from_weight_decay(var_list=[conv_a.kernel, conv_b.kernel])
    text = message(model, optimizer)
    assert "on kernel" not in text
    assert "conv_a: AdamW(weight_decay=0.004) on alpha" in text
    optimizer.exclude_from_weight_decay(var_list=[conv_a.kernel, conv_a.alpha, conv_b.kernel])
    assert check_no_l2(model, optimizer) is None
    optimizer.exclude_from_weight_decay(var_names=["conv_a/", "conv_b/kernel"])
    assert check_no_l2(model, optimizer) is None

    # Keras goes by the same list: without gradients only the decay could move a weight.
    before = [weight.numpy() for weight in model.trainable_weights]
    optimizer.learning_rate = 100.0
    optimizer.apply_gradients((tf.zeros_like(w), w) for w in model.trainable_weights)
    moved = [
        weight.name.split(":")[0]
        for weight, old in zip(model.trainable_weights, before, strict=True)
        if np.abs(weight.numpy() - old).max() > 1e-3
    ]
    assert moved == ["conv_c/kernel"]


def test_models_without_weights_yet():
    model = tf.keras.Sequential([penalised("conv_a")])
    assert "conv_a: kernel_regularizer" in message(model, tf.keras.optimizers.AdamW())


class Own(tf.keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, inputs):
        return self.layer(inputs)


@pytest.mark.parametrize("kind", [Own, lambda layer: tf.keras.Sequential([layer])])
def test_weights_that_cannot_be_looked_at(kind):
    model = kind(SiMaNConv2D(4, 3, name="conv_a"))
    model.compile(tf.keras.optimizers.AdamW(weight_decay=0.1), "mse")
    with pytest.raises(ValueError, match="is not built, so it has no weights to look at; call it"):
        check_no_l2(model)
    model(tf.zeros([1, 8, 8, 4]))
    assert "conv_a: AdamW(weight_decay=0.1) on kernel" in message(model)


def test_kernels_in_a_list():
    class Several(tf.keras.layers.Layer):
        def build(self, shape):
            with lq.context.quantized_scope(False):
                kernel = self.add_weight("kernel", (2, 2))
            quantizer = lq.quantizers.SteSign()
            self.kernels = [lq.quantized_variable.QuantizedVariable(kernel, quantizer, 1)]

        def call(self, inputs):
            return inputs @ tf.convert_to_tensor(self.kernels[0])

    model = tf.keras.Sequential([tf.keras.Input((2,)), Several(name="several")])
    assert "several: AdamW" in message(model, tf.keras.optimizers.AdamW(weight_decay=0.1))


@pytest.mark.parametrize("optimizer", [tf.keras.optimizers.AdamW, "adamw", 3])
def test_no_optimizer(optimizer):
    with pytest.raises(TypeError, match=r"optimizer=.* is no optimizer; give the instance"):
        check_no_l2(sequential(SiMaNConv2D(4, 3)), optimizer)


@pytest.mark.parametrize("model", [None, "model", tf.keras.layers.Dense(3)])
def test_no_model(model):
    with pytest.raises(TypeError, match=r"check_no_l2: model=.* is no tf\.keras\.Model"):
        check_no_l2(model)
