"""Where a result came from: commit, versions, machine."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from segmed.version import __version__

DECISIVE = ("torch", "torchvision", "segmentation-models-pytorch", "lightning", "numpy", "scipy", "kornia")
"""Packages whose version can change a number."""


def versions() -> dict[str, str]:
    """Versions of SegMed and of the packages that decide a result; `absent` where one is not installed."""
    found = {"python": platform.python_version(), "segmed": __version__}
    for name in DECISIVE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def commit() -> str:
    """The commit of the source tree that SegMed runs from, `+changes` if it differs; empty when installed."""
    folder = Path(__file__).resolve().parent
    head = _git(folder, "rev-parse", "HEAD")
    if not head or not _git(folder, "ls-files", "--error-unmatch", "provenance.py"):
        return ""
    return head + ("+changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")


def machine() -> str:
    """Processor and core count, such as `Intel(R) Xeon(R) Processor, 2 cores`; no host name."""
    return f"{processor()}, {os.cpu_count()} cores"


def processor() -> str:
    """The processor's name as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
