"""Which arithmetic a machine trains in."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch

ZEN_3_AND_4 = 25
"""AMD's family number of the first processors with AVX512-bf16, which of these two Zen 4 alone has."""


@dataclass(frozen=True)
class Precision:
    """Lightning's name of a precision, and why it was chosen."""

    name: str
    reason: str


def choose_precision(asked: str = "auto", accelerator: str = "auto") -> Precision:
    """The precision for this machine: bf16 where hardware multiplies it, fp16 on older GPUs, else fp32.

    A T4 claims bf16 and emulates it several times slower, so compute capability decides, not torch's word.
    On Intel AVX512-bf16 without AMX tiles was measured slower than fp32, 0.70 to 0.81 times its speed over four
    networks; on AMD's Zen 4 it was 1.5 to 2.0 and on
    Zen 5 1.4 to 3.0 times as fast (`benchmarks/precision.py` and its three results).
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
    if accelerator in ("auto", "cpu") and torch.cpu._is_avx512_bf16_supported() and _amd_family() >= ZEN_3_AND_4:
        return Precision("bf16-mixed", "AMD CPU with AVX512-bf16, Zen 4 or newer")
    return Precision("32-true", "no CPU that is faster in bf16, and no GPU in use")


def _amd_family(cpuinfo: Path = Path("/proc/cpuinfo")) -> int:
    """AMD's family number of this machine's processor; 0 for other makers and where the system does not tell."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    family = re.search(r"^cpu family\s*:\s*(\d+)", text, re.MULTILINE)
    return int(family[1]) if family and "AuthenticAMD" in text else 0
