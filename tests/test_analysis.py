"""The codes of models, and their log while a model is trained."""

import csv
import io
import warnings

import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from siman_larq import SiMaNConv2D, SiMaNQuantizer, analysis
from siman_larq.analysis import CodeLog, activations, codes
from siman_larq.analysis import statistics as s
from siman_larq.analysis.activations import MARGIN_EDGES
from siman_larq.conversion.patches import patched
from siman_larq.filters import to_columns
from siman_larq.training import make_strategy

L = tf.keras.layers
CLIP = {"kernel_constraint": "weight_clip"}


def every_kind():
    """Layers nested, shared, wrapped and of one's own, with filters along other axes."""

    class Own(L.Layer):
        def __init__(self):
            super().__init__(name="own")
            self.parts = [lq.layers.QuantConv2D(4, 1, kernel_quantizer="siman", name="part")]

        def call(self, inputs):
            return self.parts[0](inputs)

    inner = tf.keras.Sequential(
        [
            L.Input((8, 8, 3)),
            SiMaNConv2D(4, 3, name="same"),
            lq.layers.QuantDepthwiseConv2D(3, depthwise_quantizer="siman", name="depthwise"),
        ]
    )
    shared = lq.layers.QuantConv2D(3, 3, padding="same", kernel_quantizer="ste_sign", name="same")
    inputs = L.Input((8, 8, 3))
    x = Own()(inner(shared(shared(inputs))))
    x = lq.layers.QuantSeparableConv2D(
        5, 3, depthwise_quantizer="ste_sign", pointwise_quantizer="siman_pm1", name="separable"
    )(x)
    x = lq.layers.QuantConv2DTranspose(6, 3, kernel_quantizer="siman", name="transposed")(x)
    x = L.TimeDistributed(
        lq.layers.QuantConv1D(4, 3, kernel_quantizer="magnitude_aware_sign", name="wrapped")
    )(x)
    x = lq.layers.QuantDense(7, kernel_quantizer="ste_tern", name="ternary")(L.Flatten()(x))
    model = tf.keras.Model(inputs, L.Dense(2)(x))
    model(np.ones((1, 8, 8, 3), np.float32))
    return model


class TestCodes:
    def test_every_kind_of_layer(self):
        model = every_kind()
        with pytest.warns(UserWarning, match="left out ternary, whose quantizer"):
            found = {layer.name: layer for layer in codes(model)}
        shapes = {name: layer.code.shape for name, layer in found.items()}
        assert shapes == {
            "same": (27, 3),
            "same (2)": (27, 4),
            "depthwise": (9, 4),
            "part": (4, 4),
            "separable/depthwise_kernel": (9, 4),
            "separable/pointwise_kernel": (4, 5),
            "transposed": (45, 6),
            "wrapped": (18, 4),
        }
        assert found["same (2)"].levels == (-1, 1)
        assert found["depthwise"].levels == (0, 1)
        assert found["wrapped"].levels[0] == -found["wrapped"].levels[1] != -1
        for name in ("same (2)", "depthwise", "part", "transposed"):
            np.testing.assert_array_equal(found[name].code, s.median_code(found[name].weights))
        for name in ("same", "wrapped"):
            np.testing.assert_array_equal(found[name].code, s.signs(found[name].weights))
        kernel = model.get_layer("transposed").kernel.latent_variable
        np.testing.assert_array_equal(
            found["transposed"].weights, to_columns(tf.convert_to_tensor(kernel), (-2,))
        )

    def test_mixed_precision_has_the_codes_that_its_layers_have(self):
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
        conv = lq.layers.QuantConv2D(8, 3, kernel_quantizer="siman", use_bias=False)
        model = tf.keras.Sequential([L.Input((9, 9, 40)), conv])
        seen = []
        with patched([(conv, "convolution_op", lambda x, kernel: seen.append(kernel + 0) or x)]):
            conv(tf.zeros([1, 9, 9, 40]))
        (layer,) = codes(model)
        expected = to_columns(tf.cast(seen[0], tf.float32)).numpy() > 0
        np.testing.assert_array_equal(layer.code, expected)
        # Rounded magnitudes tie at the threshold.
        assert (layer.code != s.median_code(layer.weights)).any()

    def test_summary_is_the_mean_over_filters(self):
        model = tf.keras.Sequential([L.Input((8, 8, 3)), SiMaNConv2D(5, 3, name="conv")])
        (layer,) = codes(model)
        summary = layer.summary()
        assert summary["share_of_ones"] == pytest.approx(13 / 27)
        expected = -(13 * np.log2(13 / 27) + 14 * np.log2(14 / 27)) / 27
        assert summary["entropy"] == pytest.approx(expected)
        assert summary["angle"] == summary["angle_median"] == pytest.approx(layer.angle.mean())
        assert summary["angle_optimal"] <= summary["angle"]
        assert summary["beta"] == np.median(layer.fits.beta)
        assert summary["laplace_gap"] == pytest.approx(layer.fits.gap.mean())
        model.layers[0].kernel.latent_variable.assign(np.full((3, 3, 3, 5), 0.5))
        assert np.isnan(codes(model)[0].summary()["beta"])

    def test_what_cannot_be_looked_at(self):
        with pytest.raises(TypeError, match=r"model=3 is no tf\.keras\.Model"):
            codes(3)
        with pytest.raises(ValueError, match="not built"):
            codes(tf.keras.Sequential([SiMaNConv2D(5, 3)]))
        model = tf.keras.Sequential([L.Input((8, 8, 3)), SiMaNConv2D(5, 3, name="conv")])
        model.layers[0].kernel.latent_variable.assign(np.full((3, 3, 3, 5), np.nan))
        with pytest.raises(ValueError, match="135 of the 135 weights of conv are NaN"):
            codes(model)
        assert codes(tf.keras.Sequential([L.Input((3,)), L.Dense(2)])) == []

    def test_kernels_that_are_not_laid_out_by_filters(self):
        local = lq.layers.QuantLocallyConnected2D(
            2, 3, implementation=2, kernel_quantizer="ste_sign", name="local"
        )
        model = tf.keras.Sequential([L.Input((8, 8, 3)), SiMaNConv2D(5, 3, name="conv"), local])
        with pytest.warns(UserWarning, match="left out local, .* is not laid out by filters"):
            assert [layer.name for layer in codes(model)] == ["conv"]


