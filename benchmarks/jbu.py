"""Time and memory of FeatUp's upsampler: ours beside the two plain ways to write it, in one run.

Subjects, all with the same parameters and inputs, each in a process of its own with the stated number of threads:

- `ours`: `segmed.layers.JBUStack`; `ours-32`: the same for 32 channels, the size of a mask decoder's map;
- `kernels`, `apply`: its two parts, as kernels are made once per image and used for every map;
- `unfold`: peer (a), every neighbourhood unfolded, multiplied and summed, the projection last;
- `shifts`: peer (b), 49 shifted multiply-adds, the projection last.

Each gives the median and all repeats of forward after a warm-up, and the peak of resident memory above what was there
before the first call. Ours also gives forward + backward, the largest tensor that the backward pass keeps, and the
largest single allocation of both passes as torch's profiler sees it; `--peers-backward` does so for the peers (about
15 GiB). All results are compared with `ours` before anything is reported.

    python benchmarks/jbu.py --out benchmarks/results/jbu.json

The defaults are the ones to report: 256 channels, 64x64 -> 256x256, one image, 2 threads.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from segmed.core.files import write_json
from segmed.core.provenance import machine
from segmed.inference.memory import PeakMemory
from segmed.layers import JBUStack

Run = Callable[[Tensor, Tensor], Tensor]
Result = TypeVar("Result")


def unfolded(stack: JBUStack, source: Tensor, guidance: Tensor) -> Tensor:
    """Peer (a): unfold, multiply, sum."""

    def mix(stage: torch.nn.Module, source: Tensor, image: Tensor) -> Tensor:
        key = stage.range_proj(image)
        batch, channels, height, width = key.shape
        windows = F.unfold(F.pad(key, (3, 3, 3, 3), mode="reflect"), 7).view(batch, channels, 49, height, width)
        kernel = finished_kernel(stage, (windows * key.unsqueeze(2)).sum(1), image)
        upsampled = F.interpolate(source, (height, width), mode="bicubic", align_corners=False)
        windows = F.unfold(F.pad(upsampled, (3, 3, 3, 3), mode="reflect"), 7).view(batch, -1, 49, height, width)
        return (windows * kernel.unsqueeze(1)).sum(2)

    return run_stages(stack, source, guidance, mix)


def shifted(stack: JBUStack, source: Tensor, guidance: Tensor) -> Tensor:
    """Peer (b): one multiply-add for each of the 49 shifts."""

    def mix(stage: torch.nn.Module, source: Tensor, image: Tensor) -> Tensor:
        key = stage.range_proj(image)
        height, width = key.shape[-2:]
        places = [(r, s) for r in range(7) for s in range(7)]
        padded = F.pad(key, (3, 3, 3, 3), mode="reflect")
        products = [(padded[:, :, r : r + height, s : s + width] * key).sum(1) for r, s in places]
        kernel = finished_kernel(stage, torch.stack(products, 1), image)
        padded = F.pad(F.interpolate(source, (height, width), mode="bicubic"), (3, 3, 3, 3), mode="reflect")
        result = torch.zeros_like(padded[:, :, 3:-3, 3:-3])
        for tap, (r, s) in enumerate(places):
            result = result + kernel[:, tap : tap + 1] * padded[:, :, r : r + height, s : s + width]
        return result

    return run_stages(stack, source, guidance, mix)


def finished_kernel(stage: torch.nn.Module, products: Tensor, image: Tensor) -> Tensor:
    """Softmax, spatial Gaussian and fix-up, as FeatUp writes them; shared by both peers."""
    offset = torch.linspace(-1, 1, 7)
    spatial = torch.exp(-(offset[:, None] ** 2 + offset**2) / (2 * stage.sigma_spatial**2)).view(1, 49, 1, 1)
    kernel = torch.softmax(stage.range_temp.exp().clamp(1e-4, 1e4) * products, 1) * spatial
    kernel = kernel / kernel.sum(1, keepdim=True).clamp(min=1e-7)
    return kernel + 0.1 * stage.fixup_proj(torch.cat([kernel, image], 1))


def run_stages(
    stack: JBUStack, source: Tensor, guidance: Tensor, mix: Callable[[torch.nn.Module, Tensor, Tensor], Tensor]
) -> Tensor:
    """Double stage by stage and project at the full size, as FeatUp does."""
    for index in range(stack.stages):
        image = F.adaptive_avg_pool2d(guidance, (2 * source.shape[2], 2 * source.shape[3]))
        source = mix(stack.stage(index), source, image)
    return source + 0.1 * stack.fixup_proj(source)


def subject(name: str, stack: JBUStack, source: Tensor, guidance: Tensor) -> Run:
    """The function to time."""
    source_size = source.shape[2], source.shape[3]
    if name == "kernels":
        return lambda source, guidance: stack.kernels(guidance, source_size).stages[-1]
    if name == "apply":
        kernels = stack.kernels(guidance, source_size).detach()
        return lambda source, guidance: stack.upsample(source, kernels)
    if name in ("ours", "ours-32"):
        return stack
    peer = {"unfold": unfolded, "shifts": shifted}[name]
    return lambda source, guidance: peer(stack, source, guidance)


SUBJECTS = ("ours", "ours-32", "kernels", "apply", "unfold", "shifts")
COMPARED = ("ours", "apply", "unfold", "shifts")
PEERS = ("unfold", "shifts")


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Time and memory of one subject in this process; its result goes to `options.result`."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    channels = 32 if name == "ours-32" else options.channels
    stack = JBUStack(channels, options.stages, renormalise=False).eval()  # as FeatUp: the peers drift too
    source = torch.randn(1, channels, options.size, options.size)
    full = options.size * 2**options.stages
    guidance = torch.randn(1, 3, full, full)
    with torch.no_grad():
        run = subject(name, stack, source, guidance)
        result, forward_peak = peak_above(lambda: run(source, guidance))
        forward = timed(lambda: run(source, guidance), options.repeats)
    if options.result is not None:
        torch.save(result, options.result)
    facts: dict[str, Any] = {
        "forward_s": statistics.median(forward),
        "forward_all_s": forward,
        "forward_peak_bytes": forward_peak,
        "output_bytes": result.nbytes,
    }
    del result
    if options.peers_backward or name not in PEERS:
        facts |= measure_backward(run, source, guidance, options.repeats)
    return facts


def measure_backward(run: Run, source: Tensor, guidance: Tensor, repeats: int) -> dict[str, Any]:
    """Forward and backward for the features and every parameter, and what the way back keeps."""
    source = source.clone().requires_grad_()
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.nbytes)
        return tensor

    def both() -> None:
        run(source, guidance).sum().backward()

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        _, both_peak = peak_above(both)
    times = timed(both, repeats)
    largest = largest_allocation(both)
    return {
        "forward_backward_s": statistics.median(times),
        "forward_backward_all_s": times,
        "forward_backward_peak_bytes": both_peak,
        "largest_kept_bytes": max(kept),
        "largest_allocation_bytes": largest,
    }


def largest_allocation(call: Callable[[], object]) -> int:
    """The bytes of the largest tensor that `call` makes, inside our operators too."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        call()
    results = profile.profiler.kineto_results  # type: ignore[union-attr]  # set once the profile has ended
    return max(event.nbytes() for event in results.events() if event.name() == "[memory]")


