"""The command that runs zookeeper's tasks."""

import click

from siman_larq.choices import ZOO_MODELS
from siman_larq.cli.start import SETTINGS, start, version

__all__ = ["tasks"]


@click.command(
    context_settings={**SETTINGS, "ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="\b\nTasks:\n" + "\n".join(f"  TrainSiMaN{model}" for model in ZOO_MODELS),
)
@click.argument("task", required=False)
@click.argument("settings", nargs=-1, type=click.UNPROCESSED, metavar="[FIELD=VALUE]...")
@version
@click.pass_context
def tasks(context: click.Context, task: str | None, settings: tuple[str, ...]) -> None:
    """Runs one of zookeeper's tasks: Larq Zoo's trainings with models in SiMaN form.

    \b
    TrainSiMaNBiRealNet dataset.name=photos dataset.data_dir=data epochs=2
    """
    if task is None:
        click.echo(context.get_help())
        return
    start()
    from zookeeper import cli

    import siman_larq.training.tasks  # noqa: F401  (zookeeper knows them from then on)

    cli.main([task, *settings], prog_name=context.command_path)
