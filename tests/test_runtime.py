"""`verify(runtime="siman")`, which needs the package of the folder `runtime`."""

import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from siman_larq import SiMaNConv2D, SiMaNQuantizer, convert, data, models, verify
from siman_larq.conversion import add_input_settings

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
    # Float ops between the binary ones round in another way, and a sign that this turns changes
    # all after it in a network that is not trained: so most images, not all.
    equal = np.isclose(ours.tflite_outputs, theirs.tflite_outputs, rtol=1e-3, atol=1e-3)
    assert np.mean(equal.all(axis=1)) >= 0.5


@pytest.mark.slow
@pytest.mark.parametrize("network", [models.resnet18, models.resnet20])
def test_residual_networks_are_one_partition(network):
    """All between stem and head."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=convert(network()),
        experimental_delegates=[siman_runtime.delegate()],
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    names = [entry["op_name"] for entry in interpreter._get_ops_details()]
    assert names.count("DELEGATE") == 1


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
    model = models.resnet8()
    with pytest.raises(ValueError, match="runtime='tpu'; 'lce' and 'siman' are known"):
        verify(model, convert(model), random_images(model, 1), runtime="tpu")


def test_pictures_are_prepared_as_in_training(tmp_path):
    """Through the file alone, byte for byte but for the rounding of one product."""
    from PIL import Image

    from siman_runtime.preparation import fit_picture, open_picture, preparation_of

    source = data.MemorySource(data.load("fashion_mnist_mini"))
    settings = source.input_settings((32, 32, 3)) | {"class_names": list(source.class_names)}
    content = add_input_settings(convert(models.resnet8()), settings)
    pixels = source.data.test_images[0]
    Image.fromarray(pixels[..., 0]).save(tmp_path / "image.png")
    preparation = preparation_of(tmp_path / "model.tflite", content)
    ours = preparation.apply(
        fit_picture(open_picture(tmp_path / "image.png"), (32, 32, 3), preparation)
    )
    np.testing.assert_allclose(ours, data.prepare(pixels[None])[0], atol=1e-6)
    assert preparation.labels == list(source.class_names)


@pytest.mark.parametrize("kind", ["turned", "wide", "16 bits", "rgba"])
@pytest.mark.parametrize("is_streamed", [False, True])
def test_own_pictures_are_prepared_as_in_training(tmp_path, kind, is_streamed):
    from PIL import Image

    from siman_runtime.preparation import Preparation, fit_picture, open_picture

    y, x = np.mgrid[:90, :130] / [[[90]], [[130]]]
    image = Image.fromarray((np.stack([x, y, x * y], -1) * 255).astype(np.uint8))
    exif = Image.Exif()
    if kind == "turned":
        exif[0x0112] = 8
    elif kind == "16 bits":
        image = Image.fromarray((x * 65535).astype(np.uint16))
    elif kind == "rgba":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    for name in ("train/a", "train/b", "test/a"):
        (tmp_path / name).mkdir(parents=True)
        image.save(tmp_path / name / "1.png", exif=exif)
    opened = data.stream if is_streamed else data.load
    source = opened(f"folder:{tmp_path}")
    if not is_streamed:
        source = data.MemorySource(source)
    settings = source.input_settings((32, 32, 3))
    preparation = Preparation(labels=list(source.class_names), **settings)
    ours = preparation.apply(
        fit_picture(open_picture(tmp_path / "test/a/1.png"), (32, 32, 3), preparation)
    )
    (theirs,), _ = source.test_sample(1, (32, 32, 3))
    # TensorFlow's crops begin and end between pixels, and are not rounded to bytes.
    np.testing.assert_allclose(ours, theirs, atol=0.12 if is_streamed else 1e-6)
