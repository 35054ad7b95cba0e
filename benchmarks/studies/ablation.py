"""Train and evaluate every variant of a spec with every seed; what is there already is left, what broke off goes on.

    python benchmarks/studies/ablation.py SPEC.yaml --data DATA --split split.json --out runs/study
    python benchmarks/studies/collect.py runs/study

Runs lie in `OUT/VARIANT/seed-N`, as complete run folders with their evaluations inside, and what was printed in
`OUT/VARIANT/seed-N.log`. One seed is finished for all variants before the next begins, so that a study that is not
finished can be read. Several of these commands may work on one OUT: each takes runs that no other holds. A run that
fails is reported at the end, and the others go on.
"""

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ablation_spec import Spec, evaluation_folders, is_beside, read_spec, require_same_recipe, run_folder

from segmed.core.errors import ConfigError, SegmedError
from segmed.core.files import exclusive_lock
from segmed.data.degrade import parse_degradations


def main() -> int:
    """Work through the study; the exit code is 1 where a run failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path, help="the study, a YAML file; see ablation_spec.py")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the study")
    parser.add_argument("--only", nargs="*", metavar="VARIANT", help="these variants alone")
    parser.add_argument("--seeds", nargs="*", type=int, help="these of the spec's seeds alone")
    parser.add_argument("--dry-run", action="store_true", help="say what would be run, and write nothing")
    options = parser.parse_args()
    try:
        spec = read_spec(options.spec)
        runs = chosen(spec, options.only, options.seeds)
        where = (options.out, options.data, options.split)
        if options.dry_run:
            for name, seed in runs:
                for arguments in commands(spec, name, seed, *where):
                    print(f"{name} seed {seed}: segmed {' '.join(arguments)}")
            return 0
        keep_spec(options.spec, spec, options.out)
        failed = [run_folder(options.out, name, seed) for name, seed in runs if not _work(spec, name, seed, *where)]
    except SegmedError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    for folder in failed:
        print(f"failed: {folder}, see {folder}.log", file=sys.stderr)
    return 1 if failed else 0


def chosen(spec: Spec, only: list[str] | None, seeds: list[int] | None) -> list[tuple[str, int]]:
    """The runs to work on, seed by seed; raises `ConfigError` for what the spec does not have."""
    for value, known, what in ((only, list(spec.variants), "variant"), (seeds, list(spec.seeds), "seed")):
        for each in value or ():
            if each not in known:
                raise ConfigError(f"The spec has no {what} {each!r}. Choose from: {', '.join(map(str, known))}.")
    names = [name for name in spec.variants if only is None or name in only]
    return [(name, seed) for seed in spec.seeds if seeds is None or seed in seeds for name in names]


def keep_spec(path: Path, spec: Spec, out: Path) -> None:
    """Copy the spec and the recipe files beside it to the study's folder, where `collect.py` reads them.

    Variants and seeds may be added later.
    """
    beside = [Path(variant.recipe) for variant in spec.variants.values() if is_beside(path.parent, variant.recipe)]
    for source, kept in [(path, out / "spec.yaml")] + [(each, out / each.relative_to(path.parent)) for each in beside]:
        kept.parent.mkdir(parents=True, exist_ok=True)
        if not (kept.is_file() and kept.samefile(source)):
            shutil.copyfile(source, kept)


def commands(spec: Spec, name: str, seed: int, out: Path, data: Path, split: Path) -> Iterator[list[str]]:
    """What is still to be done for a run, as arguments of `segmed`, in order."""
    run = run_folder(out, name, seed)
    if (run / "recipe.yaml").is_file():
        require_same_recipe(run, spec.recipe(name, seed))
    if not (run / "config.json").is_file():
        overrides = [part for each in spec.overrides(name, seed) for part in ("--set", each)]
        resume = ["--resume"] if run.exists() else []
        where = ["--data", str(data), "--split", str(split), "--out", str(run)]
        yield ["train", spec.variants[name].recipe, *where, *spec.variants[name].train, *overrides, *resume]
    for evaluation, arguments in spec.evaluations.items():
        folder = run / f"evaluation-{evaluation}"
        found = evaluation_folders(run, evaluation, arguments)
        if not all((each / "evaluation.json").is_file() for each in found):
            yield ["evaluate", str(run), "--data", str(data), "-o", str(folder), "--name", name, *arguments]
    for degradation in parse_degradations(",".join(spec.degrade)) if spec.degrade else ():
        if not (run / f"evaluation-test-{degradation.label}" / "evaluation.json").is_file():
            worse = ["--no-floors", "--degrade", str(degradation)]
            yield ["evaluate", str(run), "--data", str(data), "--name", name, *worse]


def _work(spec: Spec, name: str, seed: int, out: Path, data: Path, split: Path) -> bool:
    """Do what is left of a run; False where it failed. A run that another command holds is left to that."""
    folder = run_folder(out, name, seed)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(folder) as mine:
        if not mine:
            print(f"{name} seed {seed}: another command works on it")
            return True
        for arguments in commands(spec, name, seed, out, data, split):
            print(f"{name} seed {seed}: segmed {' '.join(arguments)}", flush=True)
            started = time.monotonic()
            with folder.with_name(f"{folder.name}.log").open("a", encoding="utf-8") as log:
                done = subprocess.run([sys.executable, "-m", "segmed", *arguments], stdout=log, stderr=log, check=False)
            print(f"{name} seed {seed}: {time.monotonic() - started:.0f} s, exit {done.returncode}", flush=True)
            if done.returncode != 0:
                return False
    return True


if __name__ == "__main__":
    sys.exit(main())
