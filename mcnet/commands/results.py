"""Commands on what a run has made: shards, datasets, analysis and report; what is heavy is imported inside."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from mcnet.commands import options
from mcnet.errors import DataError


@click.command()
@options.directory
@click.option("--recompute", type=click.IntRange(min=0), default=0, metavar="K", help="Draw K random shards again.")
@click.option("--device", default="auto", show_default=True, metavar="DEVICE", help="auto, cpu or cuda:N.")
@options.as_json
@options.debug
def verify(directory: Path, recompute: int, device: str, as_json: bool) -> None:
    """Check every shard, draw some again.

    Every byte is read and compared with its digest. With --recompute, shards chosen at random are drawn again:
    identical, within rounding, the same weights and law (chaos makes more of rounding), or different (exit code 65).

    \b
    Example:
      mcnet verify runs/study --recompute 3
    """
    from mcnet.commands import members, published

    file = published.alone(directory)
    if file is not None:
        read = published.verify(file, recompute)
        options.show(read, as_json, lambda: published.verify_text(read))
        return
    result = members.verify(directory, recompute, device)
    options.show(result, as_json, lambda: members.verify_text(result))
    if result["damaged"] or result["verdict"] == "different":
        sys.exit(DataError.exit_code)


@click.command()
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
@options.quiet
@options.as_json
@options.debug
def merge(directories: tuple[Path, ...], out: Path, quiet: bool, as_json: bool) -> None:
    """Bring runs of one plan into one directory.

    The parts were made on several machines without a common disk. Shards that several hold count once; the same
    networks in other ranges, or with other numbers, are refused. The parts stay as they are.

    \b
    Example:
      mcnet merge from_a/study from_b/study --out runs/study
    """
    from mcnet.commands import members
    from mcnet.commands.directory import merge_text

    result = members.merge(directories, out)
    options.show(result, as_json, lambda: merge_text(result, str(out)), quiet)


@click.command()
@options.directory
@options.quiet
@options.debug
def pack(directory: Path, quiet: bool) -> None:
    """Write dataset.h5 from the shards of a run.

    run and resume do it at their end; here for a run that is not complete yet.

    \b
    Example:
      mcnet pack runs/study
    """
    from mcnet.commands import members

    text = members.pack(directory)
    options.show(text, False, lambda: text, quiet)


@click.command()
@click.argument("dataset", metavar="DATASET", type=click.Path(path_type=Path, readable=False))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, readable=False),
    metavar="DIR",
    help="Directory of the new run.",
)
@click.option("--plugin", "plugins", multiple=True, metavar="MODULE", help="A module that the run was made with.")
@options.machine
@options.quiet
@options.as_json
@options.debug
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
    options.show(result, as_json, lambda: rerun_text(result), quiet)
    if result["verdict"] == "different":
        sys.exit(DataError.exit_code)


@click.command()
@click.argument("dataset", metavar="DATASET", type=click.Path(path_type=Path, readable=False))
@click.option(
    "--zarr",
    "out",
    required=True,
    type=click.Path(path_type=Path, readable=False),
    metavar="PATH",
    help="The new store.",
)
@options.quiet
@options.debug
def export(dataset: Path, out: Path, quiet: bool) -> None:
    """Write a dataset in another format: Zarr.

    DATASET is a dataset.h5, or a directory that holds one. xarray reads the store without mcnet. Needs the package
    zarr (pip install "mcnet[zarr]").

    \b
    Example:
      mcnet export runs/study --zarr study.zarr
    """
    from mcnet.commands import members

    path = members.export(dataset, out)
    options.show(str(path), False, lambda: str(path), quiet)


@click.command()
@options.directory
@options.quiet
@options.debug
def prune(directory: Path, quiet: bool) -> None:
    """Remove shards that dataset.h5 holds.

    The run must be complete; the dataset is read again first. Afterwards the run cannot grow any more.

    \b
    Example:
      mcnet prune runs/study
    """
    from mcnet.commands import members
    from mcnet.commands.text import plural

    removed = members.prune(directory)
    text = f"{plural(removed, 'shard')} removed; {members.datasets(directory)} the run"
    options.show(removed, False, lambda: text, quiet)


@click.command()
@options.directory
@click.option("--point", metavar="NAME=VALUE,...", help="Only points with these coordinates.")
@click.option("--var", "variable", metavar="NAME", help="All entries of one variable.")
@click.option("--layer", type=click.IntRange(min=0), metavar="L", help="Only this layer.")
@options.as_json
@options.debug
def inspect(directory: Path, point: str | None, variable: str | None, layer: int | None, as_json: bool) -> None:
    """Means over networks and their errors.

    Of the last layer and the first input, unless --var or --layer ask for others.

    \b
    Example:
      mcnet inspect runs/study --point width=256 --var q --layer 5
    """
    from mcnet.commands import inspect as command

    result = command.inspect(directory, point, variable, layer)
    options.show(result, as_json, lambda: command.text(result))


@click.command()
@options.directory
@click.option("--csv", "as_csv", is_flag=True, help="Also write comparisons.csv, coefficients.csv and fits.csv.")
@click.option("--latex", is_flag=True, help="Also write the same tables for LaTeX.")
@options.results
@options.quiet
@options.as_json
@options.debug
@options.one_thread
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

    from mcnet.commands.members import analysis_text

    result = analyze_run(directory, quiet, out)
    for wanted, as_tex in ((as_csv, False), (latex, True)):
        if wanted:
            table.save(result, place_of(directory, "analysis.json", out).parent, as_tex)
    options.show(result, as_json, lambda: analysis_text(result), quiet)


@click.command()
@options.directory
@click.option("--figures", type=click.Choice(("svg", "png", "pdf")), help="Also write each figure into DIR/figures.")
@options.results
@options.quiet
@options.debug
@options.one_thread
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
    options.show(str(path), False, lambda: str(path), quiet)
