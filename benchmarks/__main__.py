"""All benchmarks of the CPU, one after the other: python -m benchmarks [--quick]."""

from __future__ import annotations

from benchmarks import attention, chain, jacobian, ntk, training


def main() -> None:
    for module in (chain, ntk, jacobian, training, attention):
        print(f"# {(module.__doc__ or '').splitlines()[0]}\n", flush=True)
        module.main()
        print(flush=True)


if __name__ == "__main__":
    main()
