"""`python -m segmed` is the same as the `segmed` command."""

from segmed.cli.main import run

run()
