"""Cost of the method: a training step with SiMaNConv2D over one with plain Larq layers.

    python benchmarks/train_step.py
    python benchmarks/train_step.py --turns resnet20 40 --setting rprelu=true --setting ema=0.999

The second form is the cost of a recipe: a step with these settings over one of the official recipe.
Both nets take turns, step by step, and the ratio is the median over turns: it holds when the
speed of the machine drifts. Percentile clamp included, at half its first value; reading and
augmenting images is not. Of two steps it is the second, with binary weights.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import siman_larq  # noqa: F401  (before Larq, which needs the Keras 2 that this sets up)

# isort: split
import click
import larq as lq
import numpy as np
import tensorflow as tf

from siman_larq import PercentileClip, SiMaNConv2D, models
from siman_larq.callbacks import percentile_clips
from siman_larq.training import Teacher, build_model, recipe_for


def siman(*args: Any, **kwargs: Any) -> tf.keras.layers.Layer:
    return SiMaNConv2D(*args, **{"kernel_constraint": PercentileClip(7.5), **kwargs})


def plain(filters: int, kernel_size: int, **kwargs: Any) -> tf.keras.layers.Layer:
    defaults = {
        "padding": "same",
        "use_bias": False,
        "input_quantizer": "approx_sign",
        "kernel_quantizer": "ste_sign",
        "kernel_constraint": "weight_clip",
    }
    return lq.layers.QuantConv2D(filters, kernel_size, **{**defaults, **kwargs})


def with_layers(name: str, conv: Callable[..., Any]) -> tf.keras.Model:
    model = getattr(models, name)(conv=conv)
    model.compile(
        tf.keras.optimizers.SGD(0.1, momentum=0.9),
        tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def by_recipe(name: str, **settings: Any) -> tf.keras.Model:
    recipe = recipe_for("cifar10", model=name, **settings)
    model = build_model(recipe, num_classes=10)
    for clip in percentile_clips(model) if recipe.clamp != "none" else ():
        clip.percent = recipe.clip_start / 2
    if recipe.teacher is not None:
        Teacher(recipe.teacher, recipe.temperature).teach(model)
    return model


def step_of(model: tf.keras.Model, batch_size: int) -> Callable[[], Any]:
    """A function that trains for one step on constant data."""
    generator = tf.random.Generator.from_seed(1)
    batch = (
        generator.normal([batch_size, 32, 32, 3]),
        generator.uniform([batch_size], 0, 10, tf.int32),
    )
    batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
    train = model.make_train_function()
    return lambda: train(batches)


def seconds(step: Callable[[], Any]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


class _Setting(click.ParamType):
    name = "name=value"

    def convert(self, value: Any, param: Any, context: Any) -> tuple[str, Any]:
        """`rprelu=true`, `gradient_width=2` or `kernel_optimizer=adam`."""
        name, equals, text = value.partition("=")
        if not equals:
            self.fail(f"{value!r} is no setting; write name=value.", param, context)
        try:
            given = json.loads(text)
        except json.JSONDecodeError:
            given = text
        return name, tuple(given) if isinstance(given, list) else given


@click.command(context_settings={"show_default": True})
@click.option("--batch-size", default=128)
@click.option(
    "--turns", default=(("resnet20", 40), ("resnet18", 10)), type=(str, int), multiple=True
)
@click.option(
    "--setting", "settings", type=_Setting(), multiple=True, help="A field of Recipe, as in JSON."
)
def main(
    batch_size: int, turns: tuple[tuple[str, int], ...], settings: tuple[tuple[str, Any], ...]
) -> None:
    """Prints, per network, both times and their ratio."""
    names = ("recipe", "official") if settings else ("siman", "plain")
    print(f"TensorFlow {tf.__version__}, {os.cpu_count()} cores, batch {batch_size}")
    if settings:
        print("recipe: " + ", ".join(f"{name}={value}" for name, value in settings))
    print(f"network    turns {names[0]:>6} (ms) {names[1]:>8} (ms)  ratio: median (quartiles)")
    for name, count in turns:
        try:
            nets = (
                (by_recipe(name, **dict(settings)), by_recipe(name))
                if settings
                else (with_layers(name, siman), with_layers(name, plain))
            )
        except (TypeError, ValueError) as error:
            raise click.ClickException(str(error)) from error
        steps = [step_of(net, batch_size) for net in nets]
        for _ in range(3):  # tracing, and the first touch of memory
            for step in steps:
                step()
        times = np.array([[seconds(step) for step in steps] for _ in range(count)])
        low, ratio, high = np.quantile(times[:, 0] / times[:, 1], (0.25, 0.5, 0.75))
        ours, theirs = 1000 * np.median(times, axis=0)
        print(
            f"{name:<9} {count:6d} {ours:11.0f} {theirs:13.0f}  {ratio:.3f} ({low:.3f}-{high:.3f})"
        )


if __name__ == "__main__":
    main()
