"""The Python side: its interface, and what it says when something is wrong."""

import importlib.metadata

import numpy as np
import pytest
from tflite_models import BITS, FLOAT, INT8, Builder, Convolution, Pool

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
    with pytest.raises(ModelError, match=r"41 channels|words"):
        interpreter.resize((1, 6, 5, 90))
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


@pytest.mark.parametrize("threads", [0, -1, 65])
def test_number_of_threads(threads):
    with pytest.raises(ValueError, match=f"num_threads={threads}: 1 to 64"):
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
    ],
)
def test_samples_that_do_not_fit(samples, message):
    with pytest.raises(ValueError, match=message):
        Interpreter(OP.model()).predict(samples)


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


@pytest.mark.parametrize("version", ["1.0.1", "1.1.1", "2.4.0", "3.0"])
def test_versions_of_litert_that_are_not_tested(monkeypatch, version):
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    with pytest.raises(LibraryError, match=f"ai-edge-litert {version} is not among"):
        siman_runtime.delegate()


@pytest.mark.parametrize("version", ["1.1.2", "1.4.0", "2.0.3", "2.3.0", "2.3.9"])
def test_versions_of_litert_that_are(monkeypatch, version):
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    library.check_litert()


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
    with pytest.raises(SystemExit, match="siman-bench: --threads x"):
        bench([str(path), "--threads", "x"])


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
