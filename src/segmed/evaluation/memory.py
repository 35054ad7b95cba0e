"""How much memory this process has used at most."""

import sys


def peak_memory_mib(device: str = "cpu") -> float | None:
    """Peak memory in MiB: allocated on the GPU for `cuda`, else resident in this process; None where unknown."""
    if device == "cuda":
        import torch

        return float(torch.cuda.max_memory_allocated() / 2**20)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak / 2**20 if sys.platform == "darwin" else peak / 2**10)
