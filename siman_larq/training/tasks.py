"""zookeeper tasks: Larq Zoo's experiments with models in SiMaN form.

    siman-larq tasks TrainSiMaNBiRealNet dataset.name=photos dataset.data_dir=data epochs=2

Fields are those of Larq Zoo's experiments, but for those of its training loop, which are refused;
images, resuming, conversion and reports are those of train/imagenet.py.
"""

import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tensorflow as tf
from larq_zoo.training.knowledge_distillation.multi_stage_training import LarqZooModelTrainingPhase
from larq_zoo.training.train import TrainLarqZooModel
from zookeeper import ComponentField, Field, component, task
from zookeeper.tf import Dataset

from siman_larq import data, zoo
from siman_larq.choices import ZOO_MODELS
from siman_larq.data.crops import decoded
from siman_larq.data.records import Records
from siman_larq.training.cli import carry_out
from siman_larq.training.recipe import Recipe
from siman_larq.training.recipes import imagenet_recipe_for
from siman_larq.training.run import Run, create
from siman_larq.training.zoo_recipes import experiment_of

__all__ = ["Images", "SiMaNExperiment"]


@component
class Images(Dataset):
    """Any TFDS classification data set that is on this machine."""

    name: str = Field("imagenet2012")
    data_dir: str | None = Field(None)
    train_examples: int | None = Field(None)
    test_examples: int | None = Field(None)
    skip_damaged: int = Field(0)

    @cached_property
    def _source(self) -> data.StreamedSource:
        return data.stream(
            self.name, self.data_dir, self.train_examples, self.test_examples, self.skip_damaged
        )

    @property
    def num_classes(self) -> int:
        """How many classes there are; models take it from here."""
        return self._source.num_classes

    def num_examples(self, split: str) -> int:
        """Number of images of a split, as Larq Zoo asks for it."""
        return self._source.train_count if split == "train" else self._source.test_count

    def train(self, decoders: Any = None) -> tuple[tf.data.Dataset, int]:
        """The training images as TFDS gives them, and their number."""
        return _images(self._source.train, decoders), self._source.train_count

    def validation(self, decoders: Any = None) -> tuple[tf.data.Dataset, int]:
        """The test images as TFDS gives them, and their number."""
        return _images(self._source.test, decoders), self._source.test_count


def _images(records: Records, decoders: Any) -> tf.data.Dataset:
    def example(encoded: tf.Tensor, label: tf.Tensor, *turn: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"image": encoded if decoders else decoded(encoded, 3, *turn), "label": label}

    return records.in_order().map(example, num_parallel_calls=tf.data.AUTOTUNE)


# Of Larq Zoo's training loop.
_UNUSED: tuple[str, ...] = (
    "use_model_checkpointing",
    "use_tensorboard",
    "use_progress_bar",
    "validation_frequency",
    "save_weights",
    "metrics",
    "loss",
    "callbacks",
)
# And where `zoo_optimizer` makes the optimizer, or the official recipe does.
_UNUSED_OF = {
    "BiRealNet": ("optimizer", "decay_schedule"),
    "RealToBinaryNet": ("optimizer", "learning_rate_decay"),
    "StrongBaselineNet": ("optimizer", "warmup_duration"),
    "QuickNetSmall": ("optimizer",),
    "QuickNet": ("optimizer",),
    "QuickNetLarge": ("optimizer",),
    "MeliusNet22": ("optimizer",),
}


def _unused(model: str) -> tuple[str, ...]:
    return (*_UNUSED, *_UNUSED_OF.get(model, ()))


