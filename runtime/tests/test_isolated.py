"""`isolated=True`: the same results from a process of its own, which may die."""

import errno
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tflite_models import FLOAT, INT8, Builder, Convolution, schema

from siman_runtime import Interpreter, ModelError
from siman_runtime.bench import main as bench
from siman_runtime.run import main as siman_run

pytestmark = pytest.mark.usefixtures("starts_python")

OP = Convolution(height=6, width=5, channels=40, filters=20)
SAMPLES = np.concatenate([OP.sample(seed) for seed in range(5)])
# The portable kernel is at it for many seconds.
SLOW = Convolution(height=200, width=200, channels=64, filters=64, kernel=(31, 31))
CRASH = r"^The model's process crashed \(SIGSEGV\)\.$"


def children_of(parent: int) -> "set[int]":
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, above = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # ended since
            continue
        if int(above) == parent and state != "Z":
            found.add(int(path.parent.name))
    return found


def ticks(process: int) -> int:
    """Time that it has computed."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11])


def with_process(content: bytes, **settings) -> "tuple[Interpreter, int]":
    before = children_of(os.getpid())
    interpreter = Interpreter(content, isolated=True, **settings)
    (process,) = children_of(os.getpid()) - before
    return interpreter, process


def ends(process: int) -> bool:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


def network() -> bytes:
    b = Builder()
    x = b.tensor(OP.shape, INT8, scale=OP.in_scale, zero_point=OP.in_zero_point)
    other = b.tensor((1, 3), FLOAT)
    op = Convolution(height=6, width=5, channels=40, filters=20, input=INT8, output=INT8)
    y, double = op.append(b, x), b.add(other, other)
    b.signature("classify", {"image": x, "other": other}, {"scores": y, "double": double})
    return b.build([x, other], [y, double])


def hostile() -> bytes:
    """A SPLIT without its options, which LiteRT reads all the same."""
    b = Builder()
    x, y = b.tensor((1, 3), FLOAT), b.tensor((1, 3), FLOAT)
    b._operator(schema.BuiltinOperator.SPLIT, [x], [y])
    return b.build([x], [y])


def test_all_is_as_in_this_process():
    here, there = (Interpreter(network(), 2, trace=True, isolated=value) for value in (False, True))
    rng = np.random.default_rng(0)
    x = [rng.integers(-128, 128, (5, *OP.shape[1:])).astype(np.int8), rng.normal(0, 1, (5, 3))]
    for shapes in ([OP.shape, (1, 3)], [(2, *OP.shape[1:]), (2, 3)], [(2, 9, 7, 40), (2, 3)]):
        for interpreter in (here, there):
            interpreter.resize(*shapes)
        for name in ("types", "shapes", "scales", "zero_points"):
            for side in ("input", "output"):
                assert getattr(here, f"{side}_{name}") == getattr(there, f"{side}_{name}")
        assert here.input_signatures == there.input_signatures
        values = [np.resize(x[0], (5, *shapes[0][1:])), x[1]]
        for given in (lambda v=values: v, lambda v=values: zip(*v, strict=True)):
            for one, other in zip(here.predict(given()), there.predict(given()), strict=True):
                np.testing.assert_array_equal(one, other)
                assert one.dtype == other.dtype
        (one,), (other,) = here.traced.values(), there.traced.values()
        np.testing.assert_array_equal(one, other)
    assert here.get_signature_list() == there.get_signature_list()
    results = [i.get_signature_runner()(image=values[0], other=x[1]) for i in (here, there)]
    for name in ("scores", "double"):
        np.testing.assert_array_equal(*(result[name] for result in results))
    told = []
    for interpreter in (here, there):
        with pytest.raises(ModelError, match="resize: the network cannot be run at") as error:
            interpreter.resize((1, 6, 5, 90), (1, 3))
        told.append(str(error.value))
    assert told[0] == told[1]
    with pytest.raises(ValueError, match="litert: it is in a process of its own"):
        _ = there.litert


def test_files_that_crash():
    with pytest.raises(ModelError, match=CRASH):
        Interpreter(hostile(), isolated=True)


def test_files_that_are_none():
    b = Builder()
    x, y = b.tensor((1, 3), FLOAT), b.tensor((1, 3), FLOAT)
    b.op("LceNew", [x], [y])
    before = children_of(os.getpid())
    with pytest.raises(ModelError, match="LceNew of Larq Compute Engine is unknown"):
        Interpreter(b.build([x], [y]), isolated=True)
    assert children_of(os.getpid()) <= before  # one of an earlier test's may end meanwhile


def test_a_process_that_the_system_refuses(monkeypatch):
    def refuse(*_, **__):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(OSError, match=r"isolated=True: its process cannot be started \(Resource"):
        Interpreter(OP.model(), isolated=True)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (signal.SIGSEGV, CRASH),
        (signal.SIGKILL, r"process was killed from outside \(SIGKILL\), as systems do when memory"),
    ],
)
def test_a_dead_process_says_so_at_every_call(number, message):
    interpreter, process = with_process(OP.model())
    os.kill(process, number)
    for _ in range(2):
        with pytest.raises(ModelError, match=message):
            interpreter.predict(SAMPLES)
    with pytest.raises(ModelError, match=message):
        interpreter.resize((2, 6, 5, 40))
    assert interpreter.input_shapes == [OP.shape]
    interpreter.close()
    assert process not in children_of(os.getpid())


def test_memory():
    interpreter, process = with_process(OP.model(), memory_limit=150)
    np.testing.assert_array_equal(interpreter.predict(SAMPLES), OP.expected(SAMPLES))
    interpreter.resize((1, 1000, 1000, 40))
    for _ in range(2):
        with pytest.raises(ModelError, match=r"took more than 150 MiB of memory \(memory_limit\)"):
            interpreter.predict(np.zeros((1, 1000, 1000, 40), np.float32))
    assert ends(process)


def test_time():
    with pytest.raises(ModelError, match=r"took longer than 0\.05 s \(time_limit\) and was ended"):
        Interpreter(OP.model(), isolated=True, time_limit=0.05)
    interpreter, process = with_process(SLOW.model(), time_limit=10)
    os.kill(process, signal.SIGSTOP)  # it does not even take its input
    for _ in range(2):
        with pytest.raises(ModelError, match=r"took longer than 10 s \(time_limit\)"):
            interpreter.predict(SLOW.sample())
    assert ends(process)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"isolated": True, "time_limit": 0}, "time_limit=0: a number of seconds above 0"),
        ({"isolated": True, "time_limit": "1"}, "time_limit='1': a number of seconds above 0"),
        ({"isolated": True, "memory_limit": -1}, "memory_limit=-1: a number of MiB above 0"),
        ({"isolated": True, "memory_limit": float("nan")}, "memory_limit=nan: a number of MiB"),
        ({"time_limit": 5}, "time_limit and memory_limit need isolated=True"),
    ],
)
def test_limits(settings, message):
    with pytest.raises(ValueError, match=message):
        Interpreter(OP.model(), **settings)


def test_an_interrupt_ends_it(monkeypatch):
    """What it computes would be taken for the result of the next call."""
    monkeypatch.setenv("SIMAN_KERNEL", "portable")
    interpreter, process = with_process(SLOW.model())

    x = SLOW.sample()
    before = ticks(process)

    def interrupt():
        while ticks(process) < before + 10:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    # Shells have their background jobs ignore it.
    before_it = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        interpreter.predict(x)
    thread.join()
    signal.signal(signal.SIGINT, before_it)
    with pytest.raises(ModelError, match="was ended in the midst of a call"):
        interpreter.predict(x)
    assert ends(process)


def test_it_ends_with_its_interpreter():
    interpreter, process = with_process(OP.model())
    with interpreter:
        pass
    assert ends(process)
    with pytest.raises(ValueError, match="The interpreter is closed"):
        interpreter.predict(SAMPLES)
    interpreter, process = with_process(OP.model())
    del interpreter
    gc.collect()
    assert ends(process)


def test_it_ends_with_its_parent(tmp_path):
    """Also in the midst of an op, and where the parent, a plain script, is killed."""
    np.savez(tmp_path / "case.npz", model=np.frombuffer(SLOW.model(), np.uint8), x=SLOW.sample())
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import os
import numpy as np
from siman_runtime import Interpreter
case = np.load({str(tmp_path / "case.npz")!r})
interpreter = Interpreter(case["model"].tobytes(), isolated=True)
print("loaded", flush=True)
interpreter.predict(case["x"])
"""
    )
    environment = os.environ | {"SIMAN_KERNEL": "portable"}
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout.readline() == b"loaded\n"
        (process,) = children_of(parent.pid)
        loaded = ticks(process)
        while ticks(process) < loaded + 30:  # 0.3 s of a processor
            time.sleep(0.02)
        assert parent.poll() is None
        parent.kill()
    assert ends(process)


