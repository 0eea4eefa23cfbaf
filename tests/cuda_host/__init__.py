"""CUDA kernels run on the host: each thread a fibre, built by g++ (:mod:`tests.cuda_host.build`)."""
