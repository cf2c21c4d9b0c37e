"""Run folders: any name, damaged checkpoints, full disks, two processes, other people's files."""

import csv
import json
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
import shallow
import tensorflow as tf

from siman_larq import data, models
from siman_larq.training import Recipe, build_model, create, reopen, train
from siman_larq.training.callbacks import Checkpoints
from siman_larq.training.cli import carry_out

RECIPE = Recipe(
    dataset="fashion_mnist_mini",
    epochs=3,
    warmup_epochs=0,
    batch_size=16,
    train_examples=32,
    test_examples=16,
    learning_rate=0.02,
)
ODD = r"exp[1] *?{x}\%d %s é日"


@pytest.fixture(autouse=True)
def _shallow(monkeypatch):
    monkeypatch.setattr(models, "resnet20", shallow.network)


@pytest.fixture(scope="module")
def images():
    settings = {"train_examples": RECIPE.train_examples, "test_examples": RECIPE.test_examples}
    return data.MemorySource(data.load(RECIPE.dataset, **settings))


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    """A folder with all epochs trained, but no report."""
    folder = tmp_path_factory.mktemp("runs") / "trained"
    folder.mkdir()
    RECIPE.save(folder / "recipe.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "resnet20", shallow.network)
        train(RECIPE, folder, images)
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "run"))


def weights(folder, epoch=RECIPE.epochs):
    # The name may hold what TensorFlow's reader takes for wildcards.
    copy = folder.parent / "copy"
    shutil.copytree(folder / "checkpoints", copy)
    reader = tf.train.load_checkpoint(str(copy / f"ckpt-{epoch}"))
    names = [n for n in reader.get_variable_to_shape_map() if n.startswith(("model", "optimizer"))]
    read = {name: reader.get_tensor(name) for name in names}
    shutil.rmtree(copy)
    return read


def assert_same(folder, trained):
    ours, theirs = weights(folder), weights(trained)
    assert set(ours) == set(theirs)
    assert len(ours) > 20
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name], value, err_msg=name)
    assert history(folder) == history(trained)
    assert listed(folder / "checkpoints").keys() == listed(trained / "checkpoints").keys()


def history(folder):
    with open(folder / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == RECIPE.epochs
    return [{name: row[name] for name in row if name != "seconds"} for row in rows]


def listed(folder):
    return {path.name: path.stat().st_size for path in folder.iterdir()}


class StopError(Exception):
    pass


@pytest.fixture
def stop_after(monkeypatch):
    def install(epochs):
        def stop(self, epoch, logs=None, keep=Checkpoints.on_epoch_end):
            keep(self, epoch, logs)
            if epoch + 1 == epochs:
                raise StopError

        monkeypatch.setattr(Checkpoints, "on_epoch_end", stop)

    return install


def test_any_name_and_nobody_elses_checkpoints(trained, images, tmp_path, stop_after):
    folder, other = tmp_path / ODD, tmp_path / "exp1 abx%d %s é日"
    shutil.copytree(trained, other)
    before = listed(other / "checkpoints")
    folder.mkdir()
    stop_after(2)
    with pytest.raises(StopError):
        train(RECIPE, folder, images)
    assert sorted(listed(folder / "checkpoints"))[1:3] == [
        "ckpt-1.data-00000-of-00001",
        "ckpt-1.index",
    ]
    train(RECIPE, folder, images)
    assert_same(folder, trained)
    assert listed(other / "checkpoints") == before


DAMAGES = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["ckpt-3.index", "ckpt-3.data-00000-of-00001"])
def test_unreadable_checkpoints(folder, trained, images, capsys, name, damage):
    DAMAGES[damage](folder / "checkpoints" / name)
    again = name == "ckpt-3.index" and damage == "cut"
    if again:
        train(RECIPE, folder, images)
        assert_same(folder, trained)
    else:
        assert restored(folder) == 2
    printed = capsys.readouterr().out
    assert "ckpt-3 cannot be read" in printed
    assert "The run goes on after epoch 2." in printed


def restored(folder):
    return Checkpoints(build_model(RECIPE, 10), folder).restore()


@pytest.mark.parametrize("damage", DAMAGES)
def test_lost_list_of_checkpoints(folder, trained, capsys, damage):
    DAMAGES[damage](folder / "checkpoints" / "checkpoint")
    assert restored(folder) == 3
    assert ("was lost" in capsys.readouterr().out) == (damage != "cut")
    assert_same(folder, trained)


def test_nothing_readable_is_not_overwritten(folder, images):
    for path in (folder / "checkpoints").glob("*.index"):
        path.write_bytes(b"")
    before = listed(folder) | listed(folder / "checkpoints")
    with pytest.raises(ValueError, match=r"ckpt-3 cannot be read.*ckpt-2 cannot be read.*put a"):
        train(RECIPE, folder, images)
    assert listed(folder) | listed(folder / "checkpoints") == before


