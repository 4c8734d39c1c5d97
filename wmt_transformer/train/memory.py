"""How the C library hands out memory, which on a CPU is worth a third of the speed of a small model's step.

XLA's buffers on a CPU come from malloc and go back to it with every step. By default glibc returns large blocks to
the kernel at once and gets them again page by page, zeroed.
"""

import ctypes
import sys


def keep_freed_memory() -> None:
    """Tells glibc to keep what a step frees for the next step; other C libraries are left as they are.

    There must be one arena for all threads, because those of XLA would each get one of their own, which no setting
    keeps from shrinking. Threads that run already keep theirs: call this before anything starts threads, which
    NumPy and JAX do when they are imported or first used.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, top_pad, mmap_max, arena_max = -1, -2, -4, -8  # from malloc.h
        mallopt(arena_max, 1)
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(top_pad, 2**28)
        mallopt(mmap_max, 0)