IMAGES = np.random.default_rng(0).normal(size=(64, 6, 6, 3)).astype(np.float32)
LABELS = np.arange(64) % 4


def network(metrics=None):
    tf.keras.utils.set_random_seed(0)
    quantizer = SiMaNQuantizer(levels=(-1, 1), metrics=metrics)
    model = tf.keras.Sequential(
        [
            L.Input((6, 6, 3)),
            SiMaNConv2D(8, 3, name="a", kernel_quantizer=quantizer),
            L.BatchNormalization(),
            lq.layers.QuantConv2D(8, 3, name="b", kernel_quantizer="ste_sign", **CLIP),
            L.Flatten(),
            L.Dense(4),
        ]
    )
    return model


def fitted(model, *callbacks, epochs=2, first=0, **settings):
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if model.optimizer is None:
        model.compile(tf.keras.optimizers.SGD(0.01, momentum=0.9), loss, **settings)
    history = model.fit(
        IMAGES,
        LABELS,
        batch_size=16,
        epochs=epochs,
        initial_epoch=first,
        shuffle=False,
        verbose=0,
        callbacks=[*callbacks],
    )
    return history.history


class ByHand(tf.keras.callbacks.Callback):
    """The codes after every step."""

    def on_train_begin(self, logs=None):
        self.seen = [codes(self.model)]

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(codes(self.model))

    def bits(self):
        return np.array([np.concatenate([c.code.ravel() for c in codes]) for codes in self.seen])


