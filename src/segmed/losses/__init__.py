"""Losses from logits: a plain table of functions of `(logits, target)`."""

from segmed.losses.config import LOSSES, Loss, LossConfig, build_loss

__all__ = ["LOSSES", "Loss", "LossConfig", "build_loss"]
