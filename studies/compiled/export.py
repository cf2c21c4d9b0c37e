"""Exports the epochs of a study's runs as programs for XLA, to be run where there is no TensorFlow.

    python studies/compiled/export.py studies/levels.toml --output bundle
    python studies/compiled/export.py results/resnet20-fashion_mnist/recipe.json --output bundle

One epoch is one program: the training step of this package as Keras makes it (network, loss,
optimizer, constraints, order and augmentation of the images), in a loop, and the test behind it.
`compute.py` beside this file runs the programs on whatever XLA knows, with JAX, NumPy and SciPy
alone; `collect.py` brings back what it gave.
"""

import hashlib
import json
import lzma
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import click
import numpy as np
import tensorflow as tf
from compute import IMAGES, images_of
from epoch import Epoch
from tqdm import tqdm

from siman_larq import data
from siman_larq.callbacks import ClipAnnealing, percentile_clips
from siman_larq.cli.start import one_sentence
from siman_larq.studies.plan import PlannedRun
from siman_larq.studies.reading import read
from siman_larq.studies.rows import read_rows
from siman_larq.studies.settings import check_settings, settings_of
from siman_larq.training.network import build_model
from siman_larq.training.recipe import Recipe
from siman_larq.training.run import load_images

_OF_IMAGES = (
    "dataset",
    "data_dir",
    "image_size",
    "train_examples",
    "test_examples",
    "held_out",
    "skip_damaged",
    "seed",
)


def program_of(epoch: Epoch) -> tuple[bytes, dict[str, Any]]:
    """The program of an epoch, and what is what in it.

    # Returns
        A serialized `HloModuleProto`; and for each variable that it captures an index into the
        state, or shape and type of one that may begin as 0.
    """
    concrete = epoch.traced()
    zeros = [tf.zeros(spec.shape, spec.dtype) for spec in epoch.arguments]
    program = epoch.function.experimental_get_compiler_ir(*zeros)(stage="hlo_serialized")
    index = {id(v.handle): i for i, v in enumerate(epoch.state)}
    model = epoch.model
    others = [v for metric in model.metrics for v in metric.variables]
    others += [model.optimizer.learning_rate, *(c.variable for c in percentile_clips(model))]
    known = {id(v.handle): v for v in others}
    captured: list[Any] = []
    for handle in map(id, concrete.captured_inputs):
        if handle in index:
            captured.append(index[handle])
        else:
            variable = known[handle]
            captured.append({"shape": list(variable.shape), "dtype": variable.dtype.name})
    flips = epoch.flips
    return program, {
        "captured": captured,
        "weights": len(model.weights),
        "binary_weights": flips.weights,
        "kernels": [index[id(layer.kernel.handle)] for layer in flips.layers],
        "codes": [index[id(v.handle)] for v in flips.codes],
        "moved": [index[id(v.handle)] for v in flips.moved],
    }


