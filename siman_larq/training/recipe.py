"""Everything that decides what a training gives, in one record that is kept as JSON."""

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from siman_larq.choices import (
    AUGMENTATIONS,
    CIFAR_MODELS,
    CLAMPS,
    CODES,
    IMAGENET_MODELS,
    KERNEL_OPTIMIZERS,
    PRECISIONS,
    STRATEGIES,
    STYLES,
    ZOO_MODELS,
    check_choice,
)
from siman_larq.files import write_atomically
from siman_larq.math import Threshold
from siman_larq.quantizers import checked_levels, checked_threshold
from siman_larq.training.kinds import check_kinds

__all__ = ["Recipe", "evaluation_batch"]


_OWN = tuple(name for name in CIFAR_MODELS + IMAGENET_MODELS if name not in ZOO_MODELS)

_OF_BINARY = (
    "levels",
    "threshold",
    "code",
    "clamp",
    "clip_start",
    "binary_decay",
    "kernel_rate",
    "kernel_optimizer",
    "centred",
    "channel_shift",
    "gradient_width",
    "two_steps",
)


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
        weight_decay: Coupled l2, on all weights but binary kernels and their alpha; of style
            `"reactnet"` on the kernels of all convolutions in the first of two steps, and on no
            more, as in `siman_larq.training.CoupledDecayAdam`.
        warmup_epochs: Epochs in which the learning rate rises linearly.
        clip_start: Percentage of `siman_larq.ClipAnnealing` in the first epoch.
        levels: Levels of the code.
        threshold: Threshold of the magnitude code.
        train_examples: The first so many training images; all if `None`.
        test_examples: The first so many test images; all if `None`.
        held_out: So many of the last training images are not trained on, but take the place of the
            test images: those to choose settings by. Of images in memory alone.
        seed: Seed of initial weights, order and augmentation.
        skip_damaged: How many damaged images may be left out.
        data_dir: TFDS data folder; TFDS's default if `None`.
        image_size: Height and width of the images that the network takes.
        is_streamed: Whether images are read, decoded and cropped while the network trains, and
            top-5 is reported. If not, they are held in memory and cropped as CIFAR's are.
        style: `"official"`: this recipe. `"zoo"`: optimizer and schedule of larq_zoo.training.
            `"reactnet"`: Adam on all weights, with linear decay of the learning rate, as ReActNet
            and AdamBNN are trained.
        strategy: `"single"`, `"mirrored"` or `"multiworker"`, as in `make_strategy`.
        precision: `"float32"`, `"mixed_float16"` or `"mixed_bfloat16"`.
        xla: Whether XLA compiles the training step.
        code: Code of binary kernels, as for `siman_larq.SiMaNQuantizer`.
        clamp: Which magnitudes `siman_larq.PercentileClip` clamps: `"both"` tails, the `"upper"`
            one, or `"none"`, where `clip_start` has no say and only a filter's mean goes.
        binary_decay: Coupled l2 on binary kernels; with `two_steps`, in the first half alone.
        kernel_rate: Factor of the learning rate for binary kernels.
        kernel_optimizer: `"sgd"`, or `"adam"` for binary kernels alone; see
            `siman_larq.training.CoupledDecaySGD`.
        label_smoothing: Share of a label that all classes divide among them; see
            `siman_larq.training.SmoothedCrossentropy`.
        erasing: Probability that a rectangle of a training image is erased; see
            `siman_larq.data.train_batches`.
        augmentation: How training images are changed: `"crop"`, the official way, crops and flips
            them at random, `"flip"` only flips them, `"none"` leaves them as they are tested; see
            `siman_larq.data.train_batches`.
        ema: Momentum of a moving average of all weights but binary kernels, which is tested and
            saved in their place, such as 0.999; none if 0.
        two_steps: Whether binary kernels keep their real weights for the first half of the epochs,
            with binary activations, and become binary from there. Each half has a learning-rate
            schedule of its own, and the second the clamp.
        teacher: The folder of a run, or a file of weights of a ResNet of Keras Applications, whose
            answers are trained on in place of the labels; see `siman_larq.training.Teacher`.
        temperature: By which logits of the network and its teacher are divided.
        is_float: Whether weights and activations stay real: a network of the same shape, such as
            for a teacher.
        gradient_width: Width of the gradient of `siman_larq.SampleSign`.
        centred: Whether the mean over the filters is taken off every binary convolution, as in
            `siman_larq.SiMaNConv2D`; in the package's own networks, as are the next two.
        rprelu: Whether PReLU has a learned shift per channel before and after it, as in ReActNet.
        channel_shift: Whether a learned shift per channel goes before the signs of activations.

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
    code: str = "magnitude"
    clamp: str = "both"
    binary_decay: float = 0.0
    kernel_rate: float = 1.0
    centred: bool = False
    rprelu: bool = False
    channel_shift: bool = False
    gradient_width: float = 1.0
    kernel_optimizer: str = "sgd"
    label_smoothing: float = 0.0
    erasing: float = 0.0
    augmentation: str = "crop"
    ema: float = 0.0
    two_steps: bool = False
    teacher: str | None = None
    temperature: float = 1.0
    is_float: bool = False
    held_out: int = 0

    def __post_init__(self) -> None:
        check_kinds(self, but=("levels", "threshold"))
        checked_levels(self.levels)
        checked_threshold(self.threshold)
        for name, allowed in (
            ("model", CIFAR_MODELS + IMAGENET_MODELS),
            ("style", STYLES),
            ("strategy", STRATEGIES),
            ("precision", PRECISIONS),
            ("code", CODES),
            ("clamp", CLAMPS),
            ("kernel_optimizer", KERNEL_OPTIMIZERS),
            ("augmentation", AUGMENTATIONS),
        ):
            check_choice(name, getattr(self, name), allowed)
        least = self.epochs // 2 if self.two_steps else self.epochs
        if not 0 <= self.warmup_epochs < max(least, 1):
            half = "half of " if self.two_steps else ""
            raise ValueError(
                f"warmup_epochs={self.warmup_epochs} must be at least 0 and below {half}"
                f"epochs={self.epochs}; give fewer with --warmup-epochs or more --epochs."
            )
        lowest = {"epochs": 1, "batch_size": 1, "seed": 0, "weight_decay": 0, "image_size": 1}
        lowest |= {"skip_damaged": 0, "binary_decay": 0, "held_out": 0}
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {low}.")
        rates = ("learning_rate", "kernel_rate", "gradient_width", "temperature")
        for name in (*rates, "momentum", "weight_decay", "clip_start", "binary_decay"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name}={getattr(self, name)} must be a finite number.")
        for name in rates:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)} must be above 0.")
        if not 0 <= self.clip_start < 50:
            raise ValueError(f"clip_start={self.clip_start} is out of range; use [0, 50).")
        for name, most in (("label_smoothing", 0.999), ("erasing", 1.0), ("ema", 0.99999)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name}={getattr(self, name)} must be from 0 to {most:g}.")
        self._check_together()

    def _check_together(self) -> None:
        """Refuses settings that exclude each other."""
        if self.code != "magnitude" and self.threshold != "median":
            raise ValueError(
                f"threshold={self.threshold!r} is one of magnitudes, and code={self.code!r} has "
                "none; leave threshold out, or use code='magnitude'."
            )
        if self.clamp == "none" and self.clip_start and self._is_other("clip_start"):
            raise ValueError(
                f"clip_start={self.clip_start} is the start of a clamp, and clamp='none' leaves it "
                "out; leave one of the two out."
            )
        for name in _OF_BINARY if self.is_float else ():
            if self._is_other(name):
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is of binary layers, and is_float=True leaves "
                    "none; leave one of the two out."
                )
        if self.teacher is not None and self.label_smoothing:
            raise ValueError(
                f"label_smoothing={self.label_smoothing} smooths labels, and a teacher's answers "
                "take their place; leave one of the two out."
            )
        if self.teacher is None and self.temperature != 1:
            raise ValueError(
                f"temperature={self.temperature} is that of a teacher, and there is none; give a "
                "teacher, or leave it out."
            )
        for name in ("centred", "rprelu", "channel_shift", "is_float"):
            if getattr(self, name) and self.model in ZOO_MODELS:
                raise ValueError(
                    f"{name}=True is for the package's own networks, and model={self.model!r} is "
                    f"Larq Zoo's; use one of {', '.join(_OWN)}."
                )
        if self.rprelu and self.model == "resnet18":
            raise ValueError(
                "rprelu=True is for networks with PReLU, and model='resnet18' has none; leave it "
                "out, or use 'resnet20' or 'vgg_small'."
            )
        if self.is_float and self.model == "resnet18":
            raise ValueError(
                "is_float=True is not for model='resnet18', whose shortcuts take signs; use "
                "'resnet20' or 'vgg_small'."
            )
        if self.held_out and self.is_streamed:
            raise ValueError(
                f"held_out={self.held_out} is for images in memory, and these are streamed; leave "
                "it out."
            )
        if self.two_steps and self.epochs < 2:
            raise ValueError("two_steps=True needs at least two epochs, one for each; epochs=1.")
        if self.style == "reactnet" and not self.two_steps and self._is_other("weight_decay"):
            raise ValueError(
                f"weight_decay={self.weight_decay} is for the first of two steps with "
                "style='reactnet', and there is one; leave it out, or add two_steps=True."
            )
        official = {"binary_decay", "kernel_rate", "kernel_optimizer", "ema", "momentum"}
        official |= {"two_steps"} if self.style == "zoo" else set()
        for name in sorted(official):
            if self.style != "official" and self._is_other(name):
                raise ValueError(
                    f"{name}={getattr(self, name)} is for the optimizer of style='official', and "
                    f"style={self.style!r} has another; leave one of the two out."
                )

    def _is_other(self, name: str) -> bool:
        """Whether a setting is not the default one."""
        return bool(getattr(self, name) != getattr(type(self), name))

    @property
    def real_epochs(self) -> int:
        """How many epochs, the first, are trained with real weights."""
        return self.epochs // 2 if self.two_steps else 0

    def learning_rate_at(self, epoch: int, *_: float) -> float:
        r"""The official schedule, by epoch.

        In two steps each has a schedule of its own. With W warm-up epochs of E, and peak
        \\(\eta\\): \\(\eta (e + 1) / W\\) for e < W, then
        \\(\eta / 2 \cdot (1 + \cos(\pi (e - s) / (E - s)))\\) with s = max(W - 1, 0); of style
        `"reactnet"` \\(\eta (1 - (e - s) / (E - s))\\).
        """
        epochs = self.epochs - self.real_epochs
        if epoch < self.real_epochs:
            epochs = self.real_epochs
        else:
            epoch -= self.real_epochs
        if epoch < self.warmup_epochs:
            return self.learning_rate * (epoch + 1) / self.warmup_epochs
        start = max(self.warmup_epochs - 1, 0)
        phase = (epoch - start) / (epochs - start)
        if self.style == "reactnet":
            return self.learning_rate * (1 - phase)
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
            reason = str(error).rstrip(".")
            raise ValueError(
                f"{path} is not a recipe of this version ({reason}); go on with the version that "
                "wrote it, or start anew in another folder."
            ) from error


def evaluation_batch(recipe: Recipe) -> int:
    """Images per step of evaluation, which holds no gradients but may have large images."""
    return 256 if recipe.image_size <= 64 else 64
