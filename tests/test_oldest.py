"""The lowest allowed versions can be asked for: every requirement names one."""

from __future__ import annotations

import pytest

from tools.oldest import oldest, pinned


def test_every_requirement_names_its_lowest_version() -> None:
    found = oldest(["dask", "zarr"])
    assert {"numpy", "h5py", "xarray", "distributed", "zarr"} <= {one.split("==")[0] for one in found}
    assert pinned("mypy>=2.4,<2.5") == "mypy==2.4"
    assert pinned("cupy-cuda12x[ctk]>=14") == "cupy-cuda12x[ctk]==14"


def test_one_without_is_refused() -> None:
    with pytest.raises(ValueError, match="scipy-stubs: names no lowest version"):
        pinned("scipy-stubs")
