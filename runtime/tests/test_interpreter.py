"""The Python side: its interface, and what it says when something is wrong."""

import importlib.metadata
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from tflite_models import BITS, FLOAT, INT8, Builder, Convolution, Pool, pack

import siman_runtime
from siman_runtime import Interpreter, LibraryError, ModelError, library
from siman_runtime.bench import main as bench
from siman_runtime.bench import warnings_for

OP = Convolution(height=6, width=5, channels=40, filters=20)
SAMPLES = np.concatenate([OP.sample(seed) for seed in range(5)])


def test_properties():
    interpreter = Interpreter(OP.model())
    assert interpreter.input_types == [np.float32]
    assert interpreter.input_shapes == [(1, 6, 5, 40)]
    assert interpreter.output_shapes == [(1, 6, 5, 20)]
    assert interpreter.input_scales == [None]
    assert interpreter.input_zero_points == [None]
    int8 = Convolution(output=INT8, input=INT8)
    interpreter = Interpreter(int8.model())
    assert interpreter.output_types == [np.int8]
    assert interpreter.output_scales == [pytest.approx(int8.scale)]
    assert interpreter.output_zero_points == [int8.zero_point]


@pytest.mark.parametrize("batch", [1, 2, 4, 8])
def test_predict_takes_arrays_lists_and_generators(batch):
    interpreter = Interpreter(
        Convolution(height=6, width=5, channels=40, filters=20, batch=batch).model()
    )
    expected = OP.expected(SAMPLES)
    np.testing.assert_array_equal(interpreter.predict(SAMPLES), expected)
    np.testing.assert_array_equal(interpreter.predict([SAMPLES]), expected)
    np.testing.assert_array_equal(interpreter.predict(iter(SAMPLES)), expected)
    np.testing.assert_array_equal(interpreter.predict([x] for x in SAMPLES), expected)


def test_progress(capsys):
    Interpreter(OP.model()).predict(SAMPLES, verbose=1)
    assert "5/5 images" in capsys.readouterr().err


def test_resized_inputs():
    interpreter = Interpreter(OP.model())
    interpreter.resize((2, 9, 11, 40))
    larger = Convolution(height=9, width=11, channels=40, filters=20, batch=2)
    x = larger.sample()
    np.testing.assert_array_equal(interpreter.predict(x), larger.expected(x))
    interpreter.resize((1, 6, 5, 40))
    np.testing.assert_array_equal(interpreter.predict(SAMPLES), OP.expected(SAMPLES))
    with pytest.raises(ValueError, match="2 shapes for 1 inputs"):
        interpreter.resize((1, 2, 3, 4), (1,))


def test_delegate_alone():
    from ai_edge_litert.interpreter import Interpreter as LiteRt

    interpreter = LiteRt(
        model_content=OP.model(), experimental_delegates=[siman_runtime.delegate()], num_threads=2
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], SAMPLES[:1])
    interpreter.invoke()
    result = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_array_equal(result, OP.expected(SAMPLES[:1]))


def test_path_and_bytes(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(OP.model())
    np.testing.assert_array_equal(Interpreter(path).predict(SAMPLES), OP.expected(SAMPLES))
    with pytest.raises(FileNotFoundError, match="no model at"):
        Interpreter(tmp_path / "absent.tflite")
    with pytest.raises(FileNotFoundError, match="which is a folder"):
        Interpreter(tmp_path)
    with pytest.raises(ValueError, match="model=3 is neither the path of a file nor its bytes"):
        Interpreter(3)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "0 bytes. is no TFLite file"),
        (b"PK\3\4" + bytes(99), "a .keras file"),
        (b"\x89HDF\r\n" + bytes(99), "HDF5"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    ],
)
def test_other_files(content, kind):
    with pytest.raises(ModelError, match=kind):
        Interpreter(content)


