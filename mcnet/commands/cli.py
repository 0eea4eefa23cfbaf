"""The command line: thin layers over functions that Python users call too; what is heavy is imported inside."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from mcnet.errors import DataError, DiskError, McnetError, Stopped, UsageError

_INTERNAL = McnetError.exit_code

Function = TypeVar("Function", bound=Callable[..., Any])


class _Commands(click.Group):
    """A group that ends with the exit codes of mcnet and says in one line what went wrong."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which a user meets them, which is that of this file."""
        return list(self.commands)

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> NoReturn:  # type: ignore[override]
        words = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(words, prog_name or "mcnet", standalone_mode=False, **extra)
            sys.stdout.flush()
            sys.exit(code if isinstance(code, int) else 0)
        except click.UsageError as error:
            error.show()
            sys.exit(UsageError.exit_code)
        except click.ClickException as error:
            error.show()
            sys.exit(_INTERNAL)
        except BrokenPipeError:  # the reader, such as head, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        except (click.Abort, KeyboardInterrupt):
            click.echo("stopped", err=True)
            sys.exit(Stopped.exit_code)
        except McnetError as error:
            if "--debug" in words:
                traceback.print_exc()
            else:
                click.echo(str(error), err=True)
            sys.exit(error.exit_code)
        except OSError as error:
            if "--debug" in words:
                traceback.print_exc()
            place = f"{error.filename}: " if error.filename else ""
            click.echo(f"{place}the system refuses: {error.strerror or error}", err=True)
            sys.exit(DiskError.exit_code)
        except Exception as error:
            if "--debug" in words:
                traceback.print_exc()
                sys.exit(_INTERNAL)
            told = str(error).splitlines()
            what = f"{type(error).__name__}: {told[0]}" if told else type(error).__name__
            click.echo(f"internal error: {what}\nThis is a fault of mcnet. For its traceback add --debug.", err=True)
            sys.exit(_INTERNAL)


def _debug(function: Function) -> Function:
    return click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")(function)


def _json(function: Function) -> Function:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(function)


def _quiet(function: Function) -> Function:
    return click.option("--quiet", is_flag=True, help="Print nothing but errors.")(function)


def _study(function: Function) -> Function:
    """SCENARIO and what changes it."""
    function = click.option(
        "--plugin", "plugins", multiple=True, metavar="MODULE", help="Import a module that registers activations."
    )(function)
    function = click.option(
        "--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE", help="Change a key of the scenario."
    )(function)
    return click.argument("scenario", metavar="SCENARIO", shell_complete=_scenarios)(function)


def _scenarios(_: click.Context, __: click.Parameter, begun: str) -> list[Any]:
    """What the shell completes a scenario with: names of shipped ones, and files."""
    from click.shell_completion import CompletionItem

    from mcnet.scenario import shipped

    names = [entry for entry in shipped.titles() if entry["name"].startswith(begun)]
    return [*(CompletionItem(e["name"], help=e["title"]) for e in names), CompletionItem(begun, type="file")]


def _directory(function: Function) -> Function:
    return click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, readable=False))(function)


def _results(function: Function) -> Function:
    """Where results go, for directories that cannot be written to."""
    return click.option(
        "--out",
        type=click.Path(path_type=Path, readable=False),
        metavar="PATH",
        help="Write there: a file, or a folder for it.",
    )(function)


def _print(result: Any, as_json: bool, text: Callable[[], str], quiet: bool = False) -> None:
    if as_json:
        from mcnet.commands.text import strict

        click.echo(json.dumps(strict(result), indent=1, ensure_ascii=False))
    elif not quiet:
        click.echo(text())


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="mcnet", message="mcnet %(version)s")
@_debug
def main() -> None:
    """Random deep networks at finite width: sample them exactly, measure them, judge them against theory."""


@main.command("scenarios")
@click.argument("name", required=False, shell_complete=lambda *given: _scenarios(*given)[:-1])
@_json
@_debug
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
    _print(result, as_json, lambda: "\n".join(f"{entry['name']:24} {entry['title']}" for entry in result))


@main.command()
@_study
@_json
@_debug
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
    _print(result, as_json, lambda: command.text(result))


@main.command()
@_study
@_json
@_debug
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
    _print(result, as_json, lambda: command.text(result))


def _machine(function: Function) -> Function:
    """Where and by how many the work is done."""
    for option in (
        click.option("--part", metavar="I/N", help="Begin with share I of N: for job arrays, all in one directory."),
        click.option("--scheduler", metavar="ADDRESS", help="A running Dask scheduler, or its scheduler file."),
        click.option("--executor", default="local", show_default=True, metavar="NAME", help="local or dask."),
        click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Processes; by default one a core."),
        click.option("--device", default="auto", show_default=True, metavar="DEVICE", help="auto, cpu or cuda:N."),
    ):
        function = option(function)
    return function


@main.command()
@_study
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, readable=False), metavar="DIR", help="Directory of the run."
)
@_machine
@_quiet
@_json
@_debug
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


