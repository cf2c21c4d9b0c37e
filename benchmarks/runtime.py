"""siman-runtime beside Larq Compute Engine's interpreter and the float32 twin, and its limit.

Single layers are beside OpenVINO's binary convolution, where package openvino is installed.

Untrained networks: weights do not change speed. All are run in turns, several rounds, so that what
else the machine does meets all of them. Needs siman-runtime, which `make wheels` builds.
"""

import importlib.util
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "runtime" / "tests"))
if importlib.util.find_spec("siman_runtime") is None:
    sys.exit(
        "benchmarks/runtime.py needs siman-runtime: make wheels && "
        f"{sys.executable} -m pip install --no-deps runtime/dist/siman_runtime-*$(uname -m).whl"
    )

import siman_larq  # noqa: F401  (before Larq, which needs the Keras 2 that this sets up)

# isort: split
import click
import larq_compute_engine as lce
import larq_zoo
import numpy as np
import tensorflow as tf
from larq_compute_engine.tflite.python.interpreter import Interpreter as LceInterpreter
from tflite_models import Convolution

import siman_runtime
from siman_larq import convert, models
from siman_runtime import library
from siman_runtime.bench import system

_TURN, _LEAST_RUNS = 0.5, 4  # seconds, and runs of what is slow
LAYERS = [(56, 64), (28, 128), (14, 256), (7, 512), (32, 64), (16, 128), (8, 256)]


def float_twin(model: tf.keras.Model) -> bytes:
    """The same network without quantizers."""

    def plain(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        config = layer.get_config()
        for name in ("input_quantizer", "kernel_quantizer", "kernel_constraint"):
            if name in config:
                config[name] = None
        return type(layer).from_config(config)

    twin = tf.keras.models.clone_model(model, clone_function=plain)
    return tf.lite.TFLiteConverter.from_keras_model(twin).convert()


def in_int8(model: tf.keras.Model) -> bytes:
    """The same network with its float layers in 8-bit integers."""
    samples = np.random.default_rng(0).normal(0, 1, (32, *model.input_shape[1:]))
    return convert(model, float_ops="int8", samples=samples.astype(np.float32))


def networks() -> dict[str, tuple[bytes, dict[str, bytes]]]:
    zoo = {
        "BiRealNet": larq_zoo.literature.BiRealNet,
        "QuickNet": larq_zoo.sota.QuickNet,
        "QuickNetLarge": larq_zoo.sota.QuickNetLarge,
    }
    made = {}
    for name, build in zoo.items():
        model = build(weights=None)
        peers = {"ours, int8": in_int8(model), "float32": float_twin(model)}
        made[name] = (lce.convert_keras_model(model), peers)
    return made | {"ResNet-18 (32)": (convert(models.resnet18()), {})}


def milliseconds(run: Callable[[], object]) -> list[float]:
    """Of each run in a turn, long enough for the caches to lose what others left there."""
    times: list[float] = []
    run()
    end = time.perf_counter() + _TURN
    while len(times) < _LEAST_RUNS or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - start))
    return times


def contestants(content: bytes, peers: dict[str, bytes]) -> dict[str, Callable[[], object]]:
    ours = {n: siman_runtime.Interpreter(content, num_threads=n) for n in (1, 2)}
    shape = ours[1].input_shapes[0]
    x = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    default, indirect = LceInterpreter(content), LceInterpreter(content, use_indirect_bgemm=True)
    runs: dict[str, Callable[[], object]] = {
        "ours": lambda: ours[1].predict(x),
        "ours, 2 threads": lambda: ours[2].predict(x),
        "LCE default": lambda: default.predict(x),
        "LCE indirect": lambda: indirect.predict(x),
    }
    for name, file in peers.items():
        runs[name] = partial(siman_runtime.Interpreter(file).predict, x)
    return runs


def print_network(name: str, content: bytes, files: dict[str, bytes], rounds: int) -> None:
    runs = contestants(content, files)
    times: dict[str, list[float]] = {key: [] for key in runs}
    for _ in range(rounds):
        for key, run in runs.items():
            times[key] += milliseconds(run)
    middle = {key: float(np.median(values)) for key, values in times.items()}
    print(f"\n{name}")
    for key, values in times.items():
        low, high = np.percentile(values, (25, 75))
        print(f"  {key:<16} {middle[key]:8.2f} ms  (quartiles {low:.2f}-{high:.2f})")
    best = min(middle["LCE default"], middle["LCE indirect"])
    peers = {"LCE's best": best} | ({"float32": middle["float32"]} if "float32" in middle else {})
    told = []
    for key, how in (("ours", ""), ("ours, int8", " with int8 float layers")):
        if key in middle:
            shares = [f"{middle[key] / spent:.3f} of {peer}" for peer, spent in peers.items()]
            told.append(" and ".join(shares) + how)
    told.append(f"two threads {middle['ours'] / middle['ours, 2 threads']:.2f} times one")
    print(f"  ours: {', '.join(told)}")


