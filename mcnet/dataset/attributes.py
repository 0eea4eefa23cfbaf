"""What the attributes of a dataset say to the analysis; the file may come from anywhere, so they are checked first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from mcnet import activations
from mcnet.activations.table import Activation
from mcnet.errors import DataError, ScenarioError
from mcnet.scenario.loading import parsed
from mcnet.scenario.schema import Analyze
from mcnet.scenario.schema import Fit as Fit

MAX_FITS = 1000


def asked(attributes: Mapping[str, Any]) -> Analyze:
    """The section ``[analyze]`` of the scenario that a dataset carries.

    Raises
    ------
    DataError
        If it is not what a scenario says.
    """
    try:
        section = parsed("scenario_toml", str(attributes.get("scenario_toml", ""))).get("analyze", {})
        if isinstance(section, dict) and len(section.get("fit") or ()) <= MAX_FITS:
            return Analyze.model_validate(section)
    except (ScenarioError, ValidationError, TypeError) as error:
        raise DataError("the dataset carries a scenario that is none.") from error
    raise DataError("the dataset carries a scenario that is none.")


def known_activations(attributes: Mapping[str, Any]) -> dict[str, Activation]:
    """The activations that a dataset describes, by their labels.

    Raises
    ------
    DataError
        If one is described as none that is known.
    """
    try:
        table = json.loads(str(attributes.get("activations_json", "{}")))
        if isinstance(table, dict) and len(table) <= MAX_FITS:
            return {label: activations.get(specification) for label, specification in table.items()}
    except (ValueError, TypeError, RecursionError) as error:
        told = str(error) if isinstance(error, ValueError) and str(error).isprintable() else "not a table of them"
        raise DataError(f"the dataset has activations that are none: {told[:300]}.") from error
    raise DataError("the dataset has activations that are none.")


def keys(attributes: Mapping[Any, Any]) -> dict[str, str]:
    """The keys of the architectures of a dataset, which are coordinates of its points, with their symbols.

    Raises
    ------
    DataError
        If they are not a table of words.
    """
    try:
        table = json.loads(str(attributes.get("keys_json", "{}")))
    except (ValueError, RecursionError):
        table = None
    if isinstance(table, dict) and len(table) <= MAX_FITS and all(isinstance(text, str) for text in table.values()):
        return table
    raise DataError("the dataset has keys of architectures that are not a table of words.")