@main.command()
@_directory
@_machine
@_quiet
@_json
@_debug
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
        from mcnet.engine.status import status

        _print({"directory": str(directory), **status(directory)}, True, str)


@main.command("status")
@_directory
@_json
@_debug
def show_status(directory: Path, as_json: bool) -> None:
    """How far a run is.

    Shards and networks that are there, the slowest point, damaged shards, and the target if there is one.

    \b
    Example:
      mcnet status runs/study
    """
    from mcnet.commands import published
    from mcnet.commands.directory import status_text
    from mcnet.engine.status import status

    file = published.alone(directory)
    if file is not None:
        held = published.status(file)
        _print(held, as_json, lambda: published.status_text(held))
        return
    result = status(directory)
    _print(result, as_json, lambda: status_text(result))


@main.command()
@_directory
@click.option("--recompute", type=click.IntRange(min=0), default=0, metavar="K", help="Draw K random shards again.")
@click.option("--device", default="auto", show_default=True, metavar="DEVICE", help="auto, cpu or cuda:N.")
@_json
@_debug
def verify(directory: Path, recompute: int, device: str, as_json: bool) -> None:
    """Check every shard, draw some again.

    Every byte is read and compared with its digest. With --recompute, shards chosen at random are drawn again:
    identical, within rounding, the same weights and law (chaos makes more of rounding), or different (exit code 65).

    \b
    Example:
      mcnet verify runs/study --recompute 3
    """
    from mcnet.commands import published
    from mcnet.commands.directory import verify_text
    from mcnet.engine.status import verify as verify_run

    file = published.alone(directory)
    if file is not None:
        read = published.verify(file, recompute)
        _print(read, as_json, lambda: published.verify_text(read))
        return
    result = verify_run(directory, recompute, device)
    _print(result, as_json, lambda: verify_text(result))
    if result["damaged"] or result["verdict"] == "different":
        sys.exit(DataError.exit_code)


@main.command()
@click.argument(
    "directories", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path, readable=False)
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, readable=False),
    metavar="DIR",
    help="Directory of all shards.",
)
@_quiet
@_json
@_debug
def merge(directories: tuple[Path, ...], out: Path, quiet: bool, as_json: bool) -> None:
    """Bring runs of one plan into one directory.

    The parts were made on several machines without a common disk. Shards that several hold count once; the same
    networks in other ranges, or with other numbers, are refused. The parts stay as they are.

    \b
    Example:
      mcnet merge from_a/study from_b/study --out runs/study
    """
    from mcnet.commands.directory import merge_text
    from mcnet.engine.merge import merge as merge_runs

    result = merge_runs(directories, out)
    _print(result, as_json, lambda: merge_text(result, str(out)), quiet)


@main.command()
@_directory
@_quiet
@_debug
def pack(directory: Path, quiet: bool) -> None:
    """Write dataset.h5 from the shards of a run.

    run and resume do it at their end; here for a run that is not complete yet.

    \b
    Example:
      mcnet pack runs/study
    """
    from mcnet.engine import driver

    result = driver.pack(directory)
    _print(
        result,
        False,
        lambda: f"{directory / 'dataset.h5'}: {result['shards']}/{result['shards_planned']} shards",
        quiet,
    )


@main.command()
@click.argument("dataset", metavar="DATASET", type=click.Path(path_type=Path, readable=False))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, readable=False),
    metavar="DIR",
    help="Directory of the new run.",
)
@click.option("--plugin", "plugins", multiple=True, metavar="MODULE", help="A module that the run was made with.")
@_machine
@_quiet
@_json
@_debug
def rerun(dataset: Path, out: Path, plugins: tuple[str, ...], quiet: bool, as_json: bool, **machine: Any) -> None:
    """Repeat a run from its dataset alone.

    DATASET is a dataset.h5, or a directory that holds one. The networks it names are drawn again into DIR, and the
    numbers compared: identical, within rounding, or different (exit code 65).

    \b
    Example:
      mcnet rerun published.h5 --out runs/again
    """
    from mcnet.commands.directory import rerun_text
    from mcnet.engine.rerun import rerun as repeat

    result = repeat(dataset, out, plugin_names=plugins, quiet=quiet, **machine)
    _print(result, as_json, lambda: rerun_text(result), quiet)
    if result["verdict"] == "different":
        sys.exit(DataError.exit_code)


@main.command()
@click.argument("dataset", metavar="DATASET", type=click.Path(path_type=Path, readable=False))
@click.option(
    "--zarr",
    "out",
    required=True,
    type=click.Path(path_type=Path, readable=False),
    metavar="PATH",
    help="The new store.",
)
@_quiet
@_debug
def export(dataset: Path, out: Path, quiet: bool) -> None:
    """Write a dataset in another format: Zarr.

    DATASET is a dataset.h5, or a directory that holds one. xarray reads the store without mcnet. Needs the package
    zarr (pip install "mcnet[zarr]").

    \b
    Example:
      mcnet export runs/study --zarr study.zarr
    """
    from mcnet.dataset.zarr import export as write

    path = write(dataset, out)
    _print(str(path), False, lambda: str(path), quiet)


