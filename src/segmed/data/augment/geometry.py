"""Move image and mask together: every flip, turn, scaling and shift in one interpolation."""

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor


def warp(
    image: Float[Tensor, "b c h w"],
    mask: Float[Tensor, "b k h w"],
    sampling: Float[Tensor, "b 2 3"],
    *,
    soft: bool = False,
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b k h w"]]:
    """Sample the image bilinearly, and the mask at the nearest pixel or, where it is `soft`, bilinearly too; zeros come
    in from outside.

    `sampling` takes output to input pixels, measured from the image centre. One grid serves both; kornia's
    `warp_affine` builds a grid per call and takes four times as long here.
    """
    height, width = image.shape[-2:]
    half = torch.tensor([width / 2, height / 2], device=image.device, dtype=torch.float32)
    matrix = sampling.to(half)
    normalised = torch.cat([matrix[:, :, :2] * half, matrix[:, :, 2:]], dim=2) / half[:, None]
    grid = functional.affine_grid(normalised, [len(image), 1, height, width], align_corners=False)
    moved = functional.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    mode = "bilinear" if soft else "nearest"
    masks = functional.grid_sample(mask.float(), grid, mode=mode, padding_mode="zeros", align_corners=False)
    return moved, masks.to(mask.dtype)


def blank_border(planes: Float[Tensor, "b c h w"], margins: tuple[int, int]) -> Float[Tensor, "b c h w"]:
    """A copy with zeros in `margins` (vertical, horizontal) pixels at every side: the padding of a crop."""
    vertical, horizontal = margins
    height, width = planes.shape[-2:]
    inside = planes[:, :, vertical : height - vertical, horizontal : width - horizontal]
    return functional.pad(inside, (horizontal, horizontal, vertical, vertical))
