"""The command line: thin layers over functions that Python users call too; what is heavy is imported inside."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mcnet.commands import options, results, studies
from mcnet.commands.group import Commands
from mcnet.errors import McnetError


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="mcnet", message="mcnet %(version)s")
@options.debug
def main() -> None:
    """Random deep networks at finite width: sample them exactly, measure them, judge them against theory."""


@click.command()
@options.as_json
@options.debug
def doctor(as_json: bool) -> None:
    """Look whether this machine is fit.

    Devices, libraries, disk, random streams and a small sample, in some seconds.

    \b
    Example:
      mcnet doctor
    """
    from mcnet.commands import doctor as command

    findings = command.examine(Path.cwd())
    options.show(command.as_dict(findings), as_json, lambda: command.text(findings))
    if not all(finding.good for finding in findings):
        sys.exit(McnetError.exit_code)


@click.command()
@click.option("--quick", is_flag=True, help="Seconds instead of minutes.")
@options.as_json
@options.debug
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
    options.show(result, as_json, lambda: benchmark_text(result))


for _command in (
    studies.scenarios,
    studies.check,
    studies.theory,
    studies.run,
    studies.resume,
    studies.show_status,
    results.verify,
    results.merge,
    results.pack,
    results.rerun,
    results.export,
    results.prune,
    studies.slurm,
    results.inspect,
    results.analyze,
    results.report,
    doctor,
    benchmark,
):
    main.add_command(_command)