class Bundle:
    """Programs, initial states and jobs in one folder."""

    def __init__(self, folder: Path, counts_flips: bool = True) -> None:
        self._folder, self._counts_flips = folder, counts_flips
        (folder / "programs").mkdir(parents=True, exist_ok=True)
        self._epochs: dict[str, Epoch] = {}
        self._arrays: dict[str, np.ndarray] = {}
        self._beginnings: dict[Any, list[np.ndarray]] = {}
        self.jobs: list[dict[str, Any]] = []
        self._all: dict[str, np.ndarray] | None = None
        self._counts: dict[Any, int] = {}
        self._runs: set[Any] = set()

    def add(self, study: str, run: PlannedRun, keep: bool = False) -> None:
        """Adds a run, whose weights are kept if asked for."""
        recipe = run.recipe
        if (study, *run[:4]) in self._runs:
            raise ValueError(
                f"Two runs of {study!r} have the arm {run.arm!r} and the seed {run.seed}, by which "
                "their rows are known; export one of them into a bundle with rows of its own."
            )
        count = self._count(recipe)
        self._runs.add((study, *run[:4]))
        first, epochs = recipe.real_epochs, recipe.epochs
        names = [self._program(recipe, count, is_real=i < first) for i in range(epochs)]
        state = []
        for array in self._beginning(self._epochs[names[0]], recipe):
            key = hashlib.sha256(array.tobytes() + str(array.shape).encode()).hexdigest()[:16]
            self._arrays[key] = array
            state.append(key)
        clamp = ClipAnnealing(0.0 if recipe.clamp == "none" else recipe.clip_start, first)
        clips = [clamp.percent_at(e, epochs) if e >= first else 0.0 for e in range(epochs)]
        self.jobs.append(
            {
                "programs": names,
                "study": study,
                "settings": settings_of(recipe),
                **dict(zip(("phase", "arm", "seed", "setting"), run[:4], strict=True)),
                "rates": [recipe.learning_rate_at(e) for e in range(epochs)],
                "clips": clips,
                "count": count,
                "held_out": recipe.held_out,
                "state": state,
                "keep": keep,
                "counts_flips": self._counts_flips and not first,
                "every": max(epochs // 12, 1),
            }
        )

    def _count(self, recipe: Recipe) -> int:
        """How many images it is trained on, which with those it is tested on are the bundle's."""
        key = tuple(getattr(recipe, name) for name in _OF_IMAGES)
        if key not in self._counts:
            own = _in_memory(recipe)
            if self._all is None:
                whole = _in_memory(replace(recipe, train_examples=None, held_out=0))
                self._all = {name: getattr(whole, name) for name in IMAGES}
            job = {"held_out": recipe.held_out, "count": len(own.train_images)}
            given = images_of(job, self._all)
            tested = [images[: recipe.held_out or None] for images in given[2:]]
            ours = [getattr(own, name) for name in IMAGES]
            fits = len(given[2]) == len(self._all["test_images"])
            if not fits or not all(map(np.array_equal, ours, [*given[:2], *tested])):
                differ = ", ".join(f"{n}={v!r}" for n, v in zip(_OF_IMAGES, key, strict=True) if v)
                raise ValueError(
                    f"The images of a run with {differ} are not among those of the first run; "
                    "export it into a bundle of its own, with no more held-out images than test "
                    "images, and without test_examples beside them."
                )
            self._counts[key] = len(own.train_images)
        return self._counts[key]

    def _program(self, recipe: Recipe, count: int, is_real: bool) -> str:
        # Of no account for the program.
        plain = replace(
            recipe,
            train_examples=count,
            seed=0,
            learning_rate=0.1,
            epochs=1000,
            held_out=0,
            warmup_epochs=0,
            two_steps=False,
            binary_decay=recipe.binary_decay if is_real or not recipe.two_steps else 0.0,
        )
        key = json.dumps([asdict(plain), is_real])
        name = hashlib.sha256(key.encode()).hexdigest()[:12]
        if name not in self._epochs:
            images = _in_memory(plain)
            epoch = Epoch(plain, images, is_real, self._counts_flips)
            program, about = program_of(epoch)
            self._epochs[name] = epoch
            packed = lzma.compress(program, preset=1)
            (self._folder / "programs" / f"{name}.hlo.xz").write_bytes(packed)
            (self._folder / "programs" / f"{name}.json").write_text(json.dumps(about))
        return name

    def _beginning(self, epoch: Epoch, recipe: Recipe) -> list[np.ndarray]:
        """The state before the first epoch."""
        # Arms of a study begin with the same weights, and a network takes seconds to build.
        key = recipe.seed, tuple((w.name, tuple(w.shape)) for w in epoch.model.weights)
        if key not in self._beginnings:
            classes = epoch.model.output_shape[-1]
            made = build_model(recipe, classes, is_real=bool(recipe.real_epochs))
            self._beginnings[key] = made.get_weights()
        epoch.model.set_weights(self._beginnings[key])
        epoch.flips.begin()
        return [v.numpy() for v in epoch.state]

    def write(self) -> None:
        """Writes what `compute.py` reads beside the programs."""
        np.savez_compressed(self._folder / "arrays.npz", **self._arrays)
        np.savez_compressed(self._folder / "images.npz", **(self._all or {}))
        (self._folder / "jobs.json").write_text(json.dumps(self.jobs))


def _in_memory(recipe: Recipe) -> data.ImageData:
    source = load_images(recipe)
    if not isinstance(source, data.MemorySource):
        raise click.ClickException("Streamed images cannot be exported.")
    return source.data


def _export(what: tuple[Path, ...], bundle: Bundle) -> None:
    for path in what:
        if path.suffix == ".json":
            recipe = Recipe.load(path)
            run = PlannedRun("main", recipe.model, recipe.seed, "", recipe)
            bundle.add("run", run, keep=True)
            continue
        study = read(path)
        rows = read_rows(study.results / "epochs.csv")
        runs, ended = study.runs(rows), {row.run for row in rows}
        check_settings(study, runs, rows)
        # A teacher's model is made in its run folder.
        here = study.teachers | {run.arm for run in runs if run.recipe.teacher}
        left = [run for run in runs if run[:4] not in ended]
        if out := sorted({run.arm for run in left} & here):
            click.echo(f"Left out, as they teach or are taught: {', '.join(out)}. Make them here.")
        for run in tqdm([run for run in left if run.arm not in here], study.name):
            bundle.add(study.name, run)
    bundle.write()


@click.command(context_settings={"show_default": True})
@click.argument("what", type=click.Path(path_type=Path, exists=True), nargs=-1, required=True)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The new folder.")
@click.option("--flips/--no-flips", default=True, help="Whether to compare codes at every step.")
def main(what: tuple[Path, ...], output: Path, flips: bool) -> None:
    """Exports what is known by now of WHAT, and not in an epochs.csv.

    WHAT are studies, as TOML, or recipes of single runs, as JSON, all of one data set.
    """
    with one_sentence(ValueError, OSError):
        _export(what, Bundle(output, flips))


if __name__ == "__main__":
    main()
