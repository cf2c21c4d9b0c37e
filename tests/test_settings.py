"""What recipes vary beside the official form: codes, clamps, decay, centring, held-out images."""

import json
import shutil
from dataclasses import asdict, replace

import larq as lq
import numpy as np
import pytest
import shallow
import tensorflow as tf

import siman_larq
from siman_larq import (
    ClipAnnealing,
    PercentileClip,
    SampleSign,
    SiMaNConv2D,
    SiMaNQuantizer,
    check_no_l2,
    models,
)
from siman_larq import data as sd
from siman_larq.conversion.binary import binary_layers
from siman_larq.data import pipeline
from siman_larq.math import EPSILON, clamp_magnitudes, magnitude_code, sign_code
from siman_larq.models.blocks import ChannelShift, RPReLU, prelu, rprelu
from siman_larq.training import (
    CoupledDecaySGD,
    Recipe,
    SmoothedCrossentropy,
    Teacher,
    build_model,
    recipe_for,
    run,
    text,
)
from siman_larq.training.callbacks import Averaged, Checkpoints
from siman_larq.training.images import described
from siman_larq.training.teacher import check_classes

KERNEL = np.random.default_rng(0).normal(0.1, 1, (3, 3, 5, 4)).astype(np.float32)  # 45 a filter
SHAPE = (8, 8, 4)
IMAGES = np.random.default_rng(1).normal(size=(8, *SHAPE)).astype(np.float32)


# Codes.


def by_filter(kernel):
    return kernel.reshape(-1, kernel.shape[-1])


@pytest.mark.parametrize("jit", [False, True])
def test_sign_codes(jit):
    sign = tf.function(sign_code, jit_compile=jit)
    plain = np.sign(KERNEL - KERNEL.mean((0, 1, 2)))
    np.testing.assert_array_equal(sign(tf.constant(KERNEL)), plain)
    balanced = by_filter(sign(tf.constant(KERNEL), (0.0, 1.0), balanced=True).numpy())
    np.testing.assert_array_equal(balanced.sum(0), [22] * 4)
    for code, weights in zip(balanced.T, by_filter(KERNEL).T, strict=True):
        assert weights[code == 1].min() > np.median(weights) == weights[code == 0].max()


@pytest.mark.parametrize("balanced", [False, True])
def test_gradient_of_sign_codes(balanced):
    """That of the standardised filter itself; the magnitude code's has its sign on the way."""
    kernel, upstream = tf.constant(KERNEL), tf.random.normal(KERNEL.shape)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(kernel)
        centred = kernel - tf.reduce_mean(kernel, [0, 1, 2])
        variance = tf.reduce_sum(tf.square(centred), [0, 1, 2]) / 44
        standardised = centred / tf.sqrt(variance + EPSILON)
        code = sign_code(kernel, balanced=balanced)
        magnitudes = magnitude_code(kernel)
    expected = tape.gradient(standardised, kernel, upstream)
    np.testing.assert_allclose(tape.gradient(code, kernel, upstream), expected, atol=1e-5)
    turned = tape.gradient(magnitudes, kernel, upstream * tf.sign(centred))
    np.testing.assert_allclose(turned, expected, atol=1e-5)


def test_quantizer_with_another_code():
    quantizer = SiMaNQuantizer((-1, 1), code="balanced_sign")
    copy = SiMaNQuantizer.from_config(quantizer.get_config())
    np.testing.assert_array_equal(copy(KERNEL), sign_code(KERNEL, balanced=True))
    older = {key: value for key, value in quantizer.get_config().items() if key != "code"}
    np.testing.assert_array_equal(
        SiMaNQuantizer.from_config(older)(KERNEL), magnitude_code(KERNEL, (-1, 1))
    )
    with pytest.raises(ValueError, match="code='signs' is not supported; use one of magnitude"):
        SiMaNQuantizer(code="signs")
    with pytest.raises(ValueError, match=r"threshold=0.3 is one of magnitudes, and code='sign'"):
        SiMaNQuantizer(threshold=0.3, code="sign")


# The clamp.


@pytest.mark.parametrize("jit", [False, True])
def test_clamp_of_the_upper_tail(jit):
    clamp = tf.function(clamp_magnitudes, jit_compile=jit)
    centred = KERNEL - KERNEL.mean((0, 1, 2))
    most = np.percentile(np.abs(centred), 85)
    np.testing.assert_allclose(
        clamp(tf.constant(KERNEL), 15.0, tails="upper"), np.clip(centred, -most, most), atol=1e-6
    )


