"""`verify(runtime="siman")`, which needs the package of the folder `runtime`."""

import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from siman_larq import SiMaNConv2D, SiMaNQuantizer, convert, models, verify

siman_runtime = pytest.importorskip("siman_runtime")


def random_images(model: tf.keras.Model, count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, (count, *model.input_shape[1:])).astype("float32")


@pytest.mark.parametrize("levels", [(-1, 1), (0, 1)])
def test_it_equals_lce(levels):
    tf.keras.utils.set_random_seed(3)

    def conv(*args, **kwargs):
        return SiMaNConv2D(*args, kernel_quantizer=SiMaNQuantizer(levels=levels), **kwargs)

    model = models.resnet20(conv=conv)
    tflite = convert(model)
    images = random_images(model, 8)
    ours = verify(model, tflite, images, runtime="siman", num_threads=2)
    theirs = verify(model, tflite, images)
    assert ours.packed == theirs.packed
    assert ours.kernel.startswith("siman-runtime ")
    # Float ops on either side of the binary ones may round in another way.
    np.testing.assert_allclose(ours.tflite_outputs, theirs.tflite_outputs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("size", [1, 2])
def test_it_is_right_where_lce_is_wrong(size):
    """Zero padding around maps smaller than the kernel."""
    layer = lq.layers.QuantConv2D(
        32, 3, padding="same", input_quantizer="ste_sign", kernel_quantizer="ste_sign"
    )
    model = tf.keras.Sequential([tf.keras.Input((size, size, 64)), layer])
    import larq_compute_engine as lce

    images = random_images(model, 4)
    outputs = siman_runtime.Interpreter(lce.convert_keras_model(model)).predict(images)
    np.testing.assert_allclose(outputs, model.predict(images, verbose=0), atol=1e-4)


def test_unknown_runtimes():
    model = models.resnet20()
    with pytest.raises(ValueError, match="runtime='tpu'; 'lce' and 'siman' are known"):
        verify(model, convert(model), random_images(model, 1), runtime="tpu")
