"""Several processes train one run together: on one slice stream, scored as by one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from runs import toy_and_split

SCRIPT = Path(__file__).with_name("runs.py")


@pytest.mark.slow
def test_two_processes_leave_one_complete_run(tmp_path: Path) -> None:
    toy_and_split(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parent.parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(tmp_path), str(tmp_path / "run"), "--devices", "2"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "run" / "config.json").is_file()
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 4