def test_constraint_with_the_upper_tail():
    clip = PercentileClip(15.0, tails="upper")
    copy = PercentileClip.from_config(clip.get_config())
    np.testing.assert_array_equal(
        copy(tf.Variable(KERNEL)), clamp_magnitudes(KERNEL, 15.0, tails="upper")
    )
    older = PercentileClip.from_config({"percent": 15.0, "filter_axes": None})
    np.testing.assert_array_equal(older(tf.Variable(KERNEL)), clamp_magnitudes(KERNEL, 15.0))
    with pytest.raises(ValueError, match="tails='lower' is not supported"):
        PercentileClip(tails="lower")


# The gradient of signs.


@pytest.mark.parametrize("width", [0.5, 1.0, 3.0])
def test_width_of_the_gradient(width):
    """Against the formula in standardised activations, carried on by TensorFlow."""
    activations, upstream = tf.constant(IMAGES), tf.random.normal(IMAGES.shape)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(activations)
        centred = activations - tf.reduce_mean(activations, [1, 2, 3], keepdims=True)
        variance = tf.reduce_sum(tf.square(centred), [1, 2, 3], keepdims=True) / (8 * 8 * 4 - 1)
        standardised = centred / tf.sqrt(variance + EPSILON)
        signs = SampleSign(width=width)(activations)
    slope = tf.maximum(0.0, 2 - 2 * tf.abs(standardised) / width) / width
    expected = tape.gradient(standardised, activations, slope * upstream)
    np.testing.assert_allclose(tape.gradient(signs, activations, upstream), expected, atol=1e-5)
    assert SampleSign.from_config(SampleSign(width=width).get_config()).width == width
    with pytest.raises(ValueError, match=r"width=0 must be a number above 0"):
        SampleSign(width=0)


# The common mode of the levels (0, 1).


def conv(levels=(-1, 1), centred=True, filters=8, constraint="default", **settings):
    return SiMaNConv2D(
        filters,
        3,
        kernel_quantizer=SiMaNQuantizer(levels, **settings),
        kernel_constraint=constraint,
        centred=centred,
    )


def test_centred_levels_are_the_same():
    """conv(a, B) - mean = 1/2 (conv(a, 2B - 1) - mean), exactly, and so in the gradient."""
    zero_one, signs = conv((0, 1)), conv((-1, 1))
    zero_one.build(IMAGES.shape)
    signs.build(IMAGES.shape)
    signs.set_weights(zero_one.get_weights())
    np.testing.assert_array_equal(zero_one(IMAGES), signs(IMAGES) / 2)
    assert np.abs(np.mean(signs(IMAGES) / signs.alpha, -1)).max() < 1e-6
    plain = conv((0, 1), centred=False)
    plain.build(IMAGES.shape)
    plain.set_weights(zero_one.get_weights())
    assert np.abs(plain(IMAGES) - signs(IMAGES) / 2).max() > 1


def test_gradient_of_the_centred_convolution():
    layer = conv()
    layer.build(IMAGES.shape)
    layer.alpha.assign(tf.range(1.0, 9.0))
    kernel, inputs = tf.Variable(tf.random.normal(layer.kernel.shape)), tf.Variable(IMAGES)
    upstream = tf.random.normal((8, 8, 8, 8))
    with tf.GradientTape(persistent=True) as tape:
        found = layer.convolution_op(inputs, kernel)
        convolved = tf.nn.conv2d(inputs, kernel, 1, "SAME")
        expected = layer.alpha * (convolved - tf.reduce_mean(convolved, -1, keepdims=True))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    for variable in (inputs, kernel, layer.alpha):
        np.testing.assert_allclose(
            tape.gradient(found, variable, upstream),
            tape.gradient(expected, variable, upstream),
            rtol=1e-3,
            atol=1e-3,
        )
    with pytest.raises(ValueError, match="centred=True with filters=1 leaves nothing"):
        conv(filters=1)


@pytest.fixture(scope="module")
def network():
    """A layer for each code, and centred ones for both levels; trained a step."""
    layers = [
        conv(centred=False, threshold=0.3),
        conv(centred=False, code="sign"),
        conv(centred=False, code="balanced_sign"),
        conv((0, 1), centred=False, code="balanced_sign"),
        conv(code="sign"),
        conv((0, 1)),
    ]
    for layer in layers[::2]:
        layer.kernel_constraint = PercentileClip(tails="upper")
    stack = [part for one in layers for part in (one, tf.keras.layers.BatchNormalization())]
    stack[2:2] = [rprelu("activation"), ChannelShift()]
    model = tf.keras.Sequential(
        [tf.keras.Input(SHAPE), *stack, tf.keras.layers.GlobalAveragePooling2D()]
    )
    optimizer = CoupledDecaySGD(
        0.1, l2=1e-3, spares_binary=True, binary_l2=1e-2, kernel_rate=2.0, name="sgd"
    )
    model.compile(optimizer, "mse")
    model.fit(IMAGES, np.eye(8), verbose=0, callbacks=[ClipAnnealing(15.0)])
    return model