@pytest.mark.parametrize("kept", ["checkpoint", ""])
def test_lost_checkpoints(folder, images, kept):
    for path in (folder / "checkpoints").iterdir():
        if path.name != kept:
            path.unlink()
    with pytest.raises(ValueError, match=r"Nothing|nothing was overwritten"):
        train(RECIPE, folder, images)
    assert len((folder / "history.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize("damage", DAMAGES)
def test_history_is_written_again(folder, trained, capsys, damage):
    DAMAGES[damage](folder / "history.csv")
    assert restored(folder) == 3
    assert_same(folder, trained)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("figure", ["loss", "val_loss"])
def test_a_diverged_epoch_is_not_kept(folder, trained, images, figure):
    """What its last step does shows in the test alone."""
    model = build_model(RECIPE, images.num_classes, images.train_count)
    kept = Checkpoints(model, folder)
    kept.restore()
    with pytest.raises(FloatingPointError, match="The loss became nan in epoch 4: the training"):
        kept.on_epoch_end(3, {"loss": 1.0, "val_loss": 1.0} | {figure: math.nan})
    assert_same(folder, trained)


def test_another_network(folder, images, monkeypatch):
    monkeypatch.setattr(
        models, "resnet20", lambda shape, classes, conv: shallow.network(shape, 7, conv)
    )
    before = listed(folder / "checkpoints")
    with pytest.raises(ValueError, match=r"ckpt-3 is of another network.*shape"):
        train(RECIPE, folder, images)
    monkeypatch.setattr(
        models,
        "resnet20",
        lambda shape, classes, conv: tf.keras.Sequential(
            [
                tf.keras.Input(shape),
                shallow.network(shape, classes, conv),
                tf.keras.layers.Dense(classes),
            ]
        ),
    )
    with pytest.raises(ValueError, match=r"ckpt-3 is of another network"):
        train(RECIPE, folder, images)
    assert listed(folder / "checkpoints") == before


def test_what_a_killed_run_was_writing_is_cleared(folder, trained):
    folder = folder.rename(folder.with_name(ODD))
    checkpoints = folder / "checkpoints"
    (checkpoints / "ckpt-4_temp").mkdir()
    (checkpoints / "ckpt-4_temp" / "part-0").write_bytes(b"x")
    (checkpoints / "worker-x_temp").mkdir()
    for name in ("ckpt-4.data-00000-of-00001", "checkpoint.tmp12ab", "checkpoint.partial"):
        (checkpoints / name).write_bytes(b"x")
    for name in ("model.tflite.partial", "model.partial.keras", "report.json", "model.tflite"):
        (folder / name).write_bytes(b"")
    events = folder / "tensorboard" / "train" / "events.out.tfevents.1.x"
    events.write_bytes(b"")
    (folder / "notes.txt").write_text("mine")
    table = reopen(folder).carry_out()
    assert "packed binary layers" in table
    assert_same(folder, trained)
    assert not events.exists()
    names = listed(folder)
    assert not [name for name in names if "partial" in name or "lock" in name]
    assert (folder / "notes.txt").read_text() == "mine"
    assert all(names.values())
    assert json.loads((folder / "report.json").read_text())["packed"] == ["binary"]


def test_a_first_checkpoint_that_was_being_written(tmp_path):
    (tmp_path / "checkpoints" / "ckpt-1_temp").mkdir(parents=True)
    (tmp_path / "checkpoints" / "ckpt-1.data-00000-of-00001").write_bytes(b"x")
    assert restored(tmp_path) == 0


HOLD = """
import fcntl, sys
lock = open(sys.argv[1], "a+")
fcntl.lockf(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_two_processes_in_one_folder(folder):
    before = listed(folder)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder / ".siman-larq.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match="Another process is at work in .*run"):
            reopen(folder).carry_out()
        other.kill()
    assert {
        name: size for name, size in listed(folder).items() if name != ".siman-larq.lock"
    } == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "Expecting value"),
        ('{"levels": [-1, 1], "mixup": 0.5}', "it has no option mixup"),
        ('{"levels": [-1, 1], "model": "resnet56"}', "resnet56.*resnet20"),
        ('{"levels": [-1, 1], "epochs": "many"}', "epochs=.many. must be a whole number"),
        ("[]", "indices"),
    ],
)
def test_recipes_of_other_versions(tmp_path, content, message):
    (tmp_path / "recipe.json").write_text(content)
    with pytest.raises(ValueError, match=rf"recipe\.json is not a recipe.*{message}.*go on with"):
        reopen(tmp_path)
    assert os.listdir(tmp_path) == ["recipe.json"]


class Refused:
    """What a command line gets, in place of a run."""

    def __init__(self, folder, error):
        self.recipe, self.folder, self.error = RECIPE, folder, error
        self.strategy = tf.distribute.get_strategy()
        self.images = type("Images", (), {"source": "nowhere"})

    def carry_out(self):
        raise self.error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device", "run/x"), "^run/x: No space left on device.*go on"),
        (FileNotFoundError("run was removed."), "^run was removed. What run held"),
        (
            tf.errors.ResourceExhaustedError(None, None, "run/tensorboard/x; No space left"),
            "No space left. What run held before is kept; .*go on: .*--resume",
        ),
        (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"), "--batch-size"),
    ],
)
def test_errors_of_files_are_one_sentence(error, message):
    with pytest.raises(click.ClickException, match=message):
        carry_out(lambda: Refused(Path("run"), error), lambda folder: ["--resume", str(folder)])


@pytest.mark.parametrize(("error", "said"), [(None, ""), (ValueError("odd"), " (ValueError: odd)")])
def test_an_interrupt_that_a_library_makes_another_error_of(monkeypatch, capsys, error, said):
    def interrupted(self):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            if error is None:
                raise
            raise error from None

    monkeypatch.setattr(Refused, "carry_out", interrupted)
    # Tests in the background have it ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(SystemExit) as end:
            carry_out(lambda: Refused(Path("run"), error), lambda folder: ["--resume", str(folder)])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert end.value.code == 130
    assert f"\nInterrupted{said}. To go on: " in capsys.readouterr().out


def test_a_place_for_runs_that_is_a_file(tmp_path):
    (tmp_path / "runs").write_text("mine")
    with pytest.raises(click.ClickException, match=r"runs.*(exists|a directory).*Nothing was st"):
        carry_out(lambda: create(RECIPE, tmp_path / "runs"), lambda folder: [])


def test_full_disk(folder, images, trained):
    for path in (folder / "checkpoints").glob("ckpt-3.*"):
        path.unlink()
    before = {
        name: size for name, size in listed(folder / "checkpoints").items() if "ckpt-2" in name
    }
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        # What is printed goes into files too.
        with (
            open(os.devnull, "w") as null,
            redirect_stdout(null),
            redirect_stderr(null),
            pytest.raises(OSError, match=r"\] File too large: .*checkpoints"),
        ):
            train(RECIPE, folder, images)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert before.items() <= listed(folder / "checkpoints").items()
    train(RECIPE, folder, images)
    # What could not be written is cleared by a run, which this is not.
    shutil.rmtree(folder / "checkpoints" / "ckpt-3_temp", ignore_errors=True)
    assert_same(folder, trained)


def test_folder_removed_in_mid_run(images, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    folder.mkdir()

    def remove(self, epoch, logs=None, keep=Checkpoints.on_epoch_end):
        if epoch == 1:
            shutil.rmtree(folder)
        keep(self, epoch, logs)

    monkeypatch.setattr(Checkpoints, "on_epoch_end", remove)
    with pytest.raises(FileNotFoundError, match=r"run was removed or renamed"):
        train(RECIPE, folder, images)
    assert not folder.exists()


def test_other_peoples_folders(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match=r"holds other files \(thesis.tex\) and no run"):
        create(RECIPE, tmp_path, tmp_path)
    with pytest.raises(ValueError, match=r"/ holds other files .*, \.\.\."):
        create(RECIPE, tmp_path, Path("/"))
    with pytest.raises(ValueError, match=r"thesis.tex is a file"):
        create(RECIPE, tmp_path, tmp_path / "thesis.tex")
    with pytest.raises(OSError, match="thesis"):
        create(RECIPE, tmp_path / "thesis.tex")
    with pytest.raises(ValueError, match="not in UTF-8"):
        create(RECIPE, tmp_path, tmp_path / os.fsdecode(b"\xff"))
    assert os.listdir(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 1.5}, "threshold"),
        ({"clip_start": 70.0}, "start=70"),
        ({"batch_size": 64}, "batch_size=64"),
        ({"levels": (0, 2)}, "levels"),
        ({"dataset": "no_such_data"}, "no_such_data"),
    ],
)
def test_bad_values_leave_no_folder(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        create(replace(RECIPE, **settings), tmp_path / "runs")
    assert list(tmp_path.iterdir()) == []


def test_another_recipe_in_the_folder(folder):
    with pytest.raises(ValueError, match=r"another recipe \(seed=0, not 3\); .*--resume"):
        create(replace(RECIPE, seed=3), folder.parent, folder)


@pytest.mark.parametrize("worker", [0, 1])
def test_what_is_trained_needs_no_cluster(folder, monkeypatch, worker):
    config = {
        "cluster": {"worker": ["127.0.0.1:1", "127.0.0.1:2"]},
        "task": {"type": "worker", "index": worker},
    }
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    recipe = replace(RECIPE, strategy="multiworker")
    recipe.save(folder / "recipe.json")
    said = create(recipe, folder.parent, folder).carry_out()
    assert ("packed binary layers" in said) == (worker == 0)
    assert (folder / "report.json").exists() == (worker == 0)
