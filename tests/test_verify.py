"""`verify` says of every kind of model whether a file equals it."""

import numpy as np
import pytest
import tensorflow as tf

from siman_larq import verify
from siman_larq.conversion import comparison

layers = tf.keras.layers


def file_of(model):
    """Of TensorFlow's own converter, whose outputs and inputs stand in another order than ours."""
    return tf.lite.TFLiteConverter.from_keras_model(model).convert()


def randomised(model, seed=0):
    draw = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(draw.normal(size=weight.shape))
    return model


def images(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def dense(units, name=None, activation=None, shape=(4,)):
    """A model that is one layer."""
    layer = layers.Dense(units, activation, name=name)
    return randomised(tf.keras.Sequential([tf.keras.Input(shape), layer]))


@pytest.fixture(scope="module")
def two_by_two():
    """Two inputs and two outputs of equal shapes, so that only names tell them apart."""
    later, earlier = tf.keras.Input((3,), name="later"), tf.keras.Input((3,), name="earlier")
    x = layers.Concatenate()([later, layers.Lambda(lambda x: 2 * x)(earlier)])
    outputs = [layers.Dense(3, name="second")(x), layers.Dense(3, name="first")(x)]
    model = randomised(tf.keras.Model([later, earlier], outputs))
    return model, file_of(model)


# What disagrees -------------------------------------------------------------------------------


def test_a_single_sigmoid_output_has_no_classes():
    model = dense(1, activation="sigmoid")
    report = verify(model, file_of(model), images(8, 4))
    assert (report.agreement, report.agrees) == (None, True)
    assert "no classes" in str(report)
    report = verify(
        model, file_of(randomised(model.__class__.from_config(model.get_config()), 7)), images(8, 4)
    )
    assert (report.agreement, report.agrees) == (None, False)
    assert report.outputs[0].equal < 1
    assert "NO" in str(report)


def test_nan_is_a_disagreement():
    model = dense(3)
    model.layers[0].bias.assign([np.nan, 0.0, 1.0])
    report = verify(model, file_of(model), images(5, 4))
    assert (report.agrees, report.agreement, report.outputs[0].not_finite) == (False, 0.0, 5)
    assert report.max_abs_difference == np.inf
    assert "NaN" in str(report)


def test_infinite_values_of_one_image_are_a_disagreement():
    model = dense(2)
    given = images(4, 4)
    given[1] = np.inf
    report = verify(model, file_of(model), given)
    assert not report.agrees
    assert (report.agreement, report.outputs[0].equal) == (0.75, 0.75)


def test_files_of_other_shapes():
    model = dense(3, name="scores")
    with pytest.raises(ValueError, match=r"'scores' has the shape \(3,\).*\(1,\) in the file"):
        verify(model, file_of(dense(1, name="scores")), images(2, 4))
    with pytest.raises(ValueError, match=r"\(4,\).*\(5,\) in the file"):
        verify(model, file_of(dense(3, shape=(5,))), images(2, 4))


def test_files_of_other_names(two_by_two):
    a, b = (tf.keras.Input((3,), name=name) for name in ("later", "earlier"))
    outputs = [layers.Dense(3, name=name)(layers.Add()([a, b])) for name in ("second", "third")]
    with pytest.raises(ValueError, match=r"'first'.*'third'"):
        verify(tf.keras.Model([a, b], outputs), two_by_two[1], [images(2, 3), images(2, 3)])


def test_one_differing_output_of_two(two_by_two):
    model, _ = two_by_two
    other = tf.keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    other.get_layer("first").bias.assign_add([0.0, 0.0, 100.0])
    report = verify(model, file_of(other), [images(6, 3), images(6, 3, seed=2)])
    assert [output.name for output in report.outputs] == ["second", "first"]
    assert [output.agrees for output in report.outputs] == [True, False]
    assert (report.agrees, report.outputs[0].agreement) == (False, 1.0)
    assert report.agreement == report.outputs[1].agreement < 1
    assert report.max_abs_difference == pytest.approx(100, rel=1e-3)


# What agrees ----------------------------------------------------------------------------------


def test_inputs_and_outputs_go_by_name(two_by_two):
    model, tflite = two_by_two
    later, earlier = images(6, 3), images(6, 3, seed=2)
    for given in ([later, earlier], (later, earlier), {"earlier": earlier, "later": later}):
        report = verify(model, tflite, given)
        assert report.agrees
        assert report.agreement == 1
    assert set(report.keras_outputs) == {"second", "first"}
    expected = model.predict([later, earlier], verbose=0)
    np.testing.assert_allclose(report.tflite_outputs["second"], expected[0], rtol=1e-4, atol=1e-4)
    text = str(report)
    assert "second: agreement of top-1" in text
    assert "first: largest difference" in text
    with pytest.raises(ValueError, match=r"'latest'.*'later'"):
        verify(model, tflite, {"earlier": earlier, "latest": later})
    with pytest.raises(ValueError, match=r"3 arrays.*2 inputs: later, earlier"):
        verify(model, tflite, [later, earlier, later])
    with pytest.raises(ValueError, match=r"ndarray.*2 inputs"):
        verify(model, tflite, later)
    with pytest.raises(ValueError, match=r"\[6, 5\] images"):
        verify(model, tflite, [later, earlier[:5]])


def test_dicts_of_inputs_and_outputs():
    a, b = tf.keras.Input((4,), name="x"), tf.keras.Input((4,), name="y")
    outputs = {"z": layers.Dense(2)(a), "c": layers.Dense(5)(b)}
    model = randomised(tf.keras.Model({"q": a, "p": b}, outputs))
    report = verify(model, file_of(model), {"q": images(3, 4), "p": images(3, 4, seed=2)})
    assert [(output.name, output.shape) for output in report.outputs] == [("c", (5,)), ("z", (2,))]
    assert report.agrees


@pytest.mark.parametrize("runtime", ["lce", "siman"])
def test_open_sizes(runtime):
    if runtime == "siman":
        pytest.importorskip("siman_runtime")
    convolution = layers.Conv2D(4, 3)
    pool = layers.GlobalAveragePooling2D()
    model = randomised(tf.keras.Sequential([tf.keras.Input((None, None, 3)), convolution, pool]))
    tflite = file_of(model)
    for size in (8, 11):
        report = verify(model, tflite, images(3, size, size + 1, 3), runtime=runtime)
        assert report.agrees
        assert report.outputs[0].shape == (4,)


def test_a_fixed_batch_is_filled_up():
    model = randomised(tf.keras.Sequential([tf.keras.Input((4,), 4), layers.Dense(3)]))
    report = verify(model, file_of(model), images(10, 4))
    assert report.agrees
    assert report.images == len(report.keras_outputs) == len(report.tflite_outputs) == 10


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_integer_inputs(dtype):
    inputs = tf.keras.Input((4,), dtype=dtype)
    model = randomised(tf.keras.Model(inputs, layers.Dense(3)(layers.Rescaling(1 / 255)(inputs))))
    tflite = file_of(model)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4))
    for given in (pixels.astype(dtype), pixels, pixels.astype(np.float32)):
        assert verify(model, tflite, given).agrees
    with pytest.raises(ValueError, match=rf"float64 are no {dtype}.*change values"):
        verify(model, tflite, pixels / 255)