def test_all_codes_are_packed(network):
    tflite = siman_larq.convert(network)
    report = siman_larq.verify(network, tflite, IMAGES)
    assert (len(report.packed), report.left_float) == (6, [])
    assert report.max_abs_difference < 1e-3


def test_all_codes_in_a_file(network, tmp_path):
    network.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(IMAGES), network(IMAGES))
    assert (loaded.optimizer.binary_l2, loaded.optimizer.kernel_rate) == (1e-2, 2.0)
    assert [layer.kernel_constraint.tails for layer in binary_layers(loaded)[:2]] == [
        "upper",
        "both",
    ]
    with pytest.raises(ValueError, match=r"binary_l2=0\.01\) on kernel(?s:.*)Leave binary_l2 out"):
        check_no_l2(loaded)


# The optimizer.


def test_decay_and_rate_of_binary_kernels():
    """Against the recurrence of PyTorch's SGD with parameter groups, over three steps."""
    layer = conv(filters=2, constraint=None)
    layer.build((None, 4, 4, 1))
    other = tf.Variable([1.0, -2.0])
    optimizer = CoupledDecaySGD(0.1, l2=0.5, spares_binary=True, binary_l2=0.2, kernel_rate=3.0)
    groups = [(layer.kernel, 0.2, 0.3), (layer.alpha, 0, 0.1), (other, 0.5, 0.1)]
    expected = []
    for variable, l2, rate in groups:
        weights, velocity = tf.convert_to_tensor(variable).numpy(), 0.0
        for _ in range(3):
            velocity = 0.9 * velocity - rate * (0.3 + l2 * weights)
            weights = weights + velocity
        expected.append(weights)
    for _ in range(3):
        gradients = [(tf.fill(one.shape, 0.3), one) for one, *_ in groups]
        optimizer.apply_gradients(gradients)
    for (variable, *_), weights in zip(groups, expected, strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(variable), weights, rtol=1e-5)


# Shifts.


def test_shifts_by_channel():
    activation, shift = rprelu("rprelu"), ChannelShift()
    np.testing.assert_array_equal(activation(IMAGES), prelu("prelu")(IMAGES))
    np.testing.assert_array_equal(shift(IMAGES), IMAGES)
    before, after = np.arange(4.0) - 1, np.arange(4.0) * 2
    activation.before.assign(before)
    activation.after.assign(after)
    shift.shift.assign(after)
    moved = IMAGES - before
    expected = np.where(moved > 0, moved, moved / 4) + after
    np.testing.assert_allclose(activation(IMAGES), expected, atol=1e-6)
    np.testing.assert_allclose(shift(IMAGES), IMAGES + after, atol=1e-6)


def test_shifts_in_a_network():
    model = build_model(Recipe("resnet20", rprelu=True, channel_shift=True), 10)
    kinds = [type(layer) for layer in model.layers]
    counts = [kinds.count(kind) for kind in (RPReLU, ChannelShift, tf.keras.layers.PReLU)]
    assert counts == [18, 18, 0]


# How it is trained.


def test_adam_moves_binary_kernels_alone():
    layer = conv(filters=2, constraint=None)
    layer.build((None, 4, 4, 1))
    start = tf.convert_to_tensor(layer.kernel)
    other, twin, kernel = (tf.Variable(start) for _ in range(3))
    settings = {"spares_binary": True, "binary_l2": 0.2, "kernel_rate": 0.01}
    optimizer = CoupledDecaySGD(0.1, l2=0.5, kernel_optimizer="adam", **settings)
    optimizer = CoupledDecaySGD.from_config(optimizer.get_config())
    adam, sgd = tf.keras.optimizers.Adam(0.001), CoupledDecaySGD(0.1, l2=0.5)
    for seed in range(3):
        gradient = tf.random.stateless_normal(start.shape, [seed, 0])
        optimizer.apply_gradients([(gradient, layer.kernel), (gradient, other)])
        adam.apply_gradients([(gradient + 0.2 * kernel, kernel)])
        sgd.apply_gradients([(gradient, twin)])
    np.testing.assert_allclose(tf.convert_to_tensor(layer.kernel), kernel, rtol=1e-5)
    np.testing.assert_array_equal(other, twin)
    with pytest.raises(ValueError, match="kernel_optimizer='adamw' is unknown"):
        CoupledDecaySGD(kernel_optimizer="adamw")