def test_files_of_old_lce():
    for name in ("LceBsign", "LqceBsign", "LqceBconv2d64"):
        b = Builder()
        x, y = b.tensor((1, 2, 2, 32), FLOAT), b.tensor((1, 2, 2, 32), FLOAT)
        b.op(name, [x], [y])
        with pytest.raises(ModelError, match=f"{name}: .* old .* again with larq-compute-engine 0"):
            Interpreter(b.build([x], [y]))
    for options in ({"padding": "SAME"}, {"strides": [1, 1, 1, 1]}, {"filter_format": "OHWI"}):
        with pytest.raises(ModelError, match="old .* again with larq-compute-engine 0.16.0"):
            Interpreter(Convolution(extra=options).model())
    b = Builder()  # its inputs had not been quantized
    op = Convolution(height=4, width=4, channels=32, filters=8)
    x, y = b.tensor(op.shape, FLOAT), b.tensor((1, 4, 4, 8), FLOAT)
    constants = [b.constant(v) for v in (pack(op.weights), op.multiplier, op.bias)]
    b.op("LceBconv2d", [x, *constants], [y], op.options)
    with pytest.raises(ModelError, match="old .* again with larq-compute-engine 0.16.0"):
        Interpreter(b.build([x], [y]))


@pytest.mark.parametrize("threads", [0, -1, 65, 2.0, "2", True])
def test_number_of_threads(threads):
    with pytest.raises(ValueError, match=f"num_threads={threads!r}: 1 to 64"):
        Interpreter(OP.model(), num_threads=threads)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (SAMPLES[:0], "no samples"),
        (SAMPLES[:, :3], r"shape \(3, 5, 40\); the model takes \(6, 5, 40\)"),
        ([SAMPLES, SAMPLES], "2 inputs; the model has 1"),
        ([], "0 inputs; the model has 1"),
        (iter([SAMPLES[0], SAMPLES[0, :3]]), r"shape \(3, 5, 40\); the model takes"),
        (SAMPLES.astype(np.complex64), "complex64; the model takes float32"),
        ("text", "no array"),
        (SAMPLES[0], r"takes \(6, 5, 40\): the first axis counts samples"),
        (1.0, "no array"),
        (np.float32(1), r"a sample of shape \(\)"),
        (np.array(1.0), r"a sample of shape \(\)"),
        ([[[1.0], [2.0, 3.0]]], "cannot be made an array"),
        (iter([1.0]), r"a sample of shape \(\)"),
        # Pixels from 0 to 255 that nobody scaled.
        (np.zeros(SAMPLES.shape, np.uint8), r"uint8; the model takes float32: scale pixels"),
        (iter(np.zeros(SAMPLES.shape, np.int64)), r"int64; the model takes float32: scale pixels"),
        (SAMPLES > 0, "bool; the model takes float32"),
        (np.ma.masked_array(SAMPLES, SAMPLES > 0), "a masked array"),
        (np.where(SAMPLES > 2, np.nan, SAMPLES), "input 0 holds NaN or infinite"),
        (np.where(SAMPLES > 2, -np.inf, SAMPLES), "input 0 holds NaN or infinite"),
        (np.where(SAMPLES > 2, 1e300, SAMPLES.astype(np.float64)), "input 0 holds NaN or inf"),
    ],
)
def test_samples_that_do_not_fit(samples, message):
    with pytest.raises(ValueError, match=message):
        Interpreter(OP.model()).predict(samples)


def test_real_values_of_any_width():
    large = np.full_like(SAMPLES, 3e38)
    interpreter = Interpreter(OP.model())
    for x in (SAMPLES.astype(np.float64), SAMPLES.astype(np.float16), large):
        np.testing.assert_array_equal(interpreter.predict(x), OP.expected(x.astype(np.float32)))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int16, np.int64])
