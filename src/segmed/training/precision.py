"""Which arithmetic a machine trains in."""

import re
import statistics
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from torch import nn

ZEN_3_AND_4 = 25
"""AMD's family number of the first processors with AVX512-bf16, which of these two Zen 4 alone has."""

CLEARLY_FASTER = 1.25
"""How many times as fast as fp32 bf16 must be in a short measurement to be chosen: noise must not decide."""


PrecisionName = Literal["32-true", "bf16-mixed", "16-mixed"]
"""Lightning's names of what a training computes in."""


@dataclass(frozen=True)
class Precision:
    """Lightning's name of a precision, and why it was chosen."""

    name: PrecisionName
    reason: str


def choose_precision(wanted: str = "auto", accelerator: str = "auto", *, measured: bool = True) -> Precision:
    """The precision for this machine: bf16 where hardware multiplies it fast, fp16 on older GPUs, else fp32.

    On a CPU instruction sets decide where they were measured to; where a CPU computes bf16 and none of these is known
    of it, such as on ARM or behind a system that hides its processor, a second of training steps decides.

    A T4 claims bf16 and emulates it several times slower, so compute capability decides, not torch's word.
    On Intel AVX512-bf16 without AMX tiles was measured slower than fp32, 0.70 to 0.81 times its speed over four
    networks; on AMD's Zen 4 it was 1.5 to 2.0 and on
    Zen 5 1.4 to 3.0 times as fast, and with Intel's AMX tiles 1.7 to 2.3 times with ResNet-18
    but 0.8 to 1.1 times with EfficientNet-Lite0, so recipes with that encoder ask for fp32
    (`benchmarks/precision.py` and its four results).

    Without `measured` it is fp32 where only a measurement would tell: processes that train together would each find
    another number.
    """
    if wanted != "auto":
        names: dict[str, PrecisionName] = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
        return Precision(names[wanted], "asked for")
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        major, minor = torch.cuda.get_device_capability()
        if major >= 8:
            return Precision("bf16-mixed", f"GPU of compute capability {major}.{minor}")
        return Precision("16-mixed", f"GPU of compute capability {major}.{minor}: bf16 would be emulated")
    if accelerator in ("auto", "cpu") and torch.cpu._is_amx_tile_supported():
        return Precision("bf16-mixed", "CPU with AMX tiles")
    if accelerator in ("auto", "cpu") and torch.cpu._is_avx512_bf16_supported() and _amd_family() >= ZEN_3_AND_4:
        return Precision("bf16-mixed", "AMD CPU with AVX512-bf16, Zen 4 or newer")
    if accelerator not in ("auto", "cpu"):
        return Precision("32-true", "no GPU of CUDA in use")
    if not _computes_bf16():
        return Precision("32-true", "CPU without bf16 instructions, where bf16 is emulated, many times slower")
    if not measured:
        return Precision("32-true", "several processes, which do not measure whether bf16 is faster on this CPU")
    speed = bf16_speed()
    chosen: PrecisionName = "bf16-mixed" if speed >= CLEARLY_FASTER else "32-true"
    return Precision(chosen, f"measured here: a training step in bf16 is {speed:.2f} times as fast as in fp32")


def has_bf16(accelerator: str = "auto") -> bool:
    """Whether what trains multiplies bf16 in hardware, and does not emulate it many times slower."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_capability()[0] >= 8
    return accelerator in ("auto", "cpu") and _computes_bf16()


def _computes_bf16() -> bool:
    """Whether this CPU has instructions for bf16, or oneDNN kernels of its own for it."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.ops.mkldnn._is_mkldnn_bf16_supported())


@lru_cache(maxsize=1)
def bf16_speed(repeats: int = 5) -> float:
    """How many times as fast as in fp32 training steps of a small network are in bf16 on this CPU, measured once.

    Plain, pointwise and depthwise convolutions with normalisation, 8 images of 64 x 64; medians of interleaved steps,
    fewer where bf16 is far behind.
    The state of torch's random numbers is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        network = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 96, 1), nn.BatchNorm2d(96),
            nn.ReLU(), nn.Conv2d(96, 96, 3, 1, 1, groups=96), nn.BatchNorm2d(96), nn.ReLU(), nn.Conv2d(96, 64, 3, 1, 1),
        ).to(memory_format=torch.channels_last)  # fmt: skip
        images = torch.rand(8, 3, 64, 64).to(memory_format=torch.channels_last)

    def step(*, bf16: bool) -> float:
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            output = network(images)
        output.float().square().mean().backward()
        return time.perf_counter() - began

    times: dict[bool, list[float]] = {False: [], True: []}
    for repeat in range(repeats + 1):
        for bf16, found in times.items():
            seconds = step(bf16=bf16)
            if repeat:  # the first is for kernels to be made
                found.append(seconds)
        if repeat and times[True][0] > 3 * times[False][0]:
            break  # no repetition turns that round
    return statistics.median(times[False]) / statistics.median(times[True])


def _amd_family(cpuinfo: Path = Path("/proc/cpuinfo")) -> int:
    """AMD's family number of this machine's processor; 0 for other makers and where the system does not tell."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    family = re.search(r"^cpu family\s*:\s*(\d+)", text, re.MULTILINE)
    return int(family[1]) if family and "AuthenticAMD" in text else 0