def trainable():
    """A small network with everything an optimizer may keep."""
    layers = [conv(), tf.keras.layers.GlobalAveragePooling2D(), tf.keras.layers.Dense(8)]
    model = tf.keras.Sequential([tf.keras.Input(SHAPE), *layers])
    settings = {"kernel_optimizer": "adam", "use_ema": True, "ema_momentum": 0.75}
    optimizer = CoupledDecaySGD(0.1, kernel_rate=0.1, **settings)
    model.compile(optimizer, SmoothedCrossentropy(from_logits=True, label_smoothing=0.2))
    return model


def fit(model, first, last, *callbacks):
    options = {"batch_size": 4, "shuffle": False, "verbose": 0, "callbacks": callbacks}
    return model.fit(IMAGES, np.arange(8), initial_epoch=first, epochs=last, **options)


def test_averages_and_resuming(tmp_path):
    """The averages are tested and left at the end, and a run that is cut off ends with the same."""
    unbroken, seen = trainable(), []
    (tmp_path / "run").mkdir()

    def note(*_, **__):
        seen.append(unbroken.layers[-1].kernel.numpy())

    def copy(epoch, _):
        if epoch == 0:
            shutil.copytree(tmp_path / "run", tmp_path / "cut off")

    callback = tf.keras.callbacks.LambdaCallback
    note()
    checkpoints = Checkpoints(unbroken, tmp_path / "run")
    fit(unbroken, 0, 2, callback(on_batch_end=note), checkpoints, callback(on_epoch_end=copy))
    average = seen[0]
    for weights in seen[1:]:
        average = 0.75 * average + 0.25 * weights
    np.testing.assert_allclose(unbroken.layers[-1].kernel, average, atol=1e-6)

    resumed = trainable()
    checkpoints = Checkpoints(resumed, tmp_path / "cut off")
    assert checkpoints.restore() == 1
    averaged, trained = Averaged(), resumed.get_weights()
    averaged.set_model(resumed)
    averaged.on_test_begin()
    assert np.abs(resumed.layers[-1].kernel - trained[-2]).max() > 1e-3
    np.testing.assert_array_equal(resumed.layers[0].kernel, trained[0])
    averaged.on_test_end()
    np.testing.assert_array_equal(resumed.layers[-1].kernel, trained[-2])
    fit(resumed, 1, 2, checkpoints)
    for one, other in zip(resumed.get_weights(), unbroken.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


# Two steps.


def test_schedules_of_two_steps():
    recipe = Recipe(epochs=11, warmup_epochs=2, two_steps=True)
    first, second = Recipe(epochs=5, warmup_epochs=2), Recipe(epochs=6, warmup_epochs=2)
    rates = [recipe.learning_rate_at(epoch) for epoch in range(11)]
    assert rates[:5] == [first.learning_rate_at(epoch) for epoch in range(5)]
    assert rates[5:] == [second.learning_rate_at(epoch) for epoch in range(6)]
    clip = PercentileClip()
    annealing = ClipAnnealing(10.0, first=5)
    layer = SiMaNConv2D(2, 3, kernel_constraint=clip)
    annealing.set_model(tf.keras.Sequential([tf.keras.Input(SHAPE), layer]))
    annealing.set_params({"epochs": 11})
    percents = []
    for epoch in range(5, 11):
        annealing.on_epoch_begin(epoch)
        percents.append(clip.percent)
    np.testing.assert_allclose(percents, 10 * (1 - np.arange(6) / 6), rtol=1e-6)


def test_two_steps(tmp_path, monkeypatch):
    """Real weights first, then binary ones; cut off at the border or not, with the same end."""
    monkeypatch.setattr(models, "resnet20", shallow.network)
    recipe = recipe_for(
        "fashion_mnist_mini",
        epochs=3,
        batch_size=32,
        train_examples=64,
        test_examples=32,
        binary_decay=0.01,
        two_steps=True,
    )
    images = run.load_images(recipe)
    steps = []

    class Spy(Checkpoints):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            kernel = self.model.get_layer("binary").kernel
            with lq.context.quantized_scope(True):
                values = np.unique(tf.convert_to_tensor(kernel)).size
            steps.append((values > 2, self.model.optimizer.binary_l2))
            if epoch == 0 and not (tmp_path / "cut off").exists():
                shutil.copytree(tmp_path / "run", tmp_path / "cut off")

    monkeypatch.setattr(run, "Checkpoints", Spy)
    (tmp_path / "run").mkdir()
    unbroken = run.train(recipe, tmp_path / "run", images)
    assert steps == [(True, 0.01), (False, 0), (False, 0)]
    resumed = run.train(recipe, tmp_path / "cut off", images)
    assert steps[3:] == [(False, 0), (False, 0)]
    for one, other in zip(resumed.get_weights(), unbroken.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


# A teacher.


@pytest.mark.parametrize("softmax", [False, True])
def test_teacher(tmp_path, softmax):
    """A step on its answers, against the formula; the figures are those of the labels."""

    def linear(classes, seed):
        start = tf.keras.initializers.RandomNormal(seed=seed)
        activation = "softmax" if softmax else None
        layer = tf.keras.layers.Dense(classes, activation, kernel_initializer=start)
        return tf.keras.Sequential([tf.keras.Input((5,)), layer])

    teacher, student = linear(4, 1), linear(4, 2)
    teacher.save(tmp_path / "model.keras")
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=not softmax)
    student.compile(tf.keras.optimizers.SGD(0.5), loss)
    x, y = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32), np.arange(6) % 4
    answers, kernel = (np.asarray(m.layers[0].kernel) for m in (teacher, student))
    targets = tf.nn.softmax(x @ answers / 3)
    on_labels = student.evaluate(x, y, verbose=0)
    expected = kernel - 0.5 * 3 * x.T @ (tf.nn.softmax(x @ kernel / 3) - targets) / 6
    Teacher(str(tmp_path), temperature=3.0).teach(student)
    figures = student.fit(x, y, batch_size=6, verbose=0).history
    np.testing.assert_allclose(student.layers[0].kernel, expected, atol=1e-4)
    assert figures["loss"] == [pytest.approx(on_labels, rel=1e-5)]
    with pytest.raises(ValueError, match=r"has output_shape=\(None, 4\), and .*\(None, 3\)"):
        Teacher(str(tmp_path)).teach(linear(3, 0))
    with pytest.raises(ValueError, match="holds no model.keras; give the folder of a run"):
        Teacher(str(tmp_path / "none"))