class SiMaNExperiment(TrainLarqZooModel):
    """What replaces the training loop of Larq Zoo's experiments; it goes before the experiment.

    # Arguments
        dataset: `Images`, or any data set of Larq Zoo with a `name` and a `data_dir`.
        output_dir: Where the run folder is made.
        run_dir: The very run folder; a run that is in it goes on.
        input_shape: (size, size, 3) of the images; the model takes it from here.
        levels: Levels of the code; the model takes them from here, like `threshold`.
        threshold: Threshold of the code.
        seed: Seed of everything random.
        clip_start: As in `Recipe`, like `strategy`, `precision` and `xla`.
        smoke: Whether to shorten everything to a check, with epochs and a batch of its own.
    """

    dataset: Dataset = ComponentField(Images)
    output_dir: str = Field("runs")
    run_dir: str | None = Field(None)
    input_shape: Sequence[int | None] | None = Field((224, 224, 3))
    levels: Sequence[float] = Field((-1, 1))
    threshold: str | float = Field("median")
    seed: int = Field(0)
    clip_start: float = Field(15.0)
    strategy: str = Field("single")
    precision: str = Field("float32")
    xla: bool = Field(False)
    smoke: bool = Field(False)

    def run(self) -> None:
        """Trains, converts, verifies and reports."""
        given = [argument for argument in sys.argv[1:] if not argument.startswith("run_dir=")]
        carry_out(self._run, lambda folder: [*given, f"run_dir={folder}"])

    def _run(self) -> Run:
        folder = Path(self.run_dir) if self.run_dir else None
        return create(self._recipe(), Path(self.output_dir), folder, self)

    def _recipe(self) -> Recipe:
        name = type(self).__name__.removeprefix("TrainSiMaN")
        for field in _unused(name):
            if getattr(self, field) is not None:
                raise ValueError(
                    f"{field}={getattr(self, field)!r} is not used: the training loop is that of "
                    f"train/imagenet.py, and TrainSiMaN{name} has an optimizer of its own; leave "
                    "it out."
                )
        settings: dict[str, Any] = {"epochs": self.epochs, "batch_size": self.batch_size}
        if self.smoke:
            settings = {}
        shape = tuple(self.input_shape or ())
        if len(shape) != 3 or shape[0] != shape[1] or shape[2] != 3:
            raise ValueError(f"input_shape={self.input_shape} must be (size, size, 3).")
        return imagenet_recipe_for(
            smoke=self.smoke,
            model=name,
            style="official" if isinstance(self, _OfficialExperiment) else "zoo",
            dataset=self.dataset.name,
            data_dir=self.dataset.data_dir,
            train_examples=getattr(self.dataset, "train_examples", None),
            test_examples=getattr(self.dataset, "test_examples", None),
            skip_damaged=getattr(self.dataset, "skip_damaged", 0),
            image_size=shape[0],
            levels=tuple(self.levels),
            threshold=self.threshold,
            seed=self.seed,
            clip_start=self.clip_start,
            strategy=self.strategy,
            precision=self.precision,
            xla=self.xla,
            **settings,
        )


class _OfficialExperiment(TrainLarqZooModel):
    """For MeliusNet22, which Larq Zoo does not train: the official recipe of SiMaN."""

    epochs: int = Field(150)
    batch_size: int = Field(512)


_SETTINGS = ("epochs", "batch_size", "learning_rate", "learning_rate_decay", "warmup_duration")


def _stock(model: str) -> type:
    """Larq Zoo's experiment; of those in stages the settings of the last, without a teacher."""
    try:
        stock = experiment_of(model)
    except ValueError:
        return _OfficialExperiment
    if not isinstance(stock, LarqZooModelTrainingPhase):
        return type(stock)
    settings = {name: getattr(stock, name) for name in _SETTINGS}
    fields = {name: Field(value) for name, value in settings.items()}
    types = {name: type(value) for name, value in settings.items()}
    members = {**fields, "__annotations__": types}
    return type(f"LastStageOf{model}", (TrainLarqZooModel,), members)


for _model in ZOO_MODELS:
    _name = f"TrainSiMaN{_model}"
    _nothing = dict.fromkeys(_unused(_model), Any)
    _members = {
        "__doc__": f"Trains {_model} in SiMaN form.",
        "__module__": __name__,
        "model": ComponentField(getattr(zoo, f"SiMaN{_model}Factory")),
        **{_field: Field(None) for _field in _nothing},
        # Larq Zoo has the type of its own factory for some.
        "__annotations__": {"model": tf.keras.Model} | _nothing,
    }
    globals()[_name] = task(type(_name, (SiMaNExperiment, _stock(_model)), _members))
    __all__.append(_name)
