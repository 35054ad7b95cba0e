"""The grid on which prompts cross, from what preprocessing did to an image."""

from segmed.core.grid import PromptGrid
from segmed.preprocess import Undo


def prompt_grid(undo: Undo, network: tuple[int, int]) -> PromptGrid:
    """The way of an image's prompts to the network's grid of size (height, width), padding included, and back."""
    return PromptGrid(original=undo.original, content=undo.content, network=network)