def test_float_network_teaches(tmp_path, monkeypatch):
    """By the recipe alone; what was taught is not bound to its teacher."""
    monkeypatch.setattr(models, "resnet20", shallow.network)
    settings = {"epochs": 1, "batch_size": 16, "train_examples": 16, "test_examples": 8}
    teacher = build_model(recipe_for("fashion_mnist_mini", is_float=True, **settings), 10)
    assert binary_layers(teacher) == []
    teacher.save(tmp_path / "model.keras")
    (tmp_path / "run").mkdir()
    taught = []
    teach = Teacher.teach
    monkeypatch.setattr(Teacher, "teach", lambda *args: taught.append(teach(*args)))
    recipe = recipe_for("fashion_mnist_mini", teacher=str(tmp_path), **settings)
    images = run.load_images(recipe)
    model = run.train(recipe, tmp_path / "run", images)
    assert len(taught) == 1
    assert "compute_loss" not in vars(model)
    # Nothing is left to learn, so a report that is made again needs no teacher.
    (tmp_path / "model.keras").unlink()
    run.train(recipe, tmp_path / "run", images)


def test_a_teacher_of_other_classes_or_images(tmp_path):
    data_set = {"picture_size": [28, 28], "is_grey": True, "class_names": ["cat", "dog"]}
    path = tmp_path / "input.json"
    path.write_text(json.dumps(data_set | {"is_more": 1}))
    check_classes(str(tmp_path), data_set)
    check_classes(str(path), data_set | {"class_names": ["a"]})  # of a file nothing is known
    for other, message in [
        ({"class_names": ["cat", "rat"]}, r"class_names\[1\]='dog', and .* this run 'rat'; give"),
        ({"class_names": ["dog", "cat"]}, r"has class_names\[0\]='cat', and"),
        ({"class_names": ["cat"]}, r"has class_names=\['cat', 'dog'\], and"),
        ({"is_grey": False}, r"has is_grey=True, and the data set of this run False"),
    ]:
        with pytest.raises(ValueError, match=message):
            check_classes(str(tmp_path), data_set | other)
    for damaged in ("{", "[]", "3", '["a"]'):
        path.write_text(damaged)
        with pytest.raises(ValueError, match="input.json|class_names|picture_size"):
            check_classes(str(tmp_path), data_set)
    path.unlink()
    with pytest.raises(ValueError, match=r"no input\.json that says what its classes are.*ended"):
        check_classes(str(tmp_path), data_set)