def test_int8_models_do_not_wrap(dtype):
    """200 would become -56."""
    op = Convolution(output=INT8, input=INT8)
    x = np.full(op.shape, 200 if dtype is not np.float32 else 2.0, dtype)
    cure = rf"takes int8: quantize real values, as round\(x / 0\.11\) \+ {op.in_zero_point}\."
    with pytest.raises(ValueError, match=cure):
        Interpreter(op.model()).predict(x)
    Interpreter(op.model()).predict(op.sample())


def dynamic_model(op: Convolution) -> bytes:
    """A convolution for maps of any size."""
    b = Builder()
    x = b.tensor((1, 1, 1, op.channels), FLOAT)
    b.graph.tensors[x].shapeSignature = [1, -1, -1, op.channels]
    small = Convolution(
        **{k: getattr(op, k) for k in ("channels", "filters", "kernel", "padding", "seed")},
        height=1,
        width=1,
    )
    y = small.append(b, x)
    b.graph.tensors[y].shape = [1, 1, 1, op.filters]
    return b.build([x], [y])


@pytest.mark.parametrize("padding", [0, 1], ids=["runs at 1 x 1", "does not"])
def test_any_size(padding):
    op = Convolution(height=6, width=5, channels=40, filters=20, padding=padding)
    interpreter = Interpreter(dynamic_model(op))
    assert interpreter.input_signatures == [(1, -1, -1, 40)]
    with pytest.raises(ValueError, match="resize"):
        interpreter.predict(SAMPLES)
    interpreter.resize((1, 6, 5, 40))
    np.testing.assert_array_equal(interpreter.predict(SAMPLES), op.expected(SAMPLES))
    with pytest.raises(ValueError, match=r"call resize\(\(1, 7, 5, 40\)\) first"):
        interpreter.predict(np.zeros((2, 7, 5, 40), np.float32))
    with pytest.raises(ValueError, match=r"takes \(6, 5, 40\)\.$"):
        interpreter.predict(np.zeros((2, 7, 5, 41), np.float32))
    if padding == 1:
        with pytest.raises(ModelError, match=r"resize: the network cannot be run at \(1, 2, 2, 40"):
            interpreter.resize((1, 2, 2, 40))
    np.testing.assert_array_equal(interpreter.predict(SAMPLES), op.expected(SAMPLES))


@pytest.mark.parametrize(
    "shape",
    [
        *(64, None, "abcd", (1, 6, 5), (0, 6, 5, 40), (1, -1, 5, 40), (1, 6.5, 5, 40)),
        *((1.5, 6, 5, 40), (True, 6, 5, 40), (2**40,) * 4),
    ],
)
def test_shapes_that_are_none(shape):
    interpreter = Interpreter(OP.model())
    with pytest.raises(ValueError, match="is no shape of 4 whole numbers above 0"):
        interpreter.resize(shape)


def test_sizes_that_do_not_fit_leave_the_old_ones():
    interpreter = Interpreter(OP.model())
    for shape, cause in (
        ((1, 6, 5, 90), "LceBconv2d: its input has 3 words"),
        ((1, 2**20, 2**20, 40), "LceQuantize: a tensor has more than 268435456 elements"),
        ((1, 6, 5, 200), "LceBconv2d: its input has 7 words"),
    ):
        told = rf"resize: the network cannot be run at {re.escape(str(shape))}: {cause}"
        with pytest.raises(ModelError, match=told):
            interpreter.resize(shape)
        assert interpreter.input_shapes == [OP.shape]
        np.testing.assert_array_equal(interpreter.predict(SAMPLES), OP.expected(SAMPLES))


def test_outputs_that_do_not_count_samples():
    b = Builder()
    x, y = b.tensor((1, 3), FLOAT), b.tensor((3,), FLOAT)
    b.reshape(x, y)
    with pytest.raises(ModelError, match=r"an output of shape \(3,\) for 1 samples"):
        Interpreter(b.build([x], [y])).predict(np.ones((1, 3), np.float32))


