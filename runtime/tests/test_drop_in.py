"""What programs for the interpreters of LCE and LiteRT use, and the types of all that."""

import ast
import importlib.util
import inspect
import os
import re
import site
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tflite_models import FLOAT, INT8, Builder, Convolution

import siman_runtime
from siman_runtime import Interpreter, ModelError

OP = Convolution(height=6, width=5, channels=40, filters=20)
SAMPLES = np.concatenate([OP.sample(seed) for seed in range(3)])


@pytest.mark.parametrize("content", [OP.model(), bytearray(OP.model()), memoryview(OP.model())])
def test_the_model_has_lce_s_name(content):
    with Interpreter(flatbuffer_model=content, num_threads=1, use_xnnpack=True) as interpreter:
        np.testing.assert_array_equal(interpreter.predict(SAMPLES), OP.expected(SAMPLES))


@pytest.mark.parametrize("models", [{}, {"model": OP.model(), "flatbuffer_model": OP.model()}])
def test_one_model(models):
    with pytest.raises(ValueError, match="give either model or flatbuffer_model"):
        Interpreter(**models)


def test_all_that_lce_s_takes():
    spec = importlib.util.find_spec("larq_compute_engine")
    if spec is None:
        pytest.skip("LCE is not installed")
    # Read, since to import it takes seconds.
    path = Path(spec.origin).parent / "tflite/python/interpreter.py"
    (make,) = (
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    )
    theirs = [argument.arg for argument in make.args.args[1:]]
    ours = list(inspect.signature(Interpreter).parameters)
    assert theirs == ["flatbuffer_model", *ours[1 : len(theirs)]]
    assert set(theirs) <= set(ours)


@pytest.mark.parametrize("name", ["use_reference_bconv", "use_indirect_bgemm"])
def test_kernels_of_lce_are_a_word(name):
    with pytest.warns(UserWarning, match=f"{name}=True changes nothing") as told:
        interpreter = Interpreter(OP.model(), **{name: True})
    assert told[0].filename == __file__
    np.testing.assert_array_equal(interpreter.predict(SAMPLES), OP.expected(SAMPLES))


def test_without_xnnpack():
    """Which can be seen: it takes the place of the ops that it knows."""
    b = Builder()
    x = b.tensor((1, 64), FLOAT)
    content = b.build([x], [b.add(x, x)])
    counts = [
        len(Interpreter(content, use_xnnpack=value).litert._get_ops_details())
        for value in (True, False)
    ]
    assert counts == [2, 1]
    value = np.arange(64, dtype=np.float32)[None]
    without = Interpreter(content, use_xnnpack=False)
    np.testing.assert_array_equal(without.predict(value), 2 * value)


def test_all_cores_up_to_four(monkeypatch):
    def tasks() -> set[str]:
        return set(os.listdir("/proc/self/task"))

    def workers(num_threads) -> int:
        before = tasks()  # Not their number: one of an earlier test's may end meanwhile.
        with Interpreter(OP.model(), num_threads=num_threads) as interpreter:
            np.testing.assert_array_equal(interpreter.predict(SAMPLES), OP.expected(SAMPLES))
            return len(tasks() - before)

    assert workers(4) > workers(3) > workers(1) == 0
    for cores, threads in ((1, 1), (3, 3), (9, 4)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=cores: set(range(n)))
        assert workers(None) == workers(threads)


class Tensor:
    """As those of PyTorch and TensorFlow are."""

    def __init__(self, value):
        self.value = value

    def __array__(self, dtype=None, copy=None):
        if self.value is None:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        return np.asarray(self.value, dtype)


