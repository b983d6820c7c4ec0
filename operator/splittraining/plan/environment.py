"""The environment of a party's process: what torch, CUDA and gRPC read once, when they are imported."""

from __future__ import annotations


def build_environment(*, intra_op_threads: int) -> dict[str, str]:
    """Builds the variables that torch, CUDA and gRPC read once, when they are imported.

    Args:
        intra_op_threads: The contract's `numerics.intraOpThreads`; the same in a pod.
    """
    threads = str(intra_op_threads)
    return {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        # Deterministic cuBLAS needs a fixed workspace.
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        # Without these the C library hands activations back to the system after every step and faults their pages in
        # again in the next: a fifth of a step at 4 MiB. Larger blocks are mapped as before, and freed at once.
        "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
        "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
        # An ECDSA leaf has no TLS 1.2 suite in this list, so that gRPC can only agree on TLS 1.3.
        "GRPC_SSL_CIPHER_SUITES": "ECDHE-RSA-AES128-GCM-SHA256",
    }