def output_of_two_samples(kind: str) -> bytes:
    """Its first axis is 2, as there are 2 samples, for another reason."""
    b = Builder()
    x = b.tensor((2, 2), FLOAT)
    if kind == "transposed":
        y = b.transpose(x, [1, 0])
    elif kind == "constant":
        y = b.constant(np.ones((2, 3), np.float32))
    else:
        y = b.tensor((2, 2), FLOAT)
        b.reshape(x, y)
    return b.build([x], [b.add(x, x), y])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("transposed", r"an output of shape \(2, 1\) for 1 samples: its first axis does not count"),
        ("constant", r"an output of shape \(2, 3\) for 1 samples: its first axis does not count"),
        ("of two alone", "takes 2 samples at a time, and not one less, so that it cannot be told"),
    ],
)
def test_outputs_as_long_as_the_batch_by_chance(kind, message):
    interpreter = Interpreter(output_of_two_samples(kind))
    for count in (2, 3):
        with pytest.raises(ModelError, match=message):
            interpreter.predict(np.ones((count, 2), np.float32))
    assert interpreter.input_shapes == [(2, 2)]


@pytest.mark.parametrize(
    ("shapes", "outputs", "message"),
    [
        ([], 1, " has no inputs, which"),
        ([()], 1, r" has inputs of shapes \[\(\)\], which do not all count samples"),
        ([(1, 3), ()], 1, r" has inputs of shapes \[\(1, 3\), \(\)\], which do not all count"),
        ([(1, 3), (2, 3)], 1, r"'s inputs \[\(1, 3\), \(2, 3\)\] do not take equally many"),
        (
            [(0, 3)],
            1,
            r"'s inputs \[\(0, 3\)\] do not take equally many samples at a time, at least 1",
        ),
        ([(1, 3)], 0, " has no outputs"),
    ],
)
def test_models_that_predict_does_not_serve(shapes, outputs, message):
    b = Builder()
    inputs = [b.tensor(shape, FLOAT) for shape in shapes]
    y = b.tensor((1, 2), FLOAT)
    b.reshape(b.constant(np.ones((2, 1), np.float32)), y)
    interpreter = Interpreter(b.build(inputs, [y][:outputs]))
    x = [np.ones((2, *shape[1:]), np.float32) for shape in shapes]
    with pytest.raises(ValueError, match=f"predict: the model{message}"):
        interpreter.predict(x)


def test_resize_gives_inputs_equal_batches():
    b = Builder()
    inputs = [b.tensor((n, 3), FLOAT) for n in (1, 2)]
    interpreter = Interpreter(b.build(inputs, [b.add(x, x) for x in inputs]))
    interpreter.resize((2, 3), (2, 3))
    x = np.arange(9, dtype=np.float32).reshape(3, 3)
    np.testing.assert_array_equal(interpreter.predict([x, x + 1]), [2 * x, 2 * (x + 1)])


@pytest.mark.parametrize("is_path", [True, False])
def test_constants_are_not_written(tmp_path, is_path):
    """The memory of a constant is the file's, which the caller has."""
    b = Builder()
    x, bits = b.tensor((1, 2, 2, 32), FLOAT), b.tensor((1, 2, 2, 1), BITS)
    y = b.constant(np.ones((1, 2, 2, 32), np.float32))
    b.op("LceQuantize", [x], [bits])
    b.op("LceDequantize", [bits], [y])
    content = b.build([x], [y])
    (tmp_path / "model.tflite").write_bytes(content)
    with pytest.raises(ModelError, match="LceDequantize: its output is a constant"):
        Interpreter(tmp_path / "model.tflite" if is_path else content)


def test_inputs_are_no_constants():
    """To set one would write into the caller's bytes."""
    b = Builder()
    x = b.constant(np.ones(OP.shape, np.float32))
    with pytest.raises(ModelError, match="Input tensor 0 is a constant"):
        Interpreter(b.build([x], [OP.append(b, x)]))