def test_pixels_become_floats_as_in_keras():
    model = dense(3)
    tflite = file_of(model)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4), np.uint8)
    report = verify(model, tflite, pixels)
    assert report.agrees
    np.testing.assert_allclose(report.keras_outputs, model.predict(pixels, verbose=0), rtol=1e-5)
    for given in ([pixels], list(pixels), pixels.astype(np.float64), tf.constant(pixels)):
        np.testing.assert_array_equal(
            verify(model, tflite, given).keras_outputs, report.keras_outputs
        )


@pytest.mark.parametrize(
    ("policy", "tolerance"), [("mixed_float16", 2**-8), ("mixed_bfloat16", 2**-5)]
)
def test_half_precision(policy, tolerance):
    model = tf.keras.Sequential([tf.keras.Input((4,)), layers.Dense(3, dtype=policy)])
    report = verify(randomised(model), file_of(dense(3)), images(5, 4))
    assert report.agrees
    assert report.tolerance == tolerance
    assert report.max_abs_difference > 0


def test_inputs_of_a_type_that_no_file_has():
    model = tf.keras.Sequential([tf.keras.Input((4,), dtype="float16"), layers.Dense(3)])
    with pytest.raises(ValueError, match=r"input of dtype float16.*dtype='float32'"):
        verify(model, file_of(dense(3)), images(2, 4))


def test_integer_outputs_must_be_the_same():
    inputs = tf.keras.Input((4,))
    scores = layers.Dense(3)(inputs)
    model = randomised(tf.keras.Model(inputs, tf.argmax(scores, axis=-1)))
    report = verify(model, file_of(model), images(9, 4))
    assert (report.agrees, report.agreement) == (True, None)
    other = tf.keras.models.clone_model(model)
    other.set_weights([-w for w in model.get_weights()])
    assert verify(model, file_of(other), images(9, 4)).outputs[0].equal < 0.5


def test_outputs_without_an_axis_of_images():
    inputs = tf.keras.Input((4,))
    total = layers.Lambda(lambda x: tf.reduce_sum(x))(inputs)
    model = randomised(tf.keras.Model(inputs, [layers.Dense(3)(inputs), total]))
    assert verify(model, file_of(model), images(5, 4)).agrees


