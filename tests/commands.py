"""Run `segmed` in this process, and the options of a training small enough for a test."""

from typer.testing import CliRunner

from segmed.cli.main import app

TINY = (
    "--model=unet", "--encoder=tu-test_efficientnet", "--encoder-weights=none", "--epochs=1", "--batch-size=4",
    "--set", "sampling.steps_per_epoch=2", "--set", "sampling.positive_share=null",
)  # fmt: skip


def segmed(*arguments: object) -> str:
    """The output of a command that must succeed."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output
