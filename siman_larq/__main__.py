"""`python -m siman_larq TrainSiMaN<Model> key=value ...`; without arguments it lists the tasks."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from zookeeper import cli

from siman_larq.training import tasks

__all__ = ["main", "tasks"]


def main() -> None:
    """The command `siman_larq`."""
    cli()


if __name__ == "__main__":
    main()