def test_what_numpy_takes_for_an_array():
    interpreter, expected = Interpreter(OP.model()), OP.expected(SAMPLES)
    for x in (
        *(Tensor(SAMPLES), memoryview(SAMPLES)),
        *((SAMPLES,), (Tensor(SAMPLES),), [memoryview(SAMPLES)]),
        *(iter(map(Tensor, SAMPLES)), ((memoryview(x),) for x in SAMPLES)),
    ):
        np.testing.assert_array_equal(interpreter.predict(x), expected)
    with pytest.raises(ValueError, match=r"cannot be made an array: Can't call numpy"):
        interpreter.predict(Tensor(None))
    with pytest.raises(ValueError, match="uint8; the model takes float32"):
        interpreter.predict(memoryview(bytes(6 * 5 * 40)).cast("B", (1, 6, 5, 40)))


def test_the_interpreter_of_litert():
    inside = Interpreter(OP.model()).litert
    inside.set_tensor(inside.get_input_details()[0]["index"], SAMPLES[:1])
    inside.invoke()
    output = inside.get_tensor(inside.get_output_details()[0]["index"])
    np.testing.assert_array_equal(output, OP.expected(SAMPLES[:1]))


def test_closed_interpreters_say_so():
    with Interpreter(OP.model()) as interpreter:
        pass
    interpreter.close()
    assert interpreter.input_shapes == [(1, 6, 5, 40)]
    for use in (
        lambda: interpreter.predict(SAMPLES),
        lambda: interpreter.resize((2, 6, 5, 40)),
        lambda: interpreter.litert,
    ):
        with pytest.raises(ValueError, match="The interpreter is closed"):
            use()


def with_signatures(*keys: str) -> bytes:
    """The second input comes first in the file."""
    b = Builder()
    other, x = b.tensor((1, 3), FLOAT), b.tensor(OP.shape, FLOAT)
    b.graph.tensors[x].shapeSignature = [1, 6, 5, -1]
    y, double = OP.append(b, x), b.add(other, other)
    for key in keys:
        b.signature(key, {"image": x, "other": other}, {"scores": y, "double": double})
    return b.build([other, x], [double, y])


def test_signatures():
    interpreter = Interpreter(with_signatures("classify"))
    names = {"inputs": ["image", "other"], "outputs": ["double", "scores"]}
    found = interpreter.get_signature_list()
    assert {key: sorted(value) for key, value in found["classify"].items()} == names
    classify = interpreter.get_signature_runner()
    assert tuple(classify.get_input_details()["image"]["shape"]) == OP.shape
    assert tuple(classify.get_output_details()["double"]["shape"]) == (1, 3)
    other = np.arange(9, dtype=np.float64).reshape(3, 3)
    for x, y in ((SAMPLES[:1], other[:1]), (Tensor(SAMPLES), other)):  # of 1 sample and of 3
        outputs = classify(other=y, image=x)
        np.testing.assert_array_equal(outputs["scores"], OP.expected(np.asarray(x)))
        np.testing.assert_array_equal(outputs["double"], 2 * y)
    # These sizes are its own.
    assert interpreter.input_shapes == [(1, 3), OP.shape]
    double, scores = interpreter.predict([other, SAMPLES])
    np.testing.assert_array_equal(scores, OP.expected(SAMPLES))
    np.testing.assert_array_equal(double, 2 * other)
    with pytest.raises(ModelError, match="LceBconv2d: its input has 3 words"):
        classify(other=other, image=np.zeros((1, 6, 5, 90), np.float32))
    np.testing.assert_array_equal(interpreter.predict([other, SAMPLES])[1], scores)


