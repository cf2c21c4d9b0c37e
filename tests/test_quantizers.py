"""The quantizers and the constraint as Larq uses them."""

import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from siman_larq import ClipAnnealing, PercentileClip, SampleSign, SiMaNConv2D, SiMaNQuantizer
from siman_larq.math import magnitude_code, sample_sign

QUANTIZED = {"input_quantizer": "sample_sign", "kernel_quantizer": "siman"}
DEPTHWISE = {"input_quantizer": "sample_sign", "depthwise_quantizer": "siman"}
CONV2D = {
    "conv2d": lambda: lq.layers.QuantConv2D(4, 3, **QUANTIZED),
    "depthwise": lambda: lq.layers.QuantDepthwiseConv2D(3, **DEPTHWISE),
    "separable": lambda: lq.layers.QuantSeparableConv2D(
        4, 3, pointwise_quantizer="siman", **DEPTHWISE
    ),
    "transpose": lambda: lq.layers.QuantConv2DTranspose(4, 3, **QUANTIZED),
}
LAYERS = {
    **{name: (make, (2, 6, 6, 4)) for name, make in CONV2D.items()},
    "dense": (lambda: lq.layers.QuantDense(4, **QUANTIZED), (2, 8)),
    "conv1d": (lambda: lq.layers.QuantConv1D(4, 3, **QUANTIZED), (2, 6, 4)),
    "conv3d": (lambda: lq.layers.QuantConv3D(4, 3, **QUANTIZED), (2, 4, 4, 4, 2)),
    "groups": (lambda: lq.layers.QuantConv2D(4, 3, groups=2, **QUANTIZED), (2, 6, 6, 4)),
    "multiplier": (
        lambda: lq.layers.QuantDepthwiseConv2D(3, depth_multiplier=2, **DEPTHWISE),
        (2, 6, 6, 4),
    ),
    "local": (lambda: lq.layers.QuantLocallyConnected2D(4, 3, **QUANTIZED), (2, 5, 5, 3)),
}
FILTERS = {"depthwise_kernel:0": "depthwise", "pointwise_kernel:0": "pointwise"}


def code_by_filter(kernel, kind):
    """The code of every filter alone; positions of the filters by what the layer computes."""
    axes = {"depthwise": (-2, -1), "transpose": (-2,), "local": (-3, -1)}.get(kind, (-1,))
    filters = np.moveaxis(kernel, axes, range(len(axes)))
    coded = np.empty_like(filters)
    for index in np.ndindex(*filters.shape[: len(axes)]):
        flat = tf.reshape(filters[index], [-1, 1])
        coded[index] = tf.reshape(magnitude_code(flat), filters[index].shape)
    return np.moveaxis(coded, range(len(axes)), axes)


@pytest.mark.parametrize("name", LAYERS)
def test_in_layers_of_larq(name):
    make, shape = LAYERS[name]
    layer = make()
    maps = tf.random.normal(shape)
    with tf.GradientTape() as tape:
        outputs = layer(maps)
    kernels = [w for w in layer.trainable_weights if getattr(w, "precision", 32) == 1]
    assert len(kernels) == (2 if name == "separable" else 1)
    for gradient in tape.gradient(outputs, kernels):
        assert np.isfinite(gradient.numpy()).all()

    # Plain layers with the signs and the codes, filter by filter, give the same.
    latents = [kernel.numpy() for kernel in kernels]
    for kernel, latent in zip(kernels, latents, strict=True):
        kernel.assign(code_by_filter(latent, FILTERS.get(kernel.name.split("/")[-1], name)))
    layer.input_quantizer = None
    np.testing.assert_allclose(layer(sample_sign(maps)), outputs, atol=1e-5)


@pytest.mark.parametrize("name", ["depthwise", "transpose"])
def test_constraints_know_the_filters(name):
    part = "depthwise" if name == "depthwise" else "kernel"
    layer = CONV2D[name]()
    setattr(layer, f"{part}_constraint", PercentileClip())
    layer(tf.random.normal((2, 6, 6, 4)))
    kernel = layer.trainable_weights[0].numpy()
    axes = {"depthwise": (0, 1), "transpose": (0, 1, 3)}[name]
    centred = getattr(layer, f"{part}_constraint")(layer.trainable_weights[0])
    np.testing.assert_allclose(centred, kernel - kernel.mean(axes, keepdims=True), atol=1e-6)


