"""Options and arguments that several commands share, and how a result is shown."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

Function = TypeVar("Function", bound=Callable[..., Any])


def debug(function: Function) -> Function:
    """``--debug``."""
    return click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")(function)


def as_json(function: Function) -> Function:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(function)


def quiet(function: Function) -> Function:
    """``--quiet``."""
    return click.option("--quiet", is_flag=True, help="Print nothing but errors.")(function)


def one_thread(function: Function) -> Function:
    """Small matrices one after the other: more threads wait for each other, and the last bits depend on them."""

    @functools.wraps(function)
    def alone(*arguments: Any, **given: Any) -> Any:
        from mcnet.backend import one_thread

        with one_thread():
            return function(*arguments, **given)

    return cast(Function, alone)


def study(function: Function) -> Function:
    """SCENARIO and what changes it."""
    function = click.option(
        "--plugin", "plugins", multiple=True, metavar="MODULE", help="Import a module that registers activations."
    )(function)
    function = click.option(
        "--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE", help="Change a key of the scenario."
    )(function)
    return click.argument("scenario", metavar="SCENARIO", shell_complete=scenarios)(function)


def scenarios(_: click.Context, __: click.Parameter, begun: str) -> list[Any]:
    """What the shell completes a scenario with: names of shipped ones, and files."""
    from click.shell_completion import CompletionItem

    from mcnet.scenario import shipped

    names = [entry for entry in shipped.titles() if entry["name"].startswith(begun)]
    return [*(CompletionItem(e["name"], help=e["title"]) for e in names), CompletionItem(begun, type="file")]


def directory(function: Function) -> Function:
    """DIR."""
    return click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, readable=False))(function)


def results(function: Function) -> Function:
    """Where results go, for directories that cannot be written to."""
    return click.option(
        "--out",
        type=click.Path(path_type=Path, readable=False),
        metavar="PATH",
        help="Write there: a file, or a folder for it.",
    )(function)


def show(result: Any, as_json: bool, text: Callable[[], str], quiet: bool = False) -> None:
    """Print a result: as JSON, as text, or not at all."""
    if as_json:
        from mcnet.commands.text import strict

        click.echo(json.dumps(strict(result), indent=1, ensure_ascii=False))
    elif not quiet:
        click.echo(text())


def machine(function: Function) -> Function:
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