def rows_of_four(units, batch_size=None):
    inputs = tf.keras.Input((4,), batch_size)
    rows = layers.Lambda(lambda x: tf.reshape(x, (-1, 4)), name="rows")
    return randomised(tf.keras.Model(inputs, rows(layers.Dense(units)(inputs))))


def test_rows_that_belong_to_no_image():
    model = rows_of_four(8)
    other = tf.keras.models.clone_model(model)
    other.set_weights([np.where(np.arange(8) < 4, w, -w) for w in model.get_weights()])
    for count, said in ((1, "2 rows for 1 images"), (6, "12 rows for 6 images")):
        with pytest.raises(ValueError, match=f"'rows' has {said}, so.*fix the batch size"):
            verify(other, file_of(model), images(count, 4))
    with pytest.raises(ValueError, match="8 rows for 4 images in the file.*of another model"):
        verify(rows_of_four(4), file_of(model), images(6, 4), batch_size=4)
    fixed, other = rows_of_four(8, 4), rows_of_four(8, 4)
    assert verify(fixed, file_of(fixed), images(6, 4)).agrees
    other.set_weights([np.where(np.arange(8) < 4, w, -w) for w in fixed.get_weights()])
    assert not verify(other, file_of(fixed), images(6, 4)).agrees


def test_maps_have_a_top_1_per_pixel():
    model = dense(3, shape=(2, 2, 4))
    other = tf.keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    assert verify(model, file_of(model), images(5, 2, 2, 4)).agreement == 1
    other.layers[0].bias.assign_add([0.0, 0.0, 3.0])
    report = verify(model, file_of(other), images(25, 2, 2, 4))
    same = report.keras_outputs.argmax(-1) == report.tflite_outputs.argmax(-1)
    assert report.agreement == pytest.approx(same.mean())
    assert 0 < report.agreement < 1


def test_subclassed_models():
    class Own(tf.keras.Model):
        def __init__(self):
            super().__init__()
            self.head = layers.Dense(3)

        def call(self, inputs):
            return {"scores": self.head(inputs), "sum": tf.reduce_sum(inputs, axis=1)}

    model = Own()
    model(np.zeros((1, 4), np.float32))
    report = verify(randomised(model), file_of(model), images(5, 4))
    assert [output.name for output in report.outputs] == ["scores", "sum"]
    assert report.agrees


def test_outputs_that_are_too_large_are_not_kept(monkeypatch):
    model = dense(3)
    tflite = file_of(model)
    kept = verify(model, tflite, images(10, 4), batch_size=2)
    monkeypatch.setattr(comparison, "_KEPT_BYTES", 100)
    report = verify(model, tflite, images(10, 4), batch_size=2)
    assert report.keras_outputs is report.tflite_outputs is None
    assert report == kept


# What cannot be compared ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"num_threads": None}, "num_threads=None"),
        ({"num_threads": 0}, "num_threads=0"),
        ({"num_threads": True}, "num_threads=True"),
        ({"batch_size": 0}, "batch_size=0"),
        *(
            ({"tolerance": value}, f"tolerance={value!r}; give a finite number from 0 on")
            for value in (np.inf, -1, np.nan, "a", True)
        ),
        ({"images": np.zeros((0, 4))}, "at least one"),
        ({"images": [[1.0, 2.0], [3.0]]}, "no array of one shape"),
        ({"images": np.array([["a"] * 4])}, "float32"),
        ({"images": None}, "float32"),
        ({"images": {"scores": np.zeros((1, 4))}}, "scores.*input_of_it"),
    ],
)
def test_what_is_refused(options, says):
    model = tf.keras.Sequential([tf.keras.Input((4,), name="input_of_it"), layers.Dense(3)])
    with pytest.raises(ValueError, match=says):
        verify(**{"model": model, "tflite": file_of(model), "images": images(2, 4), **options})


def test_what_is_no_model_or_no_file():
    with pytest.raises(TypeError, match="no tf.keras.Model"):
        verify("model.keras", b"", images(2, 4))
    with pytest.raises(TypeError, match="tflite is int"):
        verify(dense(3), 5, images(2, 4))


def test_models_that_were_never_called():
    with pytest.raises(ValueError, match="not built"):
        verify(tf.keras.Sequential([layers.Dense(3)]), file_of(dense(3)), images(2, 4))


def test_quantized_files():
    model = dense(3)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([x[None]] for x in images(20, 4))
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with pytest.raises(ValueError, match=r"float32 in model.*int8 in the file"):
        verify(model, converter.convert(), images(2, 4))
