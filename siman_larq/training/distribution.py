"""Training on several devices or machines, by tf.distribute."""

import functools
import json
import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from siman_larq.choices import STRATEGIES, check_choice
from siman_larq.data import Share

__all__ = ["devices", "distributed", "evaluation", "is_chief", "make_strategy", "synchronised"]


def make_strategy(name: str) -> tf.distribute.Strategy:
    """The strategy of a name; make it before anything else of TensorFlow runs.

    # Arguments
        name: `"single"`: the first device. `"mirrored"`: all GPUs of this machine (without GPUs,
            its logical CPUs). `"multiworker"`: the machines that the environment variable
            TF_CONFIG lists, as TensorFlow documents it.

    # Raises
        ValueError: for another name, or a TF_CONFIG that is absent or damaged.
    """
    check_choice("strategy", name, STRATEGIES)
    if name == "single":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return _mirrored(tuple(device.name for device in devices))
    _task()
    return tf.distribute.MultiWorkerMirroredStrategy()


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    # One for a process: a second would number its collective ops from the start again, and
    # TensorFlow takes them for the first one's, of other shapes.
    return tf.distribute.MirroredStrategy(devices)


def _task() -> tuple[dict[str, Any], dict[str, Any]]:
    """What TF_CONFIG says of this worker, and of the cluster."""
    config = os.environ.get("TF_CONFIG", "")
    try:
        task, cluster = json.loads(config)["task"], json.loads(config)["cluster"]
        cluster[task["type"]][int(task["index"])]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(
            "strategy='multiworker' needs the environment variable TF_CONFIG, on every machine "
            f"with its own index; this is {config!r} ({type(error).__name__}: {error}). For two "
            "machines: "
            'TF_CONFIG=\'{"cluster": {"worker": ["host0:12345", "host1:12345"]}, '
            '"task": {"type": "worker", "index": 0}}\''
        ) from error
    return task, cluster


def is_chief(name: str) -> bool:
    """Whether this process is the one that writes files: worker 0, or the only one.

    # Arguments
        name: As for `make_strategy`. Nothing is made of it.
    """
    if name != "multiworker" or not os.environ.get("TF_CONFIG"):
        return True
    task, cluster = _task()
    return task["type"] == "chief" if "chief" in cluster else int(task["index"]) == 0


def devices(strategy: tf.distribute.Strategy) -> str:
    """The devices of a strategy, for people."""
    gpus = tf.config.list_physical_devices("GPU")
    if strategy is tf.distribute.get_strategy():
        names = ["GPU:0" if gpus else "CPU:0"]
        note = f", of {len(gpus)}; --strategy mirrored uses all" if len(gpus) > 1 else ""
    else:
        names = [name.split("/device:")[-1] for name in strategy.extended.worker_devices]
        note = "; with one device, mirrored trains as single does" if len(names) == 1 else ""
    resolver = getattr(strategy, "cluster_resolver", None)
    if resolver is not None and resolver.task_type:
        workers = sum(len(tasks) for tasks in resolver.cluster_spec().as_dict().values())
        note = f", in each of {workers} workers; this is {resolver.task_type} {resolver.task_id}"
    if gpus and names[0].startswith("GPU"):
        kind = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
        note = f" ({kind}){note}"
    return ", ".join(names) + note


def distributed(
    strategy: tf.distribute.Strategy, make: Callable[[Share], tf.data.Dataset]
) -> tf.data.Dataset:
    """The batches that `make` gives for a share, spread over the strategy's replicas."""
    if strategy.num_replicas_in_sync == 1:
        return make(Share())

    def own(context: tf.distribute.InputContext) -> tf.data.Dataset:
        pipelines = context.num_input_pipelines
        replicas = context.num_replicas_in_sync // pipelines
        return make(Share(context.input_pipeline_id, pipelines, replicas))

    return strategy.distribute_datasets_from_function(own)


def evaluation(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Batches of which every worker evaluates its part."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return batches.with_options(options)


def synchronised(model: tf.keras.Model) -> tf.keras.Model:
    """A copy whose batch normalisations take their statistics over all replicas.

    Only so do several replicas train as one does with the whole batch.
    """

    def copy(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        config = layer.get_config()
        if type(layer) is tf.keras.layers.BatchNormalization:
            config["synchronized"] = True
        return type(layer).from_config(config)

    made = tf.keras.models.clone_model(model, clone_function=copy)
    made.set_weights(model.get_weights())
    return made
