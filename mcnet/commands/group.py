"""The group of all commands: exit codes, and errors in one line."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from mcnet.errors import DiskError, McnetError, Stopped, UsageError

_INTERNAL = McnetError.exit_code


class Commands(click.Group):
    """A group that ends with the exit codes of mcnet and says in one line what went wrong."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which a user meets them, which is that of cli.py."""
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
