"""How much memory is used at most while something runs."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROCESS = Path("/proc/self")


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory ran out: Python's own, torch's of a GPU, or its allocator's of a CPU."""
    import torch

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    )


class PeakMemory:
    """The highest use of memory within `measuring` blocks; `mib` is None where it cannot be measured.

    On `cuda` it is what was allocated on the GPU. Else it is what the whole process holds, libraries and memory-mapped
    data included, which Linux alone counts from a chosen moment on.
    """

    def __init__(self, device: str = "cpu") -> None:
        """Measure nothing yet; `device` is a torch device by name, such as cpu, cuda or cuda:1."""
        self.mib: float | None = None
        self._device = device
        self._on_gpu = device.partition(":")[0] == "cuda"

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Forget earlier peaks, run the block, and keep its peak if it is the highest so far."""
        known = self._reset()
        yield
        found = self._peak() if known else None
        if found is not None:
            self.mib = max(found, self.mib or 0.0)

    def _reset(self) -> bool:
        if self._on_gpu:
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)
            return True
        try:
            (PROCESS / "clear_refs").write_text("5")  # proc_pid_clear_refs(5): the peak becomes what is held now
        except OSError:
            return False
        return True

    def _peak(self) -> float | None:
        if self._on_gpu:
            import torch

            return float(torch.cuda.max_memory_allocated(self._device) / 2**20)
        found = re.search(r"VmHWM:\s+(\d+) kB", (PROCESS / "status").read_text())
        return float(found[1]) / 2**10 if found else None
