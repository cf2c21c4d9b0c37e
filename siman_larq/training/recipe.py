"""Everything that decides what a training gives, in one record that is kept as JSON."""

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from siman_larq.choices import CIFAR_MODELS, IMAGENET_MODELS, PRECISIONS, STRATEGIES, STYLES
from siman_larq.files import write_atomically
from siman_larq.math import Threshold

__all__ = ["Recipe", "evaluation_batch"]


@dataclass(frozen=True)
class Recipe:
    """Settings of one training. The defaults are those of the official CIFAR code.

    # Arguments
        model: One of `CIFAR_MODELS` or `IMAGENET_MODELS` of `siman_larq.choices`.
        dataset: A name that `siman_larq.data.load`, or `siman_larq.data.stream`, knows; also
            `"folder:DIR"`.
        epochs: Number of passes over the training images.
        batch_size: Images per step; what remains of an epoch is dropped.
        learning_rate: Peak of the schedule.
        momentum: Momentum of SGD.
        weight_decay: Coupled l2, on all weights but binary kernels and their alpha.
        warmup_epochs: Epochs in which the learning rate rises linearly.
        clip_start: Percentage of `siman_larq.ClipAnnealing` in the first epoch.
        levels: Levels of the magnitude code.
        threshold: Threshold of the magnitude code.
        train_examples: The first so many training images; all if `None`.
        test_examples: The first so many test images; all if `None`.
        seed: Seed of initial weights, order and augmentation.
        skip_damaged: How many damaged images may be left out.
        data_dir: TFDS data folder; TFDS's default if `None`.
        image_size: Height and width of the images that the network takes.
        is_streamed: Whether images are read, decoded and cropped while the network trains, and
            top-5 is reported. If not, they are held in memory and cropped as CIFAR's are.
        style: `"official"`: this recipe. `"zoo"`: optimizer and schedule of larq_zoo.training.
        strategy: `"single"`, `"mirrored"` or `"multiworker"`, as in `make_strategy`.
        precision: `"float32"`, `"mixed_float16"` or `"mixed_bfloat16"`.
        xla: Whether XLA compiles the training step.

    # Raises
        ValueError: naming the setting that is out of range.
    """

    model: str = "resnet20"
    dataset: str = "cifar10"
    epochs: int = 400
    batch_size: int = 256
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_epochs: int = 5
    clip_start: float = 15.0
    levels: tuple[int, int] = (-1, 1)
    threshold: Threshold = "median"
    train_examples: int | None = None
    test_examples: int | None = None
    seed: int = 0
    data_dir: str | None = None
    image_size: int = 32
    is_streamed: bool = False
    style: str = "official"
    strategy: str = "single"
    precision: str = "float32"
    xla: bool = False
    skip_damaged: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (
            ("model", CIFAR_MODELS + IMAGENET_MODELS),
            ("style", STYLES),
            ("strategy", STRATEGIES),
            ("precision", PRECISIONS),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is unknown; use one of {', '.join(allowed)}."
                )
        if not 0 <= self.warmup_epochs < max(self.epochs, 1):
            raise ValueError(
                f"warmup_epochs={self.warmup_epochs} must be at least 0 and below "
                f"epochs={self.epochs}; give fewer with --warmup-epochs or more --epochs."
            )
        lowest = {"epochs": 1, "batch_size": 1, "seed": 0, "weight_decay": 0, "image_size": 1}
        lowest["skip_damaged"] = 0
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {low}.")
        for name in ("learning_rate", "momentum", "weight_decay", "clip_start"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name}={getattr(self, name)} must be a finite number.")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate={self.learning_rate} must be above 0.")

    def learning_rate_at(self, epoch: int, *_: float) -> float:
        r"""The official schedule, by epoch.

        With W warm-up epochs of E, and peak \\(\eta\\): \\(\eta (e + 1) / W\\) for e < W, then
        \\(\eta / 2 \cdot (1 + \cos(\pi (e - s) / (E - s)))\\) with s = max(W - 1, 0).
        """
        if epoch < self.warmup_epochs:
            return self.learning_rate * (epoch + 1) / self.warmup_epochs
        start = max(self.warmup_epochs - 1, 0)
        phase = (epoch - start) / (self.epochs - start)
        return self.learning_rate / 2 * (1 + math.cos(math.pi * phase))

    def save(self, path: Path) -> None:
        """Writes the recipe as JSON."""
        write_atomically(path, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Recipe":
        """Reads a recipe that `save` wrote.

        # Raises
            ValueError: naming the file, when it is damaged or of another version.
        """
        try:
            values = json.loads(path.read_text())
            values["levels"] = tuple(values["levels"])
            unknown = sorted(values.keys() - {field.name for field in fields(cls)})
            if unknown:
                raise ValueError(f"it has no option {', '.join(unknown)}")
            return cls(**values)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{path} is not a recipe of this version ({error}); go on with the version that "
                "wrote it, or start anew in another folder."
            ) from error


def evaluation_batch(recipe: Recipe) -> int:
    """Images per step of evaluation, which holds no gradients but may have large images."""
    return 256 if recipe.image_size <= 64 else 64