def test_annealed_constraints_know_the_filters():
    """Also beside another quantizer, which does not tell them."""
    clip = PercentileClip()
    layer = lq.layers.QuantConv2DTranspose(
        4, 3, kernel_quantizer="ste_sign", kernel_constraint=clip
    )
    fit(tf.keras.Sequential([tf.keras.Input((6, 6, 2)), layer]), [clip], epochs=1)
    assert clip.filter_axes == (-2,)
    assert PercentileClip.from_config(clip.get_config()).filter_axes == (-2,)


def test_depthwise_kernels_before_a_call():
    clip = PercentileClip()
    layer = lq.layers.QuantDepthwiseConv2D(
        3, depthwise_quantizer="siman", depthwise_constraint=clip, use_bias=False
    )
    layer.build((None, 6, 6, 4))
    kernel = layer.depthwise_kernel.numpy()
    with lq.context.quantized_scope(True):
        (coded,) = layer.get_weights()
    np.testing.assert_array_equal(coded, code_by_filter(kernel, "depthwise"))
    centred = clip(layer.depthwise_kernel)
    np.testing.assert_allclose(centred, kernel - kernel.mean((0, 1), keepdims=True), atol=1e-6)


def test_filters_that_disagree():
    shared = SiMaNQuantizer()
    maps = tf.random.normal((2, 6, 6, 4))
    lq.layers.QuantConv2D(4, 3, kernel_quantizer=shared)(maps)
    with pytest.raises(ValueError, match=r"'up': the filters of its kernel lie along axes \(-2,\)"):
        lq.layers.QuantConv2DTranspose(4, 3, kernel_quantizer=shared, name="up")(maps)
    assert not lq.context.should_quantize()
    local = lq.layers.QuantLocallyConnected2D(4, 3, kernel_quantizer="siman", implementation=2)
    with pytest.raises(ValueError, match="use implementation=1"):
        local(maps)


def test_filter_axes():
    """Given, for layers of one's own, and in files."""
    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 4)).astype(np.float32)
    quantizer = SiMaNQuantizer(filter_axes=(-1, -2))
    expected = code_by_filter(kernel, "depthwise")
    np.testing.assert_array_equal(quantizer(kernel), expected)
    copy = SiMaNQuantizer.from_config(quantizer.get_config())
    np.testing.assert_array_equal(copy(kernel), expected)

    class Own(tf.keras.layers.Layer):
        kernel_quantizer = SiMaNQuantizer(filter_axes=(-2, -1))

        def call(self, inputs):
            return self.kernel_quantizer(inputs)

    np.testing.assert_array_equal(Own()(kernel), expected)
    for wrong in ((0,), (), "last", (True,)):
        with pytest.raises(ValueError, match="filter_axes=.* is not supported; give negative"):
            SiMaNQuantizer(filter_axes=wrong)


def test_levels_by_name():
    layer = lq.layers.QuantConv2D(4, 3, kernel_quantizer="siman_pm1")
    assert layer.kernel_quantizer.levels == (-1, 1)
    assert type(lq.layers.QuantConv2D.from_config(layer.get_config()).kernel_quantizer) is (
        SiMaNQuantizer
    )


@pytest.mark.parametrize(
    ("make", "cure"),
    [
        (
            lambda: lq.layers.QuantConv2D(4, 3, kernel_quantizer=SiMaNQuantizer),
            r"write kernel_quantizer=SiMaNQuantizer\(levels=\(-1, 1\)\)",
        ),
        (
            lambda: lq.layers.QuantConv2D(4, 3, input_quantizer=SampleSign),
            r"write input_quantizer=SampleSign\(\)",
        ),
        (lambda: SiMaNConv2D(4, 3, kernel_quantizer=SiMaNQuantizer), "give an instance such as"),
        (lambda: SiMaNConv2D(4, 3, input_quantizer=SampleSign), "give an instance such as"),
        (lambda: SiMaNConv2D(4, 3, kernel_constraint=PercentileClip), "give an instance such as"),
        (lambda: PercentileClip(tf.Variable([1.0])), r"write kernel_constraint=PercentileClip\(\)"),
    ],
)
@pytest.mark.parametrize("is_eager", [True, False])
def test_a_class_is_no_instance(make, cure, is_eager):
    def build():
        return make()(tf.random.normal((1, 6, 6, 2)) if is_eager else tf.keras.Input((6, 6, 2)))

    with pytest.raises(TypeError, match=cure):
        build()
    assert not lq.context.should_quantize()


