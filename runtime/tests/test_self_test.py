"""The model that is run before all others. Called as a program, this file writes it."""

import importlib.metadata

import numpy as np
import pytest
from tflite_models import BITS, FLOAT, INT8, VALID, Builder, Convolution, pack

import siman_runtime
from siman_runtime import LibraryError, self_test

WHOLE = {"height": 2, "width": 2, "channels": 32, "filters": 4, "kernel": (2, 2), "padding": VALID}
SIGNS, SUM, BYTES = (
    Convolution(**WHOLE, output=output, seed=seed)
    for seed, output in enumerate((BITS, FLOAT, INT8))
)
# Numbers that decimals show whole.
SUM.multiplier, SUM.bias = np.round(4 * SUM.multiplier) / 4, np.round(4 * SUM.bias) / 4


def model() -> bytes:
    """All that the delegate reads of the runtime: constants, scales, options of custom ops, and
    those of an addition, which are the runtime's own."""
    b = Builder()
    x, bits = b.tensor(SUM.shape, FLOAT), b.tensor((1, 2, 2, 1), BITS)
    b.op("LceQuantize", [x], [bits])
    packed = b.tensor((1, 1, 1, 1), BITS)
    signs, plain = (b.tensor((1, 1, 1, 4), FLOAT) for _ in range(2))
    small = b.tensor((1, 1, 1, 4), INT8, scale=BYTES.scale, zero_point=BYTES.zero_point)
    for op, output in ((SIGNS, packed), (SUM, plain), (BYTES, small)):
        scales = [-1, -1, b.constant(op.thresholds)]
        if op is not SIGNS:
            scales = [b.constant(op.multiplier), b.constant(op.bias), -1]
        b.op("LceBconv2d", [bits, b.constant(pack(op.weights)), *scales], [output], op.options)
    b.op("LceDequantize", [packed], [signs])
    for tensor in b.graph.tensors:
        tensor.name = None
    return b.build([x], [b.add(plain, signs), small])


def expected(x: np.ndarray) -> "list[list[float]]":
    outputs = SUM.expected(x).astype(np.float32) + SIGNS.expected(x), BYTES.expected(x)
    return [output.reshape(-1).tolist() for output in outputs]


def test_the_answer_is_right_by_definition():
    x = self_test._sample()
    assert expected(x) == self_test._EXPECTED
    assert self_test._MODEL.stat().st_size < 2500


@pytest.fixture
def fresh(monkeypatch):
    """As at the first load in a process."""
    siman_runtime.library._check_ops.cache_clear()
    yield monkeypatch
    siman_runtime.library._check_ops.cache_clear()


def test_another_answer_is_refused(fresh):
    fresh.setattr(self_test, "_EXPECTED", [[0.0] * 4, [1] * 4])
    message = r"ai-edge-litert 2.* does not run .* a test model gives .*and not \[\[0.0, .*: pip "
    for _ in range(2):  # and again, not only at first
        with pytest.raises(LibraryError, match=message):
            siman_runtime.delegate()


def test_a_changed_interface_is_refused(fresh):
    fresh.setattr("ai_edge_litert.interpreter.Interpreter", None)
    with pytest.raises(LibraryError, match="does not run .*TypeError: .*: pip install"):
        siman_runtime.delegate()


def test_it_is_run_once(fresh):
    siman_runtime.delegate()
    fresh.setattr(self_test, "_EXPECTED", [])
    siman_runtime.delegate()


@pytest.mark.usefixtures("starts_python")
def test_a_newer_runtime_that_works_is_taken(fresh):
    fresh.setattr(importlib.metadata, "version", lambda _: "9.0")
    fresh.setattr(self_test, "fault", None)  # in a process of its own only
    siman_runtime.delegate()


@pytest.mark.usefixtures("starts_python")
@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"crashed \(SIGSEGV\)"),
        ("raise ImportError('moved')", "ImportError: moved"),
        ("import sys; sys.exit('gone')", "gone"),
    ],
)
def test_a_newer_runtime_that_does_not_is_refused(fresh, tmp_path, body, told):
    (tmp_path / "ai_edge_litert").mkdir()
    (tmp_path / "ai_edge_litert" / "interpreter.py").write_text(body)
    (tmp_path / "ai_edge_litert" / "__init__.py").write_text("")
    fresh.syspath_prepend(str(tmp_path))
    fresh.setattr(importlib.metadata, "version", lambda _: "9.0")
    with pytest.raises(LibraryError, match=f"ai-edge-litert 9.0 does not run .*{told}.*: pip ins"):
        siman_runtime.delegate()


if __name__ == "__main__":
    self_test._MODEL.write_bytes(model())
    print(len(model()), "bytes; expected:", expected(self_test._sample()))
