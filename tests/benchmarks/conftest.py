"""The studies' scripts, and the small evaluations of the report's tests, can be imported by their names."""

import sys
from pathlib import Path

_tests = Path(__file__).parents[1]
sys.path[:0] = [str(_tests.parent / "benchmarks" / "studies"), str(_tests / "evaluation")]
