"""Commands on a scenario and its run; what is heavy is imported inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mcnet.commands import options


@click.command("scenarios")
@click.argument("name", required=False, shell_complete=lambda *given: options.scenarios(*given)[:-1])
@options.as_json
@options.debug
def scenarios(name: str | None, as_json: bool) -> None:
    """List the ready scenarios, or print one.

    \b
    Example:
      mcnet scenarios quickstart > study.toml
    """
    from mcnet.scenario import shipped

    if name is not None:
        click.echo(shipped.find(name).read_text("utf-8"), nl=False)
        return
    result = shipped.titles()
    widest = max(len(entry["name"]) for entry in result)
    options.show(result, as_json, lambda: "\n".join(f"{entry['name']:{widest}}  {entry['title']}" for entry in result))


@click.command()
@options.study
@options.as_json
@options.debug
def check(scenario: str, overrides: tuple[str, ...], plugins: tuple[str, ...], as_json: bool) -> None:
    """Check a scenario and say what it costs.

    All mistakes are told at once, each with its place in the file.

    \b
    Example:
      mcnet check study.toml --set sampling.networks=1000
    """
    from mcnet.commands import check as command
    from mcnet.scenario import shipped

    result = command.check(shipped.path(scenario), overrides, plugins, quiet=as_json)
    options.show(result, as_json, lambda: command.text(result))


@click.command()
@options.study
@options.as_json
@options.debug
@options.one_thread
def theory(scenario: str, overrides: tuple[str, ...], plugins: tuple[str, ...], as_json: bool) -> None:
    """What theory predicts, without sampling.

    Fixed points, depth scales and the coefficients of 1/width at every point of the study.

    \b
    Example:
      mcnet theory order_chaos --set sweep.width=[256]
    """
    from mcnet.commands import theory as command
    from mcnet.scenario import shipped

    result = command.predict(shipped.path(scenario), overrides, plugins, quiet=False)
    options.show(result, as_json, lambda: command.text(result))


@click.command()
@options.study
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, readable=False), metavar="DIR", help="Directory of the run."
)
@options.machine
@options.quiet
@options.as_json
@options.debug
def run(
    scenario: str,
    overrides: tuple[str, ...],
    plugins: tuple[str, ...],
    out: Path,
    quiet: bool,
    as_json: bool,
    **machine: Any,
) -> None:
    """Draw networks and store what is measured.

    SCENARIO is a TOML file or the name of a ready scenario. In a directory that holds a part of the same run it goes
    on; with more networks or points the run grows.

    \b
    Example:
      mcnet run study.toml --out runs/study --workers 4
    """
    from mcnet.commands import check as command
    from mcnet.engine import driver
    from mcnet.scenario import shipped

    path = shipped.path(scenario)
    for sentence in command.check(path, overrides, plugins, disk=False)["doubts"]:
        click.echo(f"warning: {sentence}", err=True)
    driver.run(path, out, plugins=plugins, overrides=overrides, quiet=quiet, **machine)
    _print_status(out, as_json)


@click.command()
@options.directory
@options.machine
@options.quiet
@options.as_json
@options.debug
def resume(directory: Path, quiet: bool, as_json: bool, **machine: Any) -> None:
    """Go on with a run that was stopped.

    What is committed is kept; damaged shards are set aside and drawn again.

    \b
    Example:
      mcnet resume runs/study --workers 4
    """
    from mcnet.commands.check import require_resumable
    from mcnet.engine import driver

    require_resumable(directory)
    driver.resume(directory, quiet=quiet, **machine)
    _print_status(directory, as_json)


def _print_status(directory: Path, as_json: bool) -> None:
    """How far a run is, for programs; people have read it while it ran."""
    if as_json:
        from mcnet.commands.members import status

        options.show({"directory": str(directory), **status(directory)}, True, str)


@click.command("status")
@options.directory
@options.as_json
@options.debug
def show_status(directory: Path, as_json: bool) -> None:
    """How far a run is.

    Shards and networks that are there, the slowest point, damaged shards, and the target if there is one.

    \b
    Example:
      mcnet status runs/study
    """
    from mcnet.commands import members, published

    file = published.alone(directory)
    if file is not None:
        held = published.status(file)
        options.show(held, as_json, lambda: published.status_text(held))
        return
    result = members.status(directory)
    options.show(result, as_json, lambda: members.status_text(result))


@click.command()
@options.directory
@click.option("--scenario", metavar="FILE", help="Begin a run of it; without it DIR holds one already.")
@click.option(
    "--jobs", type=click.IntRange(1, 10_000), metavar="N", help="Size of the array; by default from the work."
)
@click.option("--cpus", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Cores of a job.")
@click.option("--gpus", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="GPUs of a job.")
@click.option("--time", default="04:00:00", show_default=True, metavar="TIME", help="Time limit of a job.")
@options.debug
def slurm(directory: Path, **options: Any) -> None:
    """Print the job script that works on a run as a Slurm array.

    The jobs share one directory, end in time and are queued again until the run is complete.

    \b
    Example:
      mcnet slurm runs/study --scenario study.toml --cpus 8 > job.sh && sbatch job.sh
    """
    from mcnet.commands.slurm import script

    click.echo(script(directory, **options), nl=False)
