"""The kernels in CUDA: sources, how they are compiled and launched."""
