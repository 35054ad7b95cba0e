"""Which arithmetic a machine trains in."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Precision:
    """Lightning's name of a precision, and why it was chosen."""

    name: str
    reason: str


def choose_precision(asked: str = "auto", accelerator: str = "auto") -> Precision:
    """The precision for this machine: bf16 where hardware multiplies it, fp16 on older GPUs, else fp32.

    A T4 claims bf16 and emulates it several times slower, so compute capability decides, not torch's word.
    AVX512-bf16 without AMX tiles was measured slower than fp32, 0.70 to 0.81 times its speed over four networks
    (`benchmarks/precision.py` and its result), so that a CPU needs AMX for bf16 to be chosen.
    """
    if asked != "auto":
        return Precision({"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}[asked], "asked for")
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        major, minor = torch.cuda.get_device_capability()
        if major >= 8:
            return Precision("bf16-mixed", f"GPU of compute capability {major}.{minor}")
        return Precision("16-mixed", f"GPU of compute capability {major}.{minor}: bf16 would be emulated")
    if accelerator in ("auto", "cpu") and torch.cpu._is_amx_tile_supported():
        return Precision("bf16-mixed", "CPU with AMX tiles")
    return Precision("32-true", "no AMX tiles, and no GPU in use")