@pytest.mark.parametrize("name", ["FlexErf", "Conv2D"])
def test_unknown_ops_of_others(name):
    b = Builder()
    x, y = b.tensor((1, 3), FLOAT), b.tensor((1, 3), FLOAT)
    b.op(name, [x], [y])
    with pytest.raises(
        ModelError, match=f"has the op ({name}|of TensorFlow .Flex.), which neither"
    ):
        Interpreter(b.build([x], [y]))


@pytest.mark.parametrize("name", ["ADD", "MUL", "MEAN", "RELU", "PRELU", "PAD", "STRIDED_SLICE"])
@pytest.mark.parametrize("fuse", ["0", "1"])
def test_ops_of_others_with_names_of_built_in_ones(monkeypatch, fuse, name):
    """They have other parameters, or none: they are not taken for those."""
    monkeypatch.setenv("SIMAN_FUSE", fuse)
    b = Builder()
    x, y = b.tensor(OP.shape, FLOAT), b.tensor(OP.shape, FLOAT)
    b.op(name, [x, b.constant(np.ones(OP.shape[-1], np.float32))], [y])
    with pytest.raises(ModelError, match=f"has the op {name}, which neither"):
        Interpreter(b.build([x], [OP.append(b, y)]))


def test_threads_share_an_interpreter():
    """Between the inputs of one thread and its outputs no other one may come."""
    op = Convolution(height=24, width=24, channels=64, filters=64)
    interpreter = Interpreter(op.model())
    inputs = [np.concatenate([op.sample(seed)] * 10) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(interpreter.predict, inputs * 10))
    expected = [np.concatenate([op.expected(x[:1])] * 10) for x in inputs] * 10
    np.testing.assert_array_equal(results, expected)


def test_resize_in_the_midst_of_predict():
    interpreter = Interpreter(OP.model())

    def samples():
        yield SAMPLES[0]
        interpreter.resize((2, 6, 5, 40))
        yield SAMPLES[1]

    with pytest.raises(ValueError, match="predict: resize was called in its midst"):
        interpreter.predict(samples())


def test_interpreters_share_a_delegate():
    """Each in a thread of its own: one has the pool, the others do their work alone."""
    from ai_edge_litert.interpreter import Interpreter as LiteRt

    op = Convolution(height=24, width=24, channels=64, filters=64)
    shared, x = siman_runtime.delegate(), op.sample()
    expected = op.expected(x)

    def run(_):
        interpreter = LiteRt(
            model_content=op.model(), experimental_delegates=[shared], num_threads=3
        )
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        place = interpreter.get_output_details()[0]["index"]
        for _ in range(300):
            interpreter.invoke()
            np.testing.assert_array_equal(interpreter.get_tensor(place), expected)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(run, range(3)))


@pytest.mark.usefixtures("starts_python")
@pytest.mark.parametrize("leaves_by", ["del interpreter; os._exit(0)", "sys.exit()"])
def test_a_forked_child_ends(tmp_path, leaves_by):
    """It has no workers to wait for, and computes alone."""
    np.savez(tmp_path / "case.npz", model=np.frombuffer(OP.model(), np.uint8), x=SAMPLES)
    program = f"""
import os, sys
import numpy as np
from siman_runtime import Interpreter
case = np.load({str(tmp_path / "case.npz")!r})
interpreter = Interpreter(case["model"].tobytes(), num_threads=2)
before = interpreter.predict(case["x"])
child = os.fork()
if child == 0:
    if not np.array_equal(interpreter.predict(case["x"]), before):
        os._exit(1)
    {leaves_by}
else:
    sys.exit(os.waitpid(child, 0)[1])
"""
    with subprocess.Popen([sys.executable, "-c", program], start_new_session=True) as process:
        try:
            assert process.wait(timeout=60) == 0
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail("the child hangs")


