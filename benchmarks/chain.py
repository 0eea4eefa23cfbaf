"""The conditioned chain beside its floor and beside explicit sampling, in one process and CPU time.

    python benchmarks/chain.py [--quick]

Set OMP_NUM_THREADS=1 (and OPENBLAS_NUM_THREADS=1), so that NumPy's matrix product is one core too.
"""

from __future__ import annotations

import sys

from mcnet.commands.benchmark import benchmark


def main() -> None:
    result = benchmark(quick="--quick" in sys.argv[1:])
    print(f"normals: {result['normals_per_second'] / 1e9:.2f} G/s on one core\n")
    print("| activation | weights | networks | width | depth | inputs | CPU s | floor s | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for chain in result["chains"]:
        place = " | ".join(str(chain[key]) for key in ("activation", "weights", "networks", "width", "depth", "inputs"))
        floor = chain["normals"] / chain["normals_per_second"]
        print(f"| {place} | {chain['seconds']:.3f} | {floor:.3f} | {chain['ratio']:.2f} |")
    explicit = result["explicit"]
    print(
        f"\nexplicit layer, width {explicit['width']}, {explicit['inputs']} inputs: "
        f"{explicit['seconds_per_layer'] * 1e3:.2f} ms; the conditioned chain is {result['speedup']:.0f} times faster"
    )


if __name__ == "__main__":
    main()
