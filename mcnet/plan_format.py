"""The file ``plan.json``: its format, checked without the libraries that a plan needs."""

from __future__ import annotations

import json
from typing import Any

from mcnet.errors import DataError

FORMAT_VERSION = 1


def read_document(text: str, where: str) -> dict[str, Any]:
    """The JSON document of a plan, its format checked and nothing else.

    Raises
    ------
    DataError
        If it is no plan, or one of a newer version.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise DataError(f"{where}: is not JSON ({error}).") from error
    if not isinstance(document, dict) or document.get("format") != "mcnet-plan":
        raise DataError(f"{where}: is not a plan of mcnet.")
    version = document.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise DataError(
            f"{where}: has format {version}; this mcnet reads formats up to {FORMAT_VERSION}. Install a newer mcnet."
        )
    return document