@main.command()
@_directory
@_quiet
@_debug
def prune(directory: Path, quiet: bool) -> None:
    """Remove shards that dataset.h5 holds.

    The run must be complete; the dataset is read again first. Afterwards the run cannot grow any more.

    \b
    Example:
      mcnet prune runs/study
    """
    from mcnet.commands.text import plural
    from mcnet.engine.status import prune as prune_run

    removed = prune_run(directory)
    _print(
        removed, False, lambda: f"{plural(removed, 'shard')} removed; {directory / 'dataset.h5'} holds the run", quiet
    )


@main.command()
@_directory
@click.option("--scenario", metavar="FILE", help="Begin a run of it; without it DIR holds one already.")
@click.option(
    "--jobs", type=click.IntRange(1, 10_000), metavar="N", help="Size of the array; by default from the work."
)
@click.option("--cpus", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Cores of a job.")
@click.option("--gpus", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="GPUs of a job.")
@click.option("--time", default="04:00:00", show_default=True, metavar="TIME", help="Time limit of a job.")
@_debug
def slurm(directory: Path, **options: Any) -> None:
    """Print the job script that works on a run as a Slurm array.

    The jobs share one directory, end in time and are queued again until the run is complete.

    \b
    Example:
      mcnet slurm runs/study --scenario study.toml --cpus 8 > job.sh && sbatch job.sh
    """
    from mcnet.commands.slurm import script

    click.echo(script(directory, **options), nl=False)


@main.command()
@_directory
@click.option("--point", metavar="NAME=VALUE,...", help="Only points with these coordinates.")
@click.option("--var", "variable", metavar="NAME", help="All entries of one variable.")
@click.option("--layer", type=click.IntRange(min=0), metavar="L", help="Only this layer.")
@_json
@_debug
def inspect(directory: Path, point: str | None, variable: str | None, layer: int | None, as_json: bool) -> None:
    """Means over networks and their errors.

    Of the last layer and the first input, unless --var or --layer ask for others.

    \b
    Example:
      mcnet inspect runs/study --point width=256 --var q --layer 5
    """
    from mcnet.commands import inspect as command

    result = command.inspect(directory, point, variable, layer)
    _print(result, as_json, lambda: command.text(result))


@main.command()
@_directory
@click.option("--csv", "as_csv", is_flag=True, help="Also write comparisons.csv, coefficients.csv and fits.csv.")
@click.option("--latex", is_flag=True, help="Also write the same tables for LaTeX.")
@_results
@_quiet
@_json
@_debug
def analyze(directory: Path, as_csv: bool, latex: bool, out: Path | None, quiet: bool, as_json: bool) -> None:
    """Fit and compare with theory.

    Writes analysis.json into the directory, or elsewhere with --out; DIR may also be a dataset file. With --csv or
    --latex the tables too.

    \b
    Example:
      mcnet analyze runs/study --csv
    """
    from mcnet_analysis import table
    from mcnet_analysis.analyze import analyze as analyze_run
    from mcnet_analysis.analyze import place_of

    from mcnet.commands.directory import analysis_text

    result = analyze_run(directory, quiet, out)
    for wanted, as_tex in ((as_csv, False), (latex, True)):
        if wanted:
            table.save(result, place_of(directory, "analysis.json", out).parent, as_tex)
    _print(result, as_json, lambda: analysis_text(result), quiet)


@main.command()
@_directory
@click.option("--figures", type=click.Choice(("svg", "png", "pdf")), help="Also write each figure into DIR/figures.")
@_results
@_quiet
@_debug
def report(directory: Path, figures: str | None, out: Path | None, quiet: bool) -> None:
    """Write report.html: figures and numbers.

    One page with everything inside: verdict, figures, tables, provenance, scenario. It goes into the directory, or
    elsewhere with --out; DIR may also be a dataset file.

    \b
    Example:
      mcnet report runs/study --figures pdf
    """
    from mcnet_analysis.report import write

    path = write(directory, quiet, figures, out)
    _print(str(path), False, lambda: str(path), quiet)


@main.command()
@_json
@_debug
def doctor(as_json: bool) -> None:
    """Look whether this machine is fit.

    Devices, libraries, disk, random streams and a small sample, in some seconds.

    \b
    Example:
      mcnet doctor
    """
    from mcnet.commands import doctor as command

    findings = command.examine(Path.cwd())
    _print(command.as_dict(findings), as_json, lambda: command.text(findings))
    if not all(finding.good for finding in findings):
        sys.exit(_INTERNAL)


@main.command()
@click.option("--quick", is_flag=True, help="Seconds instead of minutes.")
@_json
@_debug
def benchmark(quick: bool, as_json: bool) -> None:
    """Time the kernels of this machine.

    Normals a second, networks a second of each chain, and conditioned against drawn matrices.

    \b
    Example:
      mcnet benchmark --quick
    """
    from mcnet.commands.benchmark import benchmark as measure
    from mcnet.commands.text import benchmark_text

    result = measure(quick)
    _print(result, as_json, lambda: benchmark_text(result))