def test_signatures_that_do_not_fit():
    classify = Interpreter(with_signatures("a", "b")).get_signature_runner("b")
    with pytest.raises(ValueError, match=r"b: inputs \['x'\]; it takes \['image', 'other'\], by"):
        classify(x=SAMPLES)
    with pytest.raises(ValueError, match="b: samples of type uint8; the model takes float32"):
        classify(image=np.zeros(OP.shape, np.uint8), other=np.ones((1, 3)))
    for keys, key, message in (
        ((), None, "the model has no signatures; use predict"),
        (("a", "b"), None, r"signature_key=None; it has \['a', 'b'\]"),
        (("a",), "b", r"signature_key='b'; it has \['a'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            Interpreter(with_signatures(*keys)).get_signature_runner(key)


@pytest.mark.parametrize(
    ("image", "other", "message"),
    [
        ((6, 5, 40), (1, 3), "image of shape .*: the first axis counts samples"),
        ((1, 6, 5, 40), (3,), "other of shape .*; it takes .1 or more, 3.: the first axis counts"),
        ((1, 1, 6, 5, 40), (1, 3), "image of shape .*; it takes .1 or more, 6, 5, 1 or more.[.]$"),
        ((2, 4, 5, 40), (2, 3), "image of shape .2, 4, 5, 40.; it takes .1 or more, 6, 5, 1 or mo"),
        ((1, 6, 5, 40), (1, 2), "other of shape .1, 2.; it takes .1 or more, 3.[.]$"),
        ((0, 6, 5, 40), (1, 3), "image of shape .0, 6, 5, 40.; it takes .1 or more"),
        ((1, 6, 5, 0), (1, 3), "image of shape .1, 6, 5, 0.; it takes .* 5, 1 or more"),
        ((1, 6, 5, 40), (), r"other of shape \(\); it takes"),
    ],
)
def test_signatures_of_other_shapes(image, other, message):
    """Of which the runtime computes something all the same."""
    classify = Interpreter(with_signatures("f")).get_signature_runner()
    with pytest.raises(ValueError, match=f"f: {message}"):
        classify(image=np.ones(image), other=np.ones(other))


def test_signatures_do_not_wrap():
    op = Convolution(output=INT8, input=INT8)
    b = Builder()
    x = b.tensor(op.shape, INT8, scale=op.in_scale, zero_point=op.in_zero_point)
    y = op.append(b, x)
    b.signature("f", {"x": x}, {"y": y})
    run = Interpreter(b.build([x], [y])).get_signature_runner("f")
    with pytest.raises(ValueError, match="uint8; the model takes int8: quantize real values"):
        run(x=np.full(op.shape, 200, np.uint8))
    np.testing.assert_array_equal(run(x=op.sample())["y"], op.expected(op.sample()))


PROGRAM = """
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import siman_runtime
from siman_runtime import Interpreter, LibraryError, ModelError, SignatureRunner


def classify(path: Path, images: list[NDArray[np.float32]]) -> int:
    try:
        with Interpreter(path, num_threads=None, isolated=True, time_limit=5) as interpreter:
            height, width = interpreter.input_shapes[0][1:3]
            interpreter.resize((8, height, width, 3))
            scores = interpreter.predict(np.stack(images), verbose=1)
            one, other = interpreter.predict(iter(images))
            runner: SignatureRunner = interpreter.get_signature_runner()
            best = runner(image=images[0][np.newaxis])["scores"].argmax()
            interpreter.litert.allocate_tensors()
            return int(best + scores.argmax() + one.size + other.size)
    except (ModelError, LibraryError) as error:
        print(error, siman_runtime.kernel_name(), siman_runtime.delegate())
        return -1


print(classify(Path("model.tflite"), []), Interpreter(flatbuffer_model=b"").output_scales)
"""
WRONG = PROGRAM + 'Interpreter("model.tflite", num_threads="4").predict(3).shape\n'


def test_programs_with_types(tmp_path):
    pytest.importorskip("mypy")
    source = str(Path(siman_runtime.__file__).parents[1])
    # An installed package is found by itself.
    beside = {} if source in site.getsitepackages() else {"MYPYPATH": source}
    (tmp_path / "right.py").write_text(PROGRAM)
    (tmp_path / "wrong.py").write_text(WRONG)
    # Errors are those of the programs alone, as for an installed package.
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"]
    done = subprocess.run(
        [*command, "right.py", "wrong.py"],
        cwd=tmp_path,
        env=os.environ | beside,
        capture_output=True,
        text=True,
    )
    assert "right.py" not in done.stdout, done.stdout
    told = r'wrong.py:\d+: error: Argument "num_threads" to "Interpreter" has incompatible type'
    assert re.match(told, done.stdout), done.stdout + done.stderr
