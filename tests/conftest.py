"""What all tests share.

Plug-ins named in tests are not remembered in the home of whoever runs them. Examples of hypothesis are the same in
every run, and no slower machine fails for being slow.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "mcnet", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("mcnet")


@pytest.fixture(autouse=True, scope="session")
def state_home() -> Iterator[None]:
    """A directory for what is remembered between commands."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = folder
        yield