class TestCodeLog:
    @pytest.fixture(scope="class")
    def trained(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("log")
        model = network(metrics=["flip_ratio"])
        by_hand = ByHand()
        logger = tf.keras.callbacks.CSVLogger(folder / "history.csv")
        log = CodeLog(folder)
        history = fitted(model, log, logger, by_hand)
        return folder, model, history, by_hand, log

    def test_training_is_the_same_bit_for_bit_and_so_are_its_metrics(self, trained):
        _, model, history, *_ = trained
        alone = network(metrics=["flip_ratio"])
        expected = fitted(alone)
        for ours, weights in zip(model.get_weights(), alone.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, weights)
        assert history["loss"] == expected["loss"]
        (ratio,) = (values for name, values in expected.items() if "flip_ratio" in name)
        (ours,) = (values for name, values in history.items() if "flip_ratio" in name)
        assert ours == ratio
        assert max(ratio) > 0

    def test_figures_are_those_of_the_codes_by_hand(self, trained):
        _, model, history, by_hand, _ = trained
        changed = by_hand.bits()[1:] != by_hand.bits()[:-1]
        per_epoch = changed.reshape(2, 4, -1).sum(axis=1)
        assert history["flips"] == pytest.approx(per_epoch.mean(axis=1))
        assert history["flips"][0] > 0
        never = [1 - changed[:steps].any(axis=0).mean() for steps in (4, 8)]
        assert history["never_flipped"] == pytest.approx(never)
        last = [layer.summary() for layer in codes(model)]
        for name in ("entropy", "sign_entropy", "beta", "angle"):
            assert history[name][-1] == pytest.approx(np.mean([row[name] for row in last]))

    def test_csv_has_a_row_for_every_epoch_and_layer(self, trained):
        folder, model, history, *_ = trained
        with open(folder / "codes.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [(row["epoch"], row["layer"]) for row in rows] == [
            ("0", "a"), ("0", "b"), ("1", "a"), ("1", "b"),
        ]  # fmt: skip
        for layer, row in zip(codes(model), rows[2:], strict=True):
            for name, value in layer.summary().items():
                assert float(row[name]) == pytest.approx(value), name
        with open(folder / "history.csv", newline="") as file:
            logged = list(csv.DictReader(file))
        assert [float(row["flips"]) for row in logged] == history["flips"]

    def test_tensorboard_has_the_same(self, trained):
        folder, _, history, *_ = trained
        (path,) = (folder / "tensorboard" / "codes").iterdir()
        seen = {}
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                seen[value.tag, event.step] = tf.make_ndarray(value.tensor).item()
        entropy = [np.mean([seen[f"entropy/{name}", epoch] for name in "ab"]) for epoch in (0, 1)]
        assert entropy == pytest.approx(history["entropy"], abs=1e-6)

    def test_goes_on_where_a_checkpoint_has_what_flipped(self, trained, tmp_path):
        whole = fitted(network(), CodeLog(tmp_path / "whole"), epochs=3)
        model, log = network(), CodeLog(tmp_path / "cut")
        fitted(model, log)
        path = tf.train.Checkpoint(flipped=log.flipped).write(str(tmp_path / "state"))
        again, unknown = CodeLog(tmp_path / "cut"), CodeLog()
        tf.train.Checkpoint(flipped=again.flipped).read(path).assert_consumed()
        weights, state = model.get_weights(), model.optimizer.variables()
        state = [variable.numpy() for variable in state]
        rest = fitted(model, again, first=2, epochs=3)
        assert rest["never_flipped"] == whole["never_flipped"][2:]
        assert rest["flips"] == whole["flips"][2:]
        texts = [(tmp_path / name / "codes.csv").read_text() for name in ("whole", "cut")]
        assert texts[0] == texts[1]
        model.set_weights(weights)
        for variable, value in zip(model.optimizer.variables(), state, strict=True):
            variable.assign(value)
        rest = fitted(model, unknown, first=2, epochs=3)
        assert rest["flips"] == whole["flips"][2:]
        assert np.isnan(rest["never_flipped"]).all()
        rest = fitted(model, CodeLog(first_epoch=3), first=3, epochs=4)
        assert np.isfinite(rest["never_flipped"]).all()

    def test_several_steps_at_a_time(self):
        with pytest.warns(UserWarning, match="steps_per_execution"):
            history = fitted(network(), CodeLog(), steps_per_execution=2)
        assert np.isnan(history["flips"]).all()
        assert np.isnan(history["never_flipped"]).all()
        assert np.isfinite(history["entropy"]).all()

    @pytest.mark.slow
    def test_on_two_devices(self):
        with make_strategy("mirrored").scope():
            model = network()
        by_hand = ByHand()
        history = fitted(model, CodeLog(), by_hand)
        changed = by_hand.bits()[1:] != by_hand.bits()[:-1]
        per_epoch = changed.reshape(2, 4, -1).sum(axis=1)
        assert history["flips"] == pytest.approx(per_epoch.mean(axis=1))

    def test_a_table_that_somebody_wrote_in(self, tmp_path):
        fitted(network(), CodeLog(tmp_path), epochs=1)
        table = tmp_path / "codes.csv"
        names, *rows = table.read_text().splitlines()
        noted = [f"{row},looks well" for row in rows]
        table.write_text("\ufeff" + "\n".join([f"{names},note", *noted]) + "\n")
        fitted(network(), CodeLog(tmp_path), epochs=2, first=1)
        with open(table, newline="") as file:
            found = list(csv.DictReader(file))
        assert [row["epoch"] for row in found] == ["0", "0", "1", "1"]
        assert [row["note"] for row in found] == ["looks well", "looks well", "", ""]

    @pytest.mark.parametrize("text", ["a,b\n1,2\n", "epoch,layer\nx,a\n", "epoch,layer\n0\n"])
    def test_another_table_is_refused_before_an_epoch_is_lost(self, text, tmp_path):
        (tmp_path / "codes.csv").write_text(text)
        model, counter = network(), ByHand()
        with pytest.raises(ValueError, match="codes.csv is damaged or no file of CodeLog's"):
            fitted(model, CodeLog(tmp_path), counter, epochs=2, first=1)
        assert len(counter.seen) == 1
        assert (tmp_path / "codes.csv").read_text() == text

    def test_no_binary_layer(self, tmp_path):
        model = tf.keras.Sequential([L.Input((6, 6, 3)), L.Flatten(), L.Dense(4)])
        assert list(fitted(model, CodeLog(tmp_path))) == ["loss"]
        assert list(tmp_path.iterdir()) == []


class TestActivations:
    def test_figures_are_those_of_the_inputs(self):
        """Of a layer within a model within another, called twice."""
        sign = {"input_quantizer": "sample_sign", "kernel_quantizer": "siman"}
        conv = lq.layers.QuantConv2D(3, 3, padding="same", use_bias=False, name="conv", **sign)
        inner = tf.keras.Sequential([L.Input((6, 6, 3)), conv])
        inputs = L.Input((6, 6, 3))
        model = tf.keras.Model(inputs, inner(inner(inputs)))
        (found,) = activations(model, IMAGES[:20], batch_size=20)
        middle = inner(IMAGES[:20]).numpy()
        values = [IMAGES[:20], middle]
        signs = [x - x.mean(axis=(1, 2, 3), keepdims=True) for x in values]
        expected = np.mean([s.balance(x) for x in signs], axis=0)
        np.testing.assert_allclose(found.balance, expected, atol=1e-6)
        assert not found.dead.any()
        margins = np.concatenate([s.margins(x)[0].ravel() for x in values])
        above = found.margins[MARGIN_EDGES[:-1] > 0.99].sum()
        assert above == np.count_nonzero(margins >= 1)
        assert found.margins.sum() == margins.size
        assert found.within_rounding == np.mean([s.margins(x)[1].mean() for x in values])
        outputs = [middle, inner(middle).numpy()]
        expected = np.mean([s.common_share(x) for x in outputs])
        assert found.common_share == pytest.approx(expected, rel=1e-4)

    def test_levels_0_1_have_a_common_mode(self):
        layers = {}
        for name in ("siman", "siman_pm1"):
            tf.keras.utils.set_random_seed(0)
            conv = SiMaNConv2D(64, 3, kernel_quantizer=name)
            (layers[name],) = activations(tf.keras.Sequential([L.Input((6, 6, 3)), conv]), IMAGES)
        # Inputs are independent: half of the variance is that of their sum.
        assert layers["siman"].common_share == pytest.approx(0.5, abs=0.05)
        assert layers["siman_pm1"].common_share < 0.1

    def test_dead_channels_and_other_thresholds(self):
        class Above(lq.quantizers.Quantizer):
            precision = 1

            def call(self, inputs):
                return lq.math.sign(inputs - 0.5)

        def dense(quantizer, name):
            return lq.layers.QuantDense(2, input_quantizer=quantizer, name=name)

        inputs = L.Input((4,))
        x = dense("ste_sign", "sign")(inputs), dense(Above(), "above")(inputs)
        with_bits = dense(lq.quantizers.DoReFa(2, mode="activations"), "bits")(inputs)
        model = tf.keras.Model(inputs, [*x, with_bits, L.Dense(1)(inputs)])
        images = np.array([[0.1, -1, 2, 0], [0.2, -1, -2, 0]], np.float32)
        with pytest.warns(UserWarning, match="left out bits, whose input_quantizer"):
            found = {layer.name: layer for layer in activations(model, images)}
        assert set(found) == {"sign", "above"}
        sign, above = found["sign"], found["above"]
        assert sign.dead.tolist() == [True, True, False, True]
        assert sign.balance.tolist() == [1, 0, 0.5, 1]
        assert sign.within_rounding == 0.25
        assert sign.summary()["dead"] == 0.75
        assert above.balance.tolist() == [0, 0, 0.5, 0]
        assert above.margins is None
        assert np.isnan(above.within_rounding)

    def test_nothing_is_left_behind(self):
        model = network(metrics=["flip_ratio"])
        before = [weight.copy() for weight in model.get_weights()]
        state = {name: dict(vars(layer)) for name, layer in enumerate(model.layers)}
        activations(model, IMAGES[:4])
        for ours, weight in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(ours, weight)
        for name, layer in enumerate(model.layers):
            assert set(vars(layer)) == set(state[name])
        assert not tf.config.functions_run_eagerly()

    def test_no_images(self):
        with pytest.raises(ValueError, match="images is empty"):
            activations(network(), IMAGES[:0])
        with pytest.raises(TypeError, match="model=None"):
            activations(None, IMAGES)
        dataset = tf.data.Dataset.from_tensor_slices(IMAGES)
        with pytest.raises(TypeError, match="is not supported; give an array with an image in"):
            activations(network(), dataset)

    @pytest.mark.parametrize("size", [0, -1, 2.5, True])
    def test_no_batch_size(self, size):
        with pytest.raises(ValueError, match=f"batch_size={size} must be a whole number"):
            activations(network(), IMAGES, batch_size=size)

    def test_inputs_of_different_lengths(self):
        inputs = L.Input((6, 6, 3)), L.Input((6, 6, 3))
        model = tf.keras.Model(inputs, [SiMaNConv2D(2, 3)(x) for x in inputs])
        assert len(activations(model, [IMAGES[:4], IMAGES[:4]])) == 2
        with pytest.raises(ValueError, match=r"inputs of \[4, 40\] images"):
            activations(model, [IMAGES[:4], IMAGES[:40]])

    def test_what_has_no_sign(self):
        images = IMAGES[:8].copy()
        images[3, 0, 0, 0] = np.nan
        with pytest.raises(ValueError, match="1 of 864 inputs of layer 'a' are NaN or infinite"):
            activations(network(), images)


class TestFigures:
    def texts(self, figure):
        axes = figure.get_axes()
        return [text for axis in axes for text in (axis.get_title(), axis.get_ylabel())]

    def test_a_part_for_each_layer(self):
        model = network()
        for plot in (analysis.plot_weights, analysis.plot_angles):
            figure = plot(codes(model))
            figure.savefig(io.BytesIO())
            names = [text.partition("\n")[0] for text in self.texts(figure) if text]
            assert names == ["a", "b"]

    def test_lines_are_the_fits_and_the_curve(self):
        (layer, _) = codes(network())
        axis = analysis.plot_weights([layer]).get_axes()[0]
        lines = {line.get_label(): line.get_data() for line in axis.get_lines()}
        assert set(lines) == {"Laplace", "Gauss", "generalised normal"}
        z, density = lines["Gauss"]
        np.testing.assert_allclose(density, np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), rtol=1e-6)
        axis = analysis.plot_angles([layer]).get_axes()[0]
        curve, median, best = axis.get_lines()
        np.testing.assert_allclose(curve.get_ydata(), s.angle_curve(layer.weights).mean(axis=1))
        assert median.get_xdata()[0] == pytest.approx(layer.share_of_ones.mean())
        assert best.get_xdata()[0] == pytest.approx(layer.best_fraction.mean())

    def test_epochs_of_a_history(self):
        row = {"epoch": "0", "entropy": "1.0", "beta": "2.0", "flips": "", "angle": "nan"}
        figure = analysis.plot_epochs([row, {"epoch": "1"}])
        figure.savefig(io.BytesIO())
        entropy = figure.get_axes()[0].get_lines()[0]
        assert entropy.get_xdata().tolist() == [1, 2]
        np.testing.assert_array_equal(entropy.get_ydata(), [1, np.nan])

    def test_margins(self):
        layers = activations(network(), IMAGES[:4])
        figure = analysis.plot_margins(layers)
        figure.savefig(io.BytesIO())
        (stairs,) = figure.get_axes()[0].patches
        assert stairs.get_data().values.sum() == pytest.approx(1)

    def test_nothing_to_draw(self):
        model = tf.keras.Sequential([L.Input((6, 6, 3)), SiMaNConv2D(2, 3)])
        model.layers[0].kernel.latent_variable.assign(np.ones((3, 3, 3, 2)))
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            for layers in ([], codes(model)):
                analysis.plot_weights(layers).savefig(io.BytesIO())
                analysis.plot_angles(layers).savefig(io.BytesIO())
            analysis.plot_epochs([]).savefig(io.BytesIO())
            analysis.plot_margins([]).savefig(io.BytesIO())