def ours(layer: Convolution) -> Callable[[], dict[str, float]]:
    """A run of the layer, which gives the seconds of each op."""
    interpreter = siman_runtime.Interpreter(layer.model())
    x = layer.sample()

    def run() -> dict[str, float]:
        library.profile(True)
        interpreter.predict(x)
        seconds = {op: t for _, op, _, t in library.profiled()}
        library.profile(False)
        return seconds

    return run


def openvino(layer: Convolution) -> Callable[[], dict[str, float]]:
    """The same by OpenVINO, which gives the sums of signs and times in whole microseconds."""
    from openvino import Core, Model, Tensor, Type, op, opset1

    shape = [layer.batch, layer.channels, layer.height, layer.width]
    x = np.ascontiguousarray(layer.sample().transpose(0, 3, 1, 2))
    weights = layer.weights.transpose(0, 3, 1, 2)
    packed = np.packbits(weights.ravel() > 0, bitorder="little")
    image = opset1.parameter(shape, np.float32)
    limits = [np.full((1, 1, 1, 1), value, np.float32) for value in (0, 0, 0, 1)]
    signs = opset1.fake_quantize(image, *limits, 2)
    kernel = op.Constant(Tensor(packed, list(weights.shape), Type.u1))
    ones, pads = [1, 1], [size // 2 for size in layer.kernel]
    sums = opset1.binary_convolution(
        signs, kernel, ones, pads, pads, ones, "xnor-popcount", float(layer.pad_values)
    )
    settings = {"INFERENCE_NUM_THREADS": 1, "PERF_COUNT": True}
    model = Core().compile_model(Model([sums], [image]), "CPU", settings)
    request = model.create_infer_request()
    result = request.infer({0: x})[0].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(
        result * layer.multiplier + layer.bias, layer.expected(layer.sample()), rtol=1e-3, atol=1e-3
    )

    def run() -> dict[str, float]:
        assert packed.size  # the model copies nothing, so that this must live on
        request.infer({0: x})
        seconds: dict[str, float] = {}
        for part in request.profiling_info:
            spent = part.real_time.total_seconds()
            seconds[part.node_type] = seconds.get(part.node_type, 0) + spent
        return seconds

    return run


def least(runs: dict[str, Callable[[], dict[str, float]]]) -> dict[str, tuple[float, float]]:
    """For each, in turns, the least seconds of the binary convolution and of all ops."""
    best = dict.fromkeys(runs, (np.inf, np.inf))
    for _ in range(100):
        for name, run in runs.items():
            seconds = run()
            alone = next(t for op, t in seconds.items() if op.endswith(("Bconv2d", "Convolution")))
            whole = sum(seconds.values())
            best[name] = (min(best[name][0], alone), min(best[name][1], whole))
    return best


def print_layers() -> None:
    peak = library.peak_bits_per_second()
    print(
        f"\n3x3 layers, one thread; bits that one core can count: {peak / 1e9:.0f} thousand million"
    )
    peers: dict[str, Callable[[Convolution], Callable[[], dict[str, float]]]] = {"ours": ours}
    if importlib.util.find_spec("openvino") is None:
        print(f"OpenVINO is not installed: {sys.executable} -m pip install openvino")
    else:
        peers["OpenVINO"] = openvino
    print("  positions  channels                microseconds  with packing  share of limit")
    for size, channels in LAYERS:
        layer = Convolution(height=size, width=size, channels=channels, filters=channels)
        bits = size * size * channels * channels * 9
        times = least({name: peer(layer) for name, peer in peers.items()})
        for name, (alone, whole) in times.items():
            print(
                f"  {size:>4} x {size:<3} {channels:>8}  {name:<10}  {alone * 1e6:14.1f}  "
                f"{whole * 1e6:12.1f}  {bits / alone / peak:14.2f}"
            )


@click.command(context_settings={"show_default": True})
@click.option("--rounds", default=5)
def main(rounds: int) -> None:
    """Prints times of networks and of single layers."""
    for name, value in system().items():
        print(f"{name:<10} {value}")
    for name, (content, peers) in networks().items():
        print_network(name, content, peers, rounds)
    print_layers()


if __name__ == "__main__":
    main()