def test_a_new_run_knows_its_teacher_s_classes(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "resnet20", shallow.network)
    settings = {"epochs": 1, "batch_size": 16, "train_examples": 16, "test_examples": 8}
    recipe = recipe_for("fashion_mnist_mini", teacher=str(tmp_path), **settings)
    shallow.network().save(tmp_path / "model.keras")
    images = run.load_images(recipe)
    theirs = described(images, (32, 32, 3))
    theirs["class_names"] = theirs["class_names"][::-1]
    (tmp_path / "input.json").write_text(json.dumps(theirs))
    with pytest.raises(
        ValueError, match=r"class_names\[0\]='Ankle boot', and the data set of this"
    ):
        run.create(recipe, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    (tmp_path / "input.json").write_text(json.dumps(described(images, (32, 32, 3))))
    assert run.create(recipe, tmp_path / "runs").folder.is_dir()


def test_a_run_goes_on_with_its_own_teacher(tmp_path):
    def network(seed):
        start = tf.keras.initializers.RandomNormal(seed=seed)
        layers = [tf.keras.Input((5,)), tf.keras.layers.Dense(4, kernel_initializer=start)]
        made = tf.keras.Sequential(layers)
        made.compile("sgd", "mse")
        return made

    def kept(is_chief=True):
        teacher = Teacher(str(tmp_path))
        teacher.teach(network(3))
        teacher.keep(tmp_path, is_chief)

    network(1).save(tmp_path / "model.keras")
    kept(is_chief=False)
    assert not (tmp_path / "teacher.json").exists()
    kept()
    kept()
    network(1).save(tmp_path / "model.keras")  # as by a report that is made again
    kept(is_chief=False)
    network(2).save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="began with another teacher than .* holds now"):
        kept()
    for damaged in ('{"sha256": ', "{}", "[]"):
        (tmp_path / "teacher.json").write_text(damaged)
        with pytest.raises(ValueError, match=r"teacher\.json, which .* is damaged .*: delete it"):
            kept()


# Recipes.


def test_settings_reach_the_network():
    recipe = recipe_for(
        "cifar10",
        code="sign",
        levels=(0, 1),
        clamp="upper",
        binary_decay=1e-3,
        kernel_rate=0.5,
        centred=True,
        gradient_width=2.0,
    )
    model = build_model(recipe, 10)
    for layer in binary_layers(model):
        quantizer = layer.kernel_quantizer
        assert (quantizer.code, quantizer.levels, layer.centred) == ("sign", (0, 1), True)
        assert layer.kernel_constraint.tails == "upper"
        assert layer.input_quantizer.width == 2
    optimizer = model.optimizer
    assert (optimizer.l2, optimizer.binary_l2, optimizer.kernel_rate) == (5e-4, 1e-3, 0.5)


