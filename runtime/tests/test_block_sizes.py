"""Float ops that are taken with binary ones, at sizes other than those that a file declares."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter as LiteRt
from float_ops import clip, max_pool, mean, numbers, pad, prelu, sliced, then
from tflite_models import BITS, FLOAT, RELU6, Builder, Convolution, schema, words

from siman_runtime import Interpreter, ModelError, delegate, library


def build(append, shape, inputs=1):
    """What `append` gives of the inputs, which are alike, and its signs."""
    b = Builder()
    places = [b.tensor(shape, FLOAT) for _ in range(inputs)]
    y = append(b, *places)
    result = list(b.graph.tensors[y].shape)
    bits, signs = b.tensor([*result[:-1], words(result[-1])], BITS), b.tensor(result, FLOAT)
    b.op("LceQuantize", [y], [bits])
    b.op("LceDequantize", [bits], [signs])
    return b.build(places, [y, signs])


def ran(content, *shapes):
    """The outputs at each of `shapes`, of all inputs or of each its own; and what was taken."""
    interpreter = LiteRt(model_content=content, experimental_delegates=[delegate()])
    outputs, names = [], []
    for shape in shapes:
        own = [shape] * 2 if isinstance(shape[0], int) else shape
        given = list(zip(interpreter.get_input_details(), own, strict=False))
        for entry, size in given:
            interpreter.resize_tensor_input(entry["index"], size)
        interpreter.allocate_tensors()
        for entry, size in given:
            x = np.random.default_rng(len(outputs)).integers(-8, 9, size).astype(np.float32) / 4
            interpreter.set_tensor(entry["index"], x)
        library.profile(True)
        interpreter.invoke()
        names.append([name for _, name, _, _ in library.profiled()])
        library.profile(False)
        found = [interpreter.get_tensor(e["index"]) for e in interpreter.get_output_details()]
        outputs.append(found)
    return outputs, names


def check(monkeypatch, content, *shapes):
    """That all is as the runtime itself has it; returns what is taken at each of the shapes."""
    outputs, names = ran(content, *shapes)
    monkeypatch.setenv("SIMAN_FUSE", "0")
    for found, expected in zip(outputs, ran(content, *shapes)[0], strict=True):
        assert [y.shape for y in found] == [y.shape for y in expected]
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found[1], np.where(found[0] < 0, -1, 1))
    monkeypatch.delenv("SIMAN_FUSE")
    return names


@pytest.mark.parametrize(
    ("window", "stride"), [((3, 3), (1, 1)), ((3, 4), (2, 3)), ((2, 5), (1, 5))]
)
def test_windows_larger_than_maps(kernel, monkeypatch, window, stride):
    pool = max_pool(window, stride, 1, RELU6)
    for more in (then(), then(pad((0, 0), (1, 1), (0, 1), (0, 0)), clip("RELU"))):
        content = build(then(pool, more), (1, 9, 8, 40))
        sizes = [(1, 9, 8, 40), (1, 2, 2, 40), (2, 1, 7, 40), (1, 4, 1, 40)]
        for names in check(monkeypatch, content, *sizes):
            assert "MAX_POOL_2D" in names


def gate(name, axes):
    """Values and their own means along some axes."""
    kind = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions"}[name]

    def append(b, x):
        one = prelu(numbers(b.graph.tensors[x].shape[-1]))(b, x)
        return b.builtin(name, [one, mean(axes)(b, x)], b.graph.tensors[x].shape, kind)

    return append


def from_means(b, x):
    return b.builtin("SUB", [mean([1, 2])(b, x), x], b.graph.tensors[x].shape, "SubOptions")


@pytest.mark.parametrize("channels", [1, 40])
def test_ones_that_become_many(kernel, monkeypatch, channels):
    """Maps of one position, as all are in files for any size, whose means then meet larger ones."""
    shape, sizes = (1, 1, 1, channels), [(1, 4, 3, channels), (3, 2, 1, channels)]
    chained = then(gate("SUB", [3]), clip("RELU_N1_TO_1"), gate("MUL", [1, 2]), clip("RELU6"))
    appends = [gate("MUL", [1, 2]), gate("ADD", [3]), gate("SUB", [2]), from_means, chained]
    for append in appends:
        names = check(monkeypatch, build(append, shape), shape, *sizes, shape)
        assert names[0] == names[3]
        assert {"SUB", "MUL", "ADD", "PRELU"} & set(names[1])


def test_means_of_all_samples(kernel, monkeypatch):
    shape = (1, 3, 4, 33)
    check(monkeypatch, build(gate("SUB", [0]), shape), shape, (3, 3, 4, 33))


@pytest.mark.parametrize("is_first", [True, False])
def test_inputs_of_other_batches(kernel, monkeypatch, is_first):
    shape, more = (1, 3, 4, 33), (3, 3, 4, 33)
    sizes = [more, shape] if is_first else [shape, more]
    content = build(lambda b, x, y: b.add(x, clip("RELU")(b, y)), shape, inputs=2)
    check(monkeypatch, content, shape, sizes, more)


@pytest.mark.parametrize("of_convolution", [mean([1, 2]), then(), mean([3])])
def test_sums_that_a_convolution_cannot_do(kernel, monkeypatch, of_convolution):
    """Behind it where dimensions agree, and apart where they do not."""
    op = Convolution(height=1, width=1, channels=40, filters=40)
    clipped = then(clip("RELU_N1_TO_1"), clip("RELU"))

    def append(b, x):
        y = of_convolution(b, op.append(b, x))
        return clipped(b, b.builtin("ADD", [y, mean([1, 2])(b, x)], op.shape, "AddOptions"))

    names = check(monkeypatch, build(append, op.shape), op.shape, (2, 4, 3, 40), op.shape)
    assert names[0] == names[2]
    assert "ADD" in names[1]


def test_ranks_that_a_file_does_not_say(kernel):
    """A file may call the output of RESHAPE what it is not."""
    for append in (
        mean([1, 2], keeps=False),
        pad((0, 0), (0, 0), (1, 1), (0, 0)),
        sliced([0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]),
        clip("RELU"),
    ):
        b = Builder()
        x, y = b.tensor((1, 4, 4, 8), FLOAT), b.tensor((1, 4, 4, 8), FLOAT)
        wide = b.constant(np.array([1, 128], np.int32))
        b._operator(schema.BuiltinOperator.RESHAPE, [x, wide], [y])
        result = append(b, y)
        shape = b.graph.tensors[result].shape
        bits = b.tensor([*shape[:-1], 1], BITS)
        b.op("LceQuantize", [result], [bits])
        with pytest.raises(ModelError, match="an input of rank 2 where the file has one of rank 4"):
            Interpreter(b.build([x], [bits]))


@pytest.mark.parametrize("more", [then(), mean([1, 2]), pad((0, 0), (1, 1), (0, 0), (0, 0))])
def test_nothing_left(more):
    content = build(then(sliced([0, 2, 0, 0], [0] * 4, [1] * 4), more), (1, 4, 4, 8))
    interpreter = Interpreter(content)
    with pytest.raises(ModelError, match="nothing is left of its input. Give the model larger"):
        interpreter.resize((1, 2, 4, 8))
    assert interpreter.predict(np.ones((1, 4, 4, 8), np.float32))[1].min() == 1