def test_threads_share_it():
    interpreter = Interpreter(OP.model(), isolated=True)
    inputs = [np.concatenate([OP.sample(seed)] * 10) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(interpreter.predict, inputs * 5))
    expected = [np.concatenate([OP.expected(x[:1])] * 10) for x in inputs] * 5
    np.testing.assert_array_equal(results, expected)
    # It does not end with the thread that made it.
    made: list[Interpreter] = []
    thread = threading.Thread(target=lambda: made.append(Interpreter(OP.model(), isolated=True)))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(made[0].predict(SAMPLES), OP.expected(SAMPLES))


def test_a_fork_does_not_share_it(tmp_path):
    np.savez(tmp_path / "case.npz", model=np.frombuffer(OP.model(), np.uint8), x=SAMPLES)
    program = f"""
import os, sys
import numpy as np
from siman_runtime import Interpreter
case = np.load({str(tmp_path / "case.npz")!r})
interpreter = Interpreter(case["model"].tobytes(), isolated=True)
before = interpreter.predict(case["x"])
child = os.fork()
if child == 0:
    try:
        interpreter.predict(case["x"])
    except ValueError as error:
        told = str(error)
    del interpreter
    os._exit("belongs to the process that made it" not in told)
code = os.waitpid(child, 0)[1]
sys.exit(code or not np.array_equal(interpreter.predict(case["x"]), before))
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_siman_run(tmp_path, monkeypatch, capsys):
    image = pytest.importorskip("PIL.Image")
    monkeypatch.chdir(tmp_path)
    op = Convolution(height=4, width=4, channels=3, filters=4, kernel=(4, 4), padding=1)
    (tmp_path / "model.tflite").write_bytes(op.model())
    (tmp_path / "hostile.tflite").write_bytes(hostile())
    image.new("RGB", (4, 4), "red").save("image.png")
    rest = ["image.png", "--mean", "0.5", "--std", "0.5"]

    def rows(*arguments):
        siman_run([*arguments, *rest])
        return capsys.readouterr().out.splitlines()[3:]

    assert rows("model.tflite", "--isolated") == rows("model.tflite")
    with pytest.raises(SystemExit, match=r"siman-run: The model's process crashed \(SIGSEGV\)\."):
        siman_run(["hostile.tflite", *rest, "--isolated"])


def test_bench_runs_what_crashes_elsewhere_first(tmp_path, capsys):
    paths = [str(tmp_path / name) for name in ("model.tflite", "hostile.tflite")]
    for path, content in zip(paths, (OP.model(), hostile()), strict=True):
        Path(path).write_bytes(content)
    bench([paths[0], "--isolated", "--seconds", "0"])
    assert "LceBconv2d" in capsys.readouterr().out
    crash = r"siman-bench: The model's process crashed \(SIGSEGV\)\."
    for arguments in ([paths[1]], [paths[0], "--compare", paths[1]]):
        with pytest.raises(SystemExit, match=crash):
            bench([*arguments, "--isolated"])
    for flag in ("--time-limit", "--memory-limit"):
        for command, rest in ((bench, []), (siman_run, ["image.png"])):
            with pytest.raises(SystemExit, match=f"{flag} 5 needs --isolated: it limits"):
                command([paths[0], flag, "5", *rest])