@pytest.mark.parametrize(
    ("argument", "name", "near"),
    [
        ("kernel_quantizer", "dorefa", "dorefa_quantizer"),
        ("kernel_quantizer", "siman_pm", "siman_pm1"),
        ("input_quantizer", "Bsign", "ste_sign"),
        ("input_quantizer", "xyz", "sample_sign"),
        ("kernel_constraint", "percentile", "percentile_clip"),
    ],
)
def test_unknown_names(argument, name, near):
    with pytest.raises(ValueError, match=f"{argument}='{name}' is unknown; .* such as '{near}'"):
        SiMaNConv2D(4, 3, **{argument: name})


def test_pixels():
    """Of 8 bits and no sign, in an eager layer and in a model."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3)).astype(np.uint8)
    layer = SiMaNConv2D(4, 3)
    image = tf.keras.Input((6, 6, 3), dtype="uint8")
    model = tf.keras.Model(image, layer(image))
    np.testing.assert_array_equal(model(pixels), layer(pixels.astype(np.float32)))
    np.testing.assert_array_equal(layer(pixels), layer(pixels.astype(np.float32)))


def test_an_error_leaves_no_scope_behind():
    for layer in (
        SiMaNConv2D(4, 3),
        lq.layers.QuantConv2D(4, 3, input_quantizer="sample_sign", kernel_quantizer="siman"),
    ):
        layer.build((None, 6, 6, 2))
        latent = layer.kernel.numpy()
        layer.kernel.assign(latent * np.nan)
        with pytest.raises(ValueError, match="NaN or infinite"):
            layer(tf.random.normal((1, 6, 6, 2)))
        layer.kernel.assign(latent)
        np.testing.assert_array_equal(layer.kernel.numpy(), latent)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        SiMaNConv2D(4, 3, padding="valid")(tf.random.normal((1, 2, 2, 2)))
    assert not lq.context.should_quantize()


def test_the_constraint_is_of_latent_weights():
    variable = SiMaNConv2D(4, 3)
    variable.build((None, 6, 6, 2))
    kernel = variable.kernel
    expected = PercentileClip(5.0)(kernel)
    with lq.context.quantized_scope(True):
        np.testing.assert_array_equal(PercentileClip(5.0)(kernel), expected)


@pytest.mark.parametrize(
    ("alias", "kind"),
    [("siman", SiMaNQuantizer), ("sample_sign", SampleSign)],
)
def test_aliases(alias, kind):
    quantizer = lq.quantizers.get(alias)
    assert type(quantizer) is kind
    assert quantizer.precision == 1
    assert lq.quantizers.get(lq.quantizers.serialize(quantizer)).get_config() == (
        quantizer.get_config()
    )


def test_alias_of_the_constraint():
    layer = lq.layers.QuantConv2D(4, 3, kernel_constraint="percentile_clip")
    assert isinstance(layer.kernel_constraint, PercentileClip)


def test_defaults():
    assert SiMaNQuantizer().levels == (0.0, 1.0)
    assert SiMaNQuantizer().threshold == "median"
    assert SampleSign().zero == 0


@pytest.mark.parametrize("threshold", ["median", "angle", 0.3])
@pytest.mark.parametrize("levels", [(0, 1), (-1, 1)])
def test_config_of_the_code(levels, threshold):
    quantizer = SiMaNQuantizer(levels=levels, threshold=threshold, name="coder")
    copy = SiMaNQuantizer.from_config(quantizer.get_config())
    assert copy.get_config() == quantizer.get_config()
    assert (copy.levels, copy.threshold, copy.name) == (levels, threshold, "coder")


def test_config_of_the_sign_and_the_constraint():
    assert SampleSign.from_config(SampleSign(zero=1).get_config()).zero == 1
    clip = tf.keras.constraints.deserialize(tf.keras.constraints.serialize(PercentileClip(7.5)))
    assert clip.percent == 7.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SiMaNQuantizer(levels=(0, 2)), r"levels=\(0, 2\) is not supported"),
        (lambda: SiMaNQuantizer(levels=(1, 0)), "levels="),
        (lambda: SiMaNQuantizer(levels=None), "levels=None"),
        (lambda: SiMaNQuantizer(levels=("a", "b")), "levels="),
        (lambda: SiMaNQuantizer(threshold="mean"), "threshold='mean'"),
        (lambda: SiMaNQuantizer(threshold=0), "threshold=0"),
        (lambda: SiMaNQuantizer(threshold=1.0), "threshold=1.0"),
        (lambda: SiMaNQuantizer(threshold=True), "threshold=True"),
        (lambda: SiMaNQuantizer(threshold=float("nan")), "threshold=nan"),
        (lambda: SampleSign(zero=2), "zero=2"),
        (lambda: PercentileClip(50), "percent=50 is out of range"),
        (lambda: PercentileClip(-1), "percent=-1"),
        (lambda: PercentileClip(float("nan")), "percent=nan"),
        (lambda: ClipAnnealing(50), "start=50"),
        (lambda: ClipAnnealing(-0.5), "start=-0.5"),
        (lambda: PercentileClip("15"), "percent='15'"),
        (lambda: ClipAnnealing("15"), "start='15'"),
        (lambda: ClipAnnealing(first=-1), "first=-1 is no epoch"),
        (lambda: ClipAnnealing(first=1.5), "first=1.5"),
        (lambda: ClipAnnealing(first=True), "first=True"),
        (lambda: SampleSign(width="1"), "width='1' must be a number"),
        (lambda: setattr(SampleSign(), "width", -1), "width=-1"),
        (lambda: SampleSign()(tf.zeros([3])), "no axis"),
    ],
)
def test_invalid_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("kind", [SiMaNConv2D, lq.layers.QuantConv2D])
def test_a_sign_of_samples_is_no_kernel_quantizer(kind):
    layer = kind(4, 3, kernel_quantizer="sample_sign", kernel_constraint=PercentileClip())
    with pytest.raises(ValueError, match="SampleSign is given as kernel_quantizer, and it quant"):
        layer(tf.zeros([1, 5, 5, 2]))
    assert not lq.context.should_quantize()


def test_activations_are_dense():
    with pytest.raises(TypeError, match="inputs are a RaggedTensor; give a dense tensor"):
        SampleSign()(tf.ragged.constant([[1.0, 2.0], [3.0]]))


def test_percent_is_checked_when_set():
    clip = PercentileClip(5.0)
    with pytest.raises(ValueError, match="percent=60"):
        clip.percent = 60
    assert clip.percent == 5.0


def test_a_new_percent_reaches_traced_steps():
    clip, kernel = PercentileClip(0.0), tf.random.normal([3, 3, 2, 4])
    traced = tf.function(clip)
    before = traced(kernel)
    clip.percent = 15.0
    np.testing.assert_array_equal(traced(kernel), clip(kernel))
    assert np.abs(traced(kernel)).max() < np.abs(before).max()


def test_summary_counts_one_bit(capsys):
    model = tf.keras.Sequential(
        [
            tf.keras.Input((8, 8, 4)),
            lq.layers.QuantConv2D(8, 3, use_bias=False, **QUANTIZED),
            SiMaNConv2D(8, 3),
        ]
    )
    lq.models.summary(model)
    printed = capsys.readouterr().out
    assert "1-bit" in printed
    # 288 + 576 bits and 8 alpha of 32.
    size = next(line for line in printed.splitlines() if line.startswith("| Model size  "))
    assert "140.00 B" in size


def test_flip_ratio_in_fit():
    with lq.context.metrics_scope(["flip_ratio"]):
        model = tf.keras.Sequential(
            [
                tf.keras.Input((6, 6, 2)),
                lq.layers.QuantConv2D(
                    4, 3, kernel_quantizer="siman", kernel_constraint="percentile_clip"
                ),
                SiMaNConv2D(4, 3, kernel_quantizer=SiMaNQuantizer(levels=(-1, 1))),
                tf.keras.layers.Flatten(),
            ]
        )
    model.compile(tf.keras.optimizers.SGD(0.1), "mse")
    history = model.fit(
        tf.random.normal([8, 6, 6, 2]), tf.zeros([8, 64]), batch_size=4, verbose=0
    ).history
    ratios = [value for name, value in history.items() if "flip_ratio" in name]
    assert ratios
    assert all(0 <= value[0] <= 1 for value in ratios)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: lq.layers.QuantConv2D(4, 3, kernel_quantizer="siman", name="conv_a"),
        lambda: SiMaNConv2D(4, 3, name="conv_a"),
    ],
)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_kernels_name_their_layer(layer, bad):
    layer = layer()
    layer.build((None, 6, 6, 2))
    layer.kernel.assign(tf.tensor_scatter_nd_update(layer.kernel, [[1, 1, 0, 2]], [bad]))
    maps = tf.random.normal([1, 6, 6, 2])
    # Traced first: the error below leaves Larq's scope on.
    outputs = tf.function(layer)(maps).numpy()
    assert np.isnan(outputs[..., 2]).all()
    assert np.isfinite(outputs[..., [0, 1, 3]]).all()
    with pytest.raises(ValueError, match=r"conv_a.*1 of the kernel's 72 weights are NaN or inf"):
        layer(maps)


# --- annealing -------------------------------------------------------------------------------


class Recorder(tf.keras.callbacks.Callback):
    def __init__(self, clips):
        super().__init__()
        self.clips, self.percents = clips, []

    def on_train_batch_end(self, batch, logs=None):
        self.percents.append([clip.percent for clip in self.clips])


def fit(model, clips, **kwargs):
    model.compile("sgd", "mse")
    recorder = Recorder(clips)
    shape = model.input_shape[1:]
    targets = tf.zeros([2, *model.output_shape[1:]])
    callbacks = [ClipAnnealing(15.0), recorder]
    model.fit(tf.zeros([2, *shape]), targets, callbacks=callbacks, verbose=0, **kwargs)
    return recorder.percents


def test_annealing():
    layer = SiMaNConv2D(4, 3)
    model = tf.keras.Sequential([tf.keras.Input((6, 6, 2)), layer])
    assert fit(model, [layer.kernel_constraint], epochs=3) == [[15.0], [10.0], [5.0]]
    resumed = fit(model, [layer.kernel_constraint], epochs=3, initial_epoch=1)
    assert resumed == [[10.0], [5.0]]


def test_annealing_of_nested_models_and_other_layers():
    inner = tf.keras.Sequential([SiMaNConv2D(4, 3)])
    depthwise = lq.layers.QuantDepthwiseConv2D(
        3, depthwise_constraint=PercentileClip(), **DEPTHWISE
    )
    image = tf.keras.Input((6, 6, 2))
    outputs = depthwise(tf.keras.Sequential([inner])(image))
    clips = [inner.layers[0].kernel_constraint, depthwise.depthwise_constraint]
    assert fit(tf.keras.Model(image, outputs), clips, epochs=2) == [[15.0, 15.0], [7.5, 7.5]]


def test_annealing_needs_a_clip():
    layers = [tf.keras.Input((6, 6, 2)), tf.keras.layers.Conv2D(4, 3)]
    model = tf.keras.Sequential(layers, name="plain")
    with pytest.raises(ValueError, match="no layer of model 'plain' has a PercentileClip"):
        fit(model, [], epochs=1)


def test_annealing_that_begins_later():
    layer = SiMaNConv2D(4, 3)
    model = tf.keras.Sequential([tf.keras.Input((6, 6, 2)), layer])
    annealing, recorder = ClipAnnealing(15.0, first=2), Recorder([layer.kernel_constraint])
    model.compile("sgd", "mse")
    for epochs, percents in ((5, [0, 0, 15, 10, 5]), (2, [0, 0]), (1, [0])):
        recorder.percents.clear()
        images, maps = tf.zeros([2, 6, 6, 2]), tf.zeros([2, 6, 6, 4])
        model.fit(images, maps, epochs=epochs, callbacks=[annealing, recorder], verbose=0)
        assert recorder.percents == [[percent] for percent in percents]


def test_annealing_of_a_weight_of_ones_own():
    class Own(tf.keras.layers.Layer):
        def build(self, shape):
            self.clip_free = self.add_weight("w", (3, 3), constraint=PercentileClip())

        def call(self, inputs):
            return inputs @ self.clip_free

    model = tf.keras.Sequential([tf.keras.Input((3,)), Own()])
    clip = model.layers[0].clip_free.constraint
    assert fit(model, [clip], epochs=2) == [[15.0], [7.5]]


def test_a_kernel_of_a_single_weight():
    model = tf.keras.Sequential([tf.keras.Input((3, 3, 1)), SiMaNConv2D(1, 1)])
    model.compile("sgd", "mse", run_eagerly=True)
    images = tf.ones([2, 3, 3, 1])
    model.fit(images, images, callbacks=[ClipAnnealing(15.0)], verbose=0)
    assert np.isfinite(model.get_weights()[0]).all()