def timed(call: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of each repeat, after one call that does not count."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


def peak_above(call: Callable[[], Result]) -> tuple[Result, int]:
    """What `call` gives, and the most bytes in memory at once while it ran, above those before it (Linux)."""
    memory, before = PeakMemory(), resident()
    with memory.measuring():
        result = call()
    if memory.mib is None:
        raise OSError("Only Linux counts the peak of memory from a chosen moment on.")
    return result, round(memory.mib * 2**20) - before


def resident() -> int:
    """Bytes in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def in_own_process(name: str, options: argparse.Namespace, result: Path) -> dict[str, Any]:
    """`measure` in a fresh process, whose peak is its own."""
    command = [sys.executable, __file__, "--only", name, "--result", str(result)]
    for key in ("channels", "size", "stages", "threads", "repeats"):
        command += [f"--{key}", str(getattr(options, key))]
    command += ["--peers-backward"] if options.peers_backward else []
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout))


def ratios(subjects: dict[str, dict[str, float]]) -> dict[str, float]:
    """Peers over ours, backward over forward, the largest tensor over the output, few channels over many."""
    ours = subjects["ours"]
    found = {
        f"{peer}/ours {fact}": subjects[peer][fact] / ours[fact]
        for peer in PEERS
        for fact in ("forward_s", "forward_backward_s", "forward_peak_bytes", "forward_backward_peak_bytes")
        if fact in subjects.get(peer, {})
    }
    found["ours forward_backward_s/forward_s"] = ours["forward_backward_s"] / ours["forward_s"]
    found["ours largest_kept/output"] = ours["largest_kept_bytes"] / ours["output_bytes"]
    found["ours largest_allocation/output"] = ours["largest_allocation_bytes"] / ours["output_bytes"]
    if "ours-32" in subjects:
        found["ours-32/ours forward_s"] = subjects["ours-32"]["forward_s"] / ours["forward_s"]
    return found


def main() -> None:
    """Measure every subject, check that they agree, print and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument("--size", type=int, default=64, help="side of the feature map")
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--peers-backward", action="store_true", help="time the peers' backward pass too")
    parser.add_argument("--subjects", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    parser.add_argument("--out", type=Path, default=None, help="where the JSON goes")
    parser.add_argument("--only", choices=SUBJECTS, help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only, options)))
        return
    names = ["ours", *(name for name in options.subjects if name != "ours")]
    with tempfile.TemporaryDirectory() as folder:
        results = {name: Path(folder) / f"{name}.pt" for name in names}
        subjects = {name: in_own_process(name, options, results[name]) for name in names}
        ours = torch.load(results["ours"], weights_only=True)
        for name in names:
            if name in COMPARED:
                difference = (torch.load(results[name], weights_only=True) - ours).abs().max().item()
                subjects[name]["largest_difference_from_ours"] = difference
                assert difference <= 1e-4, f"{name} differs from ours by {difference}"
    report = {
        "what": {key: getattr(options, key) for key in ("channels", "size", "stages", "threads", "repeats")},
        "machine": machine(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "subjects": subjects,
        "ratios": ratios(subjects),
    }
    print(json.dumps(report, indent=2))
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.out, report)


if __name__ == "__main__":
    main()
