"""What becomes of damaged files: thousands of seeded mutations of small sound ones, each outcome counted.

    python benchmarks/robustness.py --images 9000 --tag-bits --settings 6000

Prints a table for docs/results/robustness.md, and exits with 1 where a file was neither read nor refused in one line
that names it.
"""

import argparse
import resource
import tempfile
from collections.abc import Mapping
from pathlib import Path

import mutated_images
import mutated_settings
import mutated_volumes
from damage import OUTCOMES, Tally
from segmed.core.provenance import commit, machine


def main() -> None:
    """Run what is asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=0, help="how many damaged image and mask files to read")
    parser.add_argument("--volumes", type=int, default=0, help="how many damaged volumes to read, DICOM masks too")
    parser.add_argument("--truncate", action="store_true", help="cut volumes of every format off at every kilobyte")
    parser.add_argument("--tag-bits", action="store_true", help="flip every bit of TIFF masks that is no pixel")
    parser.add_argument("--settings", type=int, default=0, help="how many damaged settings, tables and weights to read")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    failures = list[str]()
    print(f"commit {commit()}, {machine()}, seed {asked.seed}\n")
    for kind, number in ((mutated_images, asked.images), (mutated_volumes, asked.volumes)):
        if not number:
            continue
        before = _peak()
        with tempfile.TemporaryDirectory() as folder:
            tallies = kind.run(Path(folder), number, asked.seed)
        print(image_table(tallies))
        print(f"\nMemory rose by {_peak() - before:.0f} MiB at most.")
        failures += [each for tally in tallies.values() for each in tally.failures]
    if asked.truncate:
        before = _peak()
        with tempfile.TemporaryDirectory() as folder:
            tallies = mutated_volumes.truncate(Path(folder))
        print(f"{image_table(tallies)}\n\nMemory rose by {_peak() - before:.0f} MiB at most.")
        failures += [each for tally in tallies.values() for each in tally.failures]
    if asked.tag_bits:
        with tempfile.TemporaryDirectory() as folder:
            tally = mutated_images.flip_tag_bits(Path(folder))
        print(f"\n{sum(tally.outcomes.values())} bits of tags: {dict(tally.outcomes)}")
        print(*tally.failures, sep="\n")
    if asked.settings:
        before = _peak()
        with tempfile.TemporaryDirectory() as folder:
            tallies = mutated_settings.run(Path(folder), asked.settings, asked.seed)
        print(settings_table(tallies))
        print(f"\nMemory rose by {_peak() - before:.0f} MiB at most.")
        failures += [each for tally in tallies.values() for each in tally.failures]
    print(*failures, sep="\n")
    raise SystemExit(bool(failures))


def image_table(tallies: Mapping[str, Tally]) -> str:
    """The outcomes by kind of file, as Markdown."""
    lines = ["| File | Damaged | Equal pixels | Refused | Other pixels | Other error | Slowest, s |"]
    lines.append("| --- |" + " ---: |" * 6)
    for kind, tally in sorted(tallies.items()):
        counts = [tally.outcomes[outcome] for outcome in OUTCOMES]
        cells = [kind, str(sum(counts)), *map(str, counts), f"{tally.slowest:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def settings_table(tallies: Mapping[str, Tally]) -> str:
    """As `image_table`, of settings, tables and weights."""
    lines = ["| File | Damaged | Read as a value | Refused | Other error | Slowest, s |", "| --- |" + " ---: |" * 5]
    for kind, tally in sorted(tallies.items()):
        counts = [tally.outcomes[outcome] for outcome in mutated_settings.OUTCOMES]
        lines.append(f"| {kind} | {sum(counts)} | {' | '.join(map(str, counts))} | {tally.slowest:.2f} |")
    return "\n".join(lines)


def _peak() -> float:
    """The most memory this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
