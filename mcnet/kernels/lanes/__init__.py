"""The kernels of the CPU, written for sixteen lanes and compiled by Numba."""
