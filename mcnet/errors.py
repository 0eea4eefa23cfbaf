"""What can go wrong for a user, and the exit code of each (the numbers of sysexits.h)."""

from __future__ import annotations


class McnetError(Exception):
    """A mistake or a failure told in one sentence; the command line prints it without a traceback."""

    exit_code = 70


class UsageError(McnetError):
    """A wrong argument, option or combination."""

    exit_code = 64


class ScenarioError(UsageError):
    """A scenario that cannot be run; all its mistakes at once, one a line."""


class DataError(McnetError):
    """A file that is damaged, foreign or of another plan."""

    exit_code = 65


class DeviceError(McnetError):
    """A device that was asked for and is not there."""

    exit_code = 69


class DiskError(McnetError):
    """The disk is full or refuses to be written."""

    exit_code = 74


class Stopped(McnetError):
    """A signal asked for a stop; what was done is safe and the run can be resumed."""

    exit_code = 75


def kind(error: McnetError) -> str:
    """Name of the error of this module that an error is: how worker processes tell it."""
    return next(ancestor.__name__ for ancestor in type(error).__mro__ if ancestor.__module__ == __name__)


def of_kind(name: str, told: str) -> McnetError:
    """The error that a worker process told."""
    found = globals().get(name)
    return found(told) if isinstance(found, type) and issubclass(found, McnetError) else McnetError(told)