@pytest.mark.usefixtures("starts_python")
@pytest.mark.parametrize(("threads", "mebibytes"), [(64, 100), (2, 4)], ids=["some", "none"])
def test_threads_that_the_system_refuses(tmp_path, threads, mebibytes):
    """For want of memory for their stacks; those that did start do all the work."""
    np.savez(tmp_path / "case.npz", model=np.frombuffer(OP.model(), np.uint8), x=SAMPLES)
    program = f"""
import os, resource, sys
import numpy as np
from siman_runtime import Interpreter
case = np.load({str(tmp_path / "case.npz")!r})
model, x = case["model"].tobytes(), case["x"]
expected = Interpreter(model).predict(x)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {mebibytes} * 2**20,) * 2)
before = len(os.listdir("/proc/self/task"))
interpreter = Interpreter(model, num_threads={threads})
started = len(os.listdir("/proc/self/task")) - before
assert started < {threads} - 1, started
sys.exit(not np.array_equal(interpreter.predict(x), expected))
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_inputs_of_different_lengths():
    b = Builder()
    x, other = b.tensor(OP.shape, FLOAT), b.tensor(OP.shape, FLOAT)
    interpreter = Interpreter(b.build([x, other], [OP.append(b, x), b.add(other, other)]))
    with pytest.raises(ValueError, match=r"inputs of \[4, 5\] samples"):
        interpreter.predict([SAMPLES, SAMPLES[:4]])
    first, second = interpreter.predict([SAMPLES, SAMPLES])
    np.testing.assert_array_equal(first, OP.expected(SAMPLES))
    np.testing.assert_array_equal(second, 2 * SAMPLES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride_width": 0}, "stride_width=0; allowed is 1 to"),
        ({"padding": 2}, "padding=2; allowed is 0 to 1"),
        ({"fused_activation_function": 4}, "fused_activation_function=4; allowed is 0 to 3"),
        ({"channels_in": 100}, "does not fit 100 input channels"),
        ({"new": 1}, "option 'new'=1 is unknown"),
        ({"pad_values": "x"}, "option 'pad_values' is of FlexBuffer type"),
        ({"pad_values": 0, "fused_activation_function": 1}, "zero padding"),
    ],
)
def test_unknown_options(options, message):
    with pytest.raises(ModelError, match=message):
        Interpreter(Convolution(channels=40, extra=options).model())


def test_unknown_ops_and_versions():
    for name, version, message in (
        ("LceNew", 1, "Op LceNew of Larq Compute Engine is unknown"),
        ("LceQuantize", 2, "LceQuantize: version 2; known is 1"),
    ):
        b = Builder()
        x, y = b.tensor((1, 2, 2, 32), FLOAT), b.tensor((1, 2, 2, 1), BITS)
        b.op(name, [x], [y], version=version)
        with pytest.raises(ModelError, match=message):
            Interpreter(b.build([x], [y]))


def test_truncated_files():
    content = OP.model()
    for size in (0, 3, 15, 100, len(content) // 2, len(content) - 200):
        with pytest.raises(ModelError, match=r"truncated|damaged|valid Flatbuffer"):
            Interpreter(content[:size])


def test_kernel_that_does_not_run(monkeypatch):
    monkeypatch.setenv("SIMAN_KERNEL", "mmx")
    with pytest.raises(
        LibraryError, match="SIMAN_KERNEL=mmx does not run on this processor; these"
    ):
        Interpreter(OP.model())


@pytest.mark.parametrize("version", ["1.0.1", "1.1.1", "0.9"])
def test_versions_of_litert_that_are_too_old(monkeypatch, version):
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    with pytest.raises(LibraryError, match=f"ai-edge-litert {version} is older than all"):
        siman_runtime.delegate()


@pytest.mark.parametrize("version", ["1.1.2", "1.4.0", "2.0.3", "2.3.0", "2.3.9"])
def test_versions_of_litert_that_are_known(monkeypatch, version):
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    siman_runtime.delegate()


def test_absent_library(monkeypatch):
    monkeypatch.setenv("SIMAN_LIBRARY", "/nowhere.so")
    with pytest.raises(LibraryError, match=r"absent \(/nowhere.so\).*no C\+\+ compiler was found"):
        siman_runtime.delegate()


def test_bench(tmp_path, capsys):
    path = tmp_path / "model.tflite"
    path.write_bytes(OP.model())
    bench([str(path), "--threads", "1,2", "--compare", str(path), "--seconds", "0.05"])
    text = capsys.readouterr().out
    for part in ("machine", "processor", "governor", "kernel", "ratio", "LceBconv2d", "1x6x5x20"):
        assert part in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.tflite", "--threads", "x"], "--threads x: numbers as in 1,2,4"),
        (["model.tflite", "--threads", ""], "--threads : numbers as in 1,2,4"),
        (["model.tflite", "--threads", "0"], "num_threads=0: 1 to 64"),
        (["model.tflite", "--seconds", "nan"], "--seconds nan: from 0 to 3600"),
        (["model.tflite", "--seconds", "-1"], "--seconds -1.0: from 0 to 3600"),
        (["absent.tflite"], "no model at absent.tflite"),
        (["."], "which is a folder"),
        (["dynamic.tflite"], "takes inputs of any size: give --size HEIGHT WIDTH"),
        (["model.tflite", "--size", "9", "4"], "--size 9 4: model.tflite takes inputs of .* alone"),
        (["dynamic.tflite", "--size", "0", "4"], "is no shape of 4 whole numbers above 0"),
        (["model.tflite", "--compare", "absent.tflite", "--seconds", "0"], "no model at absent"),
    ],
)
def test_bench_errors(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.tflite").write_bytes(OP.model())
    (tmp_path / "dynamic.tflite").write_bytes(dynamic_model(OP))
    with pytest.raises(SystemExit, match=f"siman-bench: .*{message}"):
        bench(arguments)


def test_bench_of_any_size(tmp_path, capsys):
    path = tmp_path / "dynamic.tflite"
    path.write_bytes(dynamic_model(OP))
    bench([str(path), "--seconds", "0", "--size", "6", "5"])
    assert "1x6x5x20" in capsys.readouterr().out
    (tmp_path / "fixed.tflite").write_bytes(OP.model())
    height, width = map(str, Interpreter(OP.model()).input_shapes[0][1:3])
    compared = ["--compare", str(tmp_path / "fixed.tflite"), "--size", height, width]
    bench([str(path), "--seconds", "0", *compared])
    assert "fixed.tflite, 1 threads" in capsys.readouterr().out


def test_bench_of_one_input_of_any_size(tmp_path, capsys):
    """The others stay as they are."""
    b = Builder()
    x, other = b.tensor((1, 1, 1, OP.channels), FLOAT), b.tensor((1, 3), FLOAT)
    b.graph.tensors[x].shapeSignature = [1, -1, -1, OP.channels]
    y = replace(OP, height=1, width=1).append(b, x)
    (tmp_path / "model.tflite").write_bytes(b.build([x, other], [y, b.add(other, other)]))
    bench([str(tmp_path / "model.tflite"), "--seconds", "0", "--size", "6", "5"])
    assert "1x6x5x20" in capsys.readouterr().out


def test_bench_tells_why_it_is_slow():
    facts = {"machine": "armv7l, 32-bit Python", "kernel": "portable", "governor": "ondemand"}
    told = " ".join(warnings_for(facts))
    for part in ("64-bit Raspberry Pi OS", "portable kernel", "governor ondemand"):
        assert part in told
    fast = {"machine": "aarch64, 64-bit Python", "kernel": "neon", "governor": "performance"}
    assert warnings_for(fast) == []


def test_profile_names_ops():
    interpreter = Interpreter(Pool(channels=40).model())
    library.profile(True)
    interpreter.predict(Pool(channels=40).sample())
    ops = [op for _, op, _, _ in library.profiled()]
    library.profile(False)
    assert ops == ["LceQuantize", "LceBMaxPool2d", "LceDequantize"]