def test_settings_reach_a_network_of_larq_zoo():
    recipe = Recipe("BinaryAlexNet", image_size=64, code="sign", clamp="upper", levels=(0, 1))
    with pytest.raises(ValueError, match="gradient_width=2.* makes its inputs binary otherwise"):
        build_model(replace(recipe, gradient_width=2.0), 10)
    for layer in binary_layers(build_model(recipe, 10)):
        quantizer = layer.kernel_quantizer
        assert (quantizer.code, quantizer.levels) == ("sign", (0, 1))
        assert layer.kernel_constraint.tails == "upper"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"code": "signs"}, "code='signs' is unknown; use one of magnitude, sign"),
        ({"clamp": "lower"}, "clamp='lower' is unknown; use one of both, upper, none"),
        ({"code": "sign", "threshold": "angle"}, "threshold='angle' is one of magnitudes"),
        ({"binary_decay": -1.0}, r"binary_decay=-1\.0 must be at least 0"),
        ({"kernel_rate": 0.0}, r"kernel_rate=0\.0 must be above 0"),
        ({"held_out": -1}, "held_out=-1 must be at least 0"),
        ({"held_out": 5, "is_streamed": True}, "held_out=5 is for images in memory"),
        ({"centred": True, "model": "BiRealNet"}, "centred=True is for the package's own .*"),
        ({"rprelu": True, "model": "QuickNet"}, "rprelu=True is for the package's own .*"),
        ({"rprelu": True, "model": "resnet18"}, "rprelu=True is for networks with PReLU"),
        ({"kernel_optimizer": "lion"}, "kernel_optimizer='lion' is unknown; use one of sgd, adam"),
        ({"augmentation": "mirror"}, "augmentation='mirror' is unknown; use one of crop, flip, no"),
        ({"erasing": 1.5}, r"erasing=1\.5 must be from 0 to 1"),
        ({"label_smoothing": -0.1}, r"label_smoothing=-0\.1 must be from 0"),
        ({"two_steps": True, "epochs": 8}, "warmup_epochs=5 must be at least 0 and below half of"),
        ({"two_steps": True, "epochs": 1, "warmup_epochs": 0}, "needs at least two epochs"),
        ({"is_float": True, "code": "sign"}, "code='sign' is of binary layers, and is_float=True"),
        ({"is_float": True, "model": "resnet18"}, "is_float=True is not for model='resnet18'"),
        ({"teacher": "a", "label_smoothing": 0.1}, r"label_smoothing=0\.1 smooths labels, and a"),
        ({"temperature": 2.0}, r"temperature=2\.0 is that of a teacher, and there is none"),
        ({"ema": 0.9, "style": "zoo"}, r"ema=0\.9 is for the optimizer of style="),
        ({"kernel_rate": 2.0, "style": "zoo"}, r"kernel_rate=2\.0 is for the optimizer of style="),
        ({"two_steps": True, "style": "zoo"}, "two_steps=True is for the optimizer of style="),
        ({"momentum": 0.5, "style": "reactnet"}, r"momentum=0\.5 is for the optimizer of style="),
        ({"clip_start": 20.0, "clamp": "none"}, r"clip_start=20\.0 is the start of a clamp, and"),
        ({"clip_start": 20.0, "is_float": True}, r"clip_start=20\.0 is of binary layers, and is"),
        ({"clip_start": 60.0}, r"clip_start=60\.0 is out of range"),
        ({"centred": "false"}, "centred='false' must be true or false"),
        ({"two_steps": 1}, "two_steps=1 must be true or false"),
        ({"epochs": 3.5}, r"epochs=3\.5 must be a whole number"),
        ({"seed": True}, "seed=True must be a whole number"),
        ({"train_examples": 128.0}, r"train_examples=128\.0 must be a whole number or nothing"),
        ({"learning_rate": "0.1"}, r"learning_rate='0\.1' must be a number"),
        ({"dataset": 3}, "dataset=3 must be a text"),
        ({"threshold": "medain"}, "threshold='medain' is not supported; use 'median'"),
        ({"threshold": 1.5}, r"threshold=1\.5 is not supported"),
        ({"levels": (0, 0)}, r"levels=\(0, 0\) is not supported; use \(0, 1\)"),
        (
            {"style": "reactnet", "weight_decay": 0.01, "warmup_epochs": 0},
            r"weight_decay=0\.01 is for the first of two steps",
        ),
    ],
)
def test_what_a_recipe_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**settings)


def test_a_recipe_of_an_older_version(tmp_path):
    path = tmp_path / "recipe.json"
    Recipe(seed=3).save(path)
    new = {"code", "clamp", "binary_decay", "kernel_rate", "centred", "held_out"}
    new |= {"gradient_width", "rprelu", "channel_shift"}
    new |= {"kernel_optimizer", "label_smoothing", "erasing", "augmentation", "ema", "two_steps"}
    new |= {"teacher", "temperature", "is_float"}
    values = json.loads(path.read_text())
    path.write_text(json.dumps({name: values[name] for name in values.keys() - new}))
    assert Recipe.load(path) == Recipe(seed=3)


# Held-out images.


def test_held_out_images():
    whole = sd.load("fashion_mnist_mini")
    count = len(whole.train_images)
    held = sd.load("fashion_mnist_mini", train_examples=count - 900, held_out=900)
    np.testing.assert_array_equal(held.train_images, whole.train_images[:-900])
    np.testing.assert_array_equal(held.train_labels, whole.train_labels[:-900])
    np.testing.assert_array_equal(held.test_images, whole.train_images[-900:])
    np.testing.assert_array_equal(held.test_labels, whole.train_labels[-900:])
    fewer = sd.load("fashion_mnist_mini", train_examples=8, test_examples=20, held_out=900)
    np.testing.assert_array_equal(fewer.train_images, whole.train_images[:8])
    np.testing.assert_array_equal(fewer.test_images, whole.train_images[-900:-880])
    with pytest.raises(ValueError, match=f"train_examples={count - 49} and held_out=50 overlap"):
        sd.load("fashion_mnist_mini", train_examples=count - 49, held_out=50)
    with pytest.raises(ValueError, match="held_out=50: the last 50 .* show no .*Trouser"):
        sd.load("fashion_mnist_mini", held_out=50)
    with pytest.raises(ValueError, match=f"held_out={count}: fashion_mnist_mini has {count}"):
        sd.load("fashion_mnist_mini", held_out=count)


