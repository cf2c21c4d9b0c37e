"""Several replicas and several processes train as one does with the whole batch."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import shallow
import tensorflow as tf

from siman_larq import data
from siman_larq.data import Share
from siman_larq.training import make_strategy
from siman_larq.training.distribution import devices

SCRIPT = [sys.executable, shallow.__file__, "--dataset", "fashion_mnist_mini", "--seed", "1"]
SCRIPT += ["--train-examples", "256", "--test-examples", "64", "--batch-size", "32"]
SCRIPT += ["--learning-rate", "0.02", "--warmup-epochs", "0", "--epochs"]
# Replicas add up in another order; single signs then turn. Seen: 2e-5 of the loss.
TOLERANCE = 1e-3
EPOCHS = 8


def losses(folder):
    with open(Path(folder) / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array([[float(row["loss"]), float(row["val_loss"])] for row in rows])


@pytest.fixture
def free_ports():
    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def worker(index, ports, folder, epochs):
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
    with open(folder.parent / f"worker-{index}.log", "ab") as log:
        return subprocess.Popen(
            [*SCRIPT, str(epochs), "--strategy", "multiworker", "--run-dir", str(folder)],
            env=os.environ | {"TF_CONFIG": json.dumps(config), "CUDA_VISIBLE_DEVICES": "-1"},
            stdout=log,
            stderr=log,
        )


def single_process(folder, epochs, *options):
    result = subprocess.run(
        [*SCRIPT, str(epochs), "--run-dir", str(folder), *options],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr


def logs(folder):
    return "".join(path.read_text(errors="replace")[-3000:] for path in folder.glob("worker-*.log"))


class TestStrategies:
    def test_unknown(self):
        with pytest.raises(ValueError, match=r"strategy='tpu'.*single, mirrored, multiworker"):
            make_strategy("tpu")

    @pytest.mark.parametrize(
        "config", ["", "{", '{"cluster": {"worker": ["a:1"]}}', '{"cluster": {}, "task": 3}']
    )
    def test_damaged_cluster_descriptions(self, monkeypatch, config):
        monkeypatch.setenv("TF_CONFIG", config)
        with pytest.raises(ValueError, match=r"needs the environment variable TF_CONFIG.*cluster"):
            make_strategy("multiworker")

    def test_devices_are_told(self):
        assert devices(make_strategy("single")) == "CPU:0"
        assert devices(make_strategy("mirrored")) == "CPU:0, CPU:1"
        alone = tf.distribute.MirroredStrategy(["CPU:0"])
        assert devices(alone) == "CPU:0; with one device, mirrored trains as single does"

    def test_mirrored_is_one_in_a_process(self):
        """Two would mix up each other's collective ops (test_layers.py trains with it too)."""
        assert make_strategy("mirrored") is make_strategy("mirrored")

    def test_batches_that_cannot_be_divided(self):
        with pytest.raises(ValueError, match=r"batch_size=10.*among 4 replicas.*multiple of 4"):
            Share(0, 2, 2).of(10)


@pytest.mark.parametrize("stream", [False, True])
def test_shares_of_batches_are_the_batches(stream):
    if stream:
        source = data.stream("fashion_mnist_mini", train_examples=100)
    else:
        source = data.MemorySource(data.load("fashion_mnist_mini", train_examples=100))
    settings = {"batch_size": 8, "image_shape": (32, 32, 3), "seed": 4}

    def batches(share, replicas, first_epoch):
        pairs = list(
            source.train_batches(first_epoch=first_epoch, epochs=2, share=share, **settings)
        )
        for step in range(0, len(pairs), replicas):
            parts = pairs[step : step + replicas]
            yield np.concatenate([images for images, _ in parts])

    whole = list(batches(Share(), 1, 1))
    assert len(whole) == 12
    shared = zip(batches(Share(0, 2, 2), 2, 1), batches(Share(1, 2, 2), 2, 1), strict=True)
    for batch, parts in zip(whole, shared, strict=True):
        together = np.concatenate(parts)
        assert batch.shape == together.shape == (8, 32, 32, 3)
        # In a batch the order is free.
        order, other = (np.argsort(b.sum(axis=(1, 2, 3))) for b in (batch, together))
        np.testing.assert_array_equal(batch[order], together[other])
    # An epoch does not depend on where the run began.
    for resumed, batch in zip(list(batches(Share(), 1, 0))[12:], whole, strict=True):
        np.testing.assert_array_equal(resumed, batch)


def weights(folder):
    reader = tf.train.load_checkpoint(str(folder / "checkpoints"))
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith("model/")]
    return {name: reader.get_tensor(name) for name in names if "optimizer" not in name}


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The run folder of one process, which is trained once for all that are held against it."""
    folder = tmp_path_factory.mktemp("single") / "one"
    single_process(folder, EPOCHS)
    return folder


@pytest.mark.slow
def test_two_replicas_equal_one(tmp_path, one):
    single_process(tmp_path / "two", EPOCHS, "--strategy", "mirrored")
    assert losses(one).shape == (EPOCHS, 2)
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(one), rtol=TOLERANCE)
    one, two = weights(one), weights(tmp_path / "two")
    assert set(one) == set(two)
    assert len(one) > 10
    for name, values in one.items():
        # Keras's synchronised normalisation puts the biased variance into the moving one.
        np.testing.assert_allclose(two[name], values, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path, free_ports, one):
    workers = [worker(index, free_ports, tmp_path / "two", EPOCHS) for index in range(2)]
    for process in workers:
        assert process.wait(timeout=400) == 0, logs(tmp_path)
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(one), rtol=TOLERANCE)
    assert json.loads((tmp_path / "two" / "report.json").read_text())["packed"] == ["binary"]
    assert "the chief writes the report" in (tmp_path / "worker-1.log").read_text()


@pytest.mark.slow
def test_lost_workers_that_come_back(tmp_path, free_ports, one):
    """First one of them, and when both go on together the other, which is the chief."""
    folder = tmp_path / "two"
    workers = [worker(index, free_ports, folder, EPOCHS) for index in range(2)]
    for lost, checkpoint in [(1, 2), (0, 5)]:
        deadline = time.time() + 300
        while not list(folder.glob(f"checkpoints/ckpt-{checkpoint}.index")):
            assert time.time() < deadline, logs(tmp_path)
            assert all(process.poll() is None for process in workers), logs(tmp_path)
            time.sleep(0.05)
        workers[lost].send_signal(signal.SIGKILL)
        assert workers[lost].wait() == -signal.SIGKILL, "it ended before it was stopped"
        workers[lost] = worker(lost, free_ports, folder, EPOCHS)
    for process in workers:
        assert process.wait(timeout=500) == 0, logs(tmp_path)
    assert losses(folder).shape == (EPOCHS, 2)
    np.testing.assert_allclose(losses(folder), losses(one), rtol=TOLERANCE)
