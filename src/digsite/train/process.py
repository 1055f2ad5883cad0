"""How a training process uses its machine: explicit threads, and an allocator that keeps its pages."""

import ctypes
import sys

import torch

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
KEEP_BYTES = 1 << 30
PAD_BYTES = 64 << 20


def prepare_process(threads: int = 1) -> bool:
    """Set the number of threads, flush denormals and tune the allocator; call it once at the start of a worker.

    Adam's second moments of unused inputs decay into denormal numbers, on which a square root is six times slower.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    return tune_allocator()


def tune_allocator() -> bool:
    """Tell glibc to keep freed memory; False where there is no glibc.

    By default a buffer of some hundred kilobytes is a mapping of its own, given back at once and zeroed page by page
    at the next use: in the training of small CNNs these page faults cost more than the arithmetic. The environment
    variables MALLOC_*_ do the same but only before a process starts.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, KEEP_BYTES), (M_TOP_PAD, PAD_BYTES))
    return all(mallopt(name, value) == 1 for name, value in settings)