def test_a_report_says_what_it_is_tested_on():
    figures = {"test_images": 5000, "keras_accuracy": 0.5, "keras_top5": None}
    recipe = Recipe(held_out=5000, binary_decay=1e-4)
    figures |= {"training_seconds": 0, "recipe": asdict(recipe)}
    table = text.table(figures)
    assert "accuracy, Keras, 5,000 held-out training images  50.00%" in table
    assert "l2 on binary kernels" in table
    assert "0.0001" in table


# Random erasing.


def pixels(**settings):
    images = np.full((64, 20, 24, 3), 255, np.uint8)
    data = sd.ImageData("x", images, np.zeros(64), images[:1], [0], 2, ("a", "b"), "here")
    options = {"batch_size": 32, "image_shape": (20, 24, 3), "first_epoch": 0}
    options |= {"augmentation": "none"}
    return [x.numpy() for x, _ in sd.train_batches(data, epochs=4, **options, **settings)]


def test_erasing():
    batches, white = pixels(seed=3, erasing=0.5), pixels(seed=3)[0][0]
    areas = []
    for image in np.concatenate(batches):
        black = ~np.isclose(image, white, atol=1e-6).all(-1)
        rows, columns = black.any(1), black.any(0)
        np.testing.assert_array_equal(black, rows[:, None] & columns[None])
        for inside in (np.flatnonzero(rows), np.flatnonzero(columns)):
            assert (np.diff(inside) == 1).all()
        areas.append(black.mean())
        if areas[-1]:
            assert 0.2 < rows.sum() / columns.sum() < 5  # 0.3 to 1 / 0.3, but for rounding
    erased = np.array([area for area in areas if area])
    assert 0.4 < len(erased) / len(areas) < 0.6
    assert 0.01 < erased.min() < 0.06
    assert 0.3 < erased.max() < 0.45
    np.testing.assert_allclose(erased.mean(), 0.21, atol=0.03)
    np.testing.assert_array_equal(batches, pixels(seed=3, erasing=0.5))
    assert np.abs(np.subtract(batches, pixels(seed=4, erasing=0.5))).max() > 1


def test_smoothed_labels(tmp_path):
    loss = SmoothedCrossentropy(from_logits=True, label_smoothing=0.2)
    logits, labels = (
        np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32),
        np.arange(5) % 4,
    )
    targets = 0.8 * np.eye(4)[labels] + 0.05
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    for given in (labels, labels[:, None]):
        np.testing.assert_allclose(loss(given, logits), -(targets * logs).sum(1).mean(), rtol=1e-5)
    model = tf.keras.Sequential([tf.keras.layers.Dense(4, input_shape=(3,))])
    model.compile(loss=loss)
    model.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras").loss
    np.testing.assert_array_equal(loaded(labels, logits), loss(labels, logits))


# Batches within one graph.


def test_batches_of_one_compiled_graph():
    """Seed, epoch and step may be tensors, and XLA compiles it all."""
    images = np.random.default_rng(2).integers(0, 256, (11, 6, 5, 1), np.uint8)
    labels = np.arange(11) % 3
    data = sd.ImageData("x", images, labels, images[:1], labels[:1], 3, ("a", "b", "c"), "here")

    @tf.function(jit_compile=True)
    def batch(seed, epoch, step):
        order = tf.reshape(pipeline.epoch_order(11, 8, seed, epoch), [2, 4])
        return pipeline.training_batch(
            tf.constant(images),
            tf.constant(labels),
            order[step],
            seed,
            epoch,
            step,
            (6, 6, 3),
            erasing=0.5,
        )

    expected = sd.train_batches(
        data, batch_size=4, image_shape=(6, 6, 3), seed=-5, first_epoch=0, epochs=2, erasing=0.5
    )
    for number, (x, y) in enumerate(expected):
        found = batch(*(tf.constant(n, tf.int64) for n in (-5, number // 2, number % 2)))
        np.testing.assert_array_equal(found[1], y)
        np.testing.assert_allclose(found[0], x, atol=1e-6)
