"""Makes the runs of a study, or its report from what has been run."""

import re
import sys
from pathlib import Path
from typing import Any

# Also from a checkout that is not installed; the module keeps --help from waiting for TensorFlow.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import siman_larq_cli  # noqa: F401

# isort: split
import click

from siman_larq.cli.start import SETTINGS, one_sentence, start, typed_options

_PATH = click.Path(path_type=Path)


class _Seeds(click.ParamType):
    name = "seeds"

    def convert(self, value: Any, param: Any, context: Any) -> list[int]:
        """`0-4`, `3`, or several of these with commas between."""
        seeds: list[int] = []
        for part in str(value).split(","):
            ends = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
            if not ends or int(ends[2] or ends[1]) < int(ends[1]):
                self.fail(f"{value!r} is no range of seeds; write 0-4 or 0,2,5.", param, context)
            seeds += range(int(ends[1]), int(ends[2] or ends[1]) + 1)
        return seeds


class _Shard(click.ParamType):
    name = "i/n"

    def convert(self, value: Any, param: Any, context: Any) -> tuple[int, int]:
        """`1/4`: the first of four."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d+)/(\d+)", value)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            self.fail(f"{value!r} is no shard; write 1/4 to 4/4.", param, context)
        return int(found[1]), int(found[2])


@click.command(context_settings=SETTINGS)
@click.argument("study", type=_PATH)
@click.option("--seeds", type=_Seeds(), help="Only these seeds, such as 0-4.")
@click.option("--arm", "arms", multiple=True, help="Only this arm; may be given several times.")
@click.option("--shard", type=_Shard(), default="1/1", help="Only the i-th part of n of the runs.")
@click.option("--missing", is_flag=True, help="Only the runs that epochs.csv does not have.")
@click.option("--dry-run", is_flag=True, help="Print the runs and their hours, and make none.")
@click.option("--report", is_flag=True, help="Write the report from what has been run.")
@click.option("--output", type=_PATH, help="Run folders.  [default: runs beside STUDY]")
@click.pass_context
def main(
    context: click.Context,
    study: Path,
    dry_run: bool,
    report: bool,
    output: Path | None,
    **selected: Any,
) -> None:
    """Makes the runs of STUDY, a TOML file, that have not been made.

    Each is an ordinary run folder below the output folder. What has ended there is skipped, what
    was killed goes on, and several machines that share the folder may each take a shard.
    """
    if report and (others := typed_options(context, "report", "output")):
        raise click.UsageError(
            f"--report is of all that has been run; leave out {', '.join(others)}."
        )
    start()
    with one_sentence(ValueError, OSError):
        from siman_larq.studies.carry_out import Selection, carry_out
        from siman_larq.studies.forecast import forecast
        from siman_larq.studies.reading import read

        plan = read(study)
        output = output or study.parent / "runs"
        selection = Selection(**selected)
        if report:
            from siman_larq.studies.report import write_report

            click.echo(write_report(plan, output))
        elif dry_run:
            click.echo(forecast(plan, output, selection))
        else:
            try:
                click.echo(carry_out(plan, output, selection))
            except KeyboardInterrupt:
                raise click.ClickException("Interrupted; the same command goes on.") from None


if __name__ == "__main__":
    main()
