"""What all tests share: plug-ins named in them are not remembered in the home of whoever runs them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def state_home() -> Iterator[None]:
    """A directory for what is remembered between commands."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = folder
        yield
