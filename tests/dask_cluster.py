"""A Dask cluster of two workers, as a site would offer it; prints its address and ends with its stdin."""

from __future__ import annotations

import sys

import dask
from distributed import LocalCluster


def main() -> None:
    """Serve until stdin ends."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
    ):
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
