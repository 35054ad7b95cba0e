"""FeatUp's implicit variant: a small network fitted to one image, from place and colour to features. Slow.

Source: Fu et al., "FeatUp", ICLR 2024, sec. 3.2, "implicit". Here for reference on single images: it is fitted anew for
every image (seconds on a small map, a minute on a large one), and others found it no better for segmentation than JBU.

Differs from the reference: features are compared by their squared difference in the principal components, without
uncertainty and regularisers, and the downsampler is the plain mean of a patch.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmed.core.errors import ModelError
from segmed.core.progress import Progress, tracked
from segmed.training.featup import require_upsampler
from segmed.training.multiview import draw_view, seen_through

FREQUENCIES = 30
HIDDEN = 128
INPUTS = 5
"""Three colours and two coordinates."""


class ImplicitFeatures(nn.Module):
    """Features of every pixel from its colour and place: sines and cosines of both, then three 1x1 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.linspace(-2, 10, FREQUENCIES).exp())
        self.phase = nn.Parameter(torch.randn(2, INPUTS, FREQUENCIES))
        inputs = 2 * INPUTS * FREQUENCIES + 3
        self.layers = nn.Sequential(
            nn.GroupNorm(1, inputs), nn.Conv2d(inputs, HIDDEN, 1), nn.ReLU(),
            nn.GroupNorm(1, HIDDEN), nn.Conv2d(HIDDEN, HIDDEN, 1), nn.ReLU(),
            nn.Conv2d(HIDDEN, channels, 1),
        )  # fmt: skip

    def forward(self, image: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 c h w"]:
        """The features at the image's pixels."""
        low, high = image.amin((2, 3), keepdim=True), image.amax((2, 3), keepdim=True)
        colour = (image - low) / (high - low).clamp(min=1e-6) - 0.5
        down, across = (torch.linspace(-1, 1, side, device=image.device) for side in image.shape[2:])
        place = torch.stack(torch.meshgrid(down, across, indexing="ij"))[None]
        scaled = torch.einsum("bihw,f->bifhw", torch.cat([colour, place], 1), self.frequencies)
        first, second = (scaled + phase[None, :, :, None, None] for phase in self.phase)
        waves = torch.cat([first.sin().flatten(1, 2), second.cos().flatten(1, 2), colour], 1)
        features: Tensor = self.layers(waves)
        return features


def fit_implicit(
    model: nn.Module,
    image: Float[Tensor, "1 3 s s"],
    *,
    steps: int = 300,
    views: int = 48,
    seed: int = 0,
    progress: Progress | None = None,
) -> Float[Tensor, "1 c g g"]:
    """Features of one preprocessed image on the embedding's grid, fitted to the encoder's of jittered views of it.

    The model is one that encodes a smaller image (`sam.encode_at`), whose features are the target; nothing of it is
    changed. Raises `ConfigError` for any other, and `ModelError` for features that cannot be compared.
    """
    promptable = require_upsampler(model)
    small = promptable.config.encoder_side // promptable.stride
    if promptable.grid % small:
        raise ModelError(f"{promptable.grid} cells cannot be brought down to {small} evenly; encode at half the size.")
    generator = torch.Generator().manual_seed(seed)
    seen = [torch.eye(3)[:2], *(draw_view(generator, zoom=1.8, shift=0.1) for _ in range(views - 1))]
    with torch.no_grad():
        targets = torch.cat([promptable.features(seen_through(view, image)).first for view in seen])
    centre, axes = components(targets)
    wanted = torch.einsum("nchw,cp->nphw", targets - centre[:, None, None], axes)
    guidance = functional.adaptive_avg_pool2d(image, promptable.grid)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        network = ImplicitFeatures(axes.shape[1]).to(image.device)
        optimizer = torch.optim.NAdam(network.parameters(), lr=2e-3)
        for _ in tracked(range(steps), progress):
            chosen = torch.randint(len(seen), (8,), generator=generator).tolist()
            high = network(guidance)
            found = torch.cat([seen_through(seen[index], high) for index in chosen])
            pooled = functional.avg_pool2d(found, promptable.grid // small)
            loss = functional.mse_loss(pooled, wanted[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    with torch.no_grad():
        return torch.einsum("nphw,cp->nchw", network(guidance), axes) + centre[:, None, None]


def components(features: Float[Tensor, "n c h w"], most: int = 64) -> tuple[Float[Tensor, " c"], Float[Tensor, "c p"]]:
    """The mean and up to `most` principal directions of features over all their cells."""
    cells = features.float().movedim(1, -1).flatten(0, 2)
    centre = cells.mean(0)
    _, _, axes = torch.linalg.svd(cells - centre, full_matrices=False)
    return centre, axes[:most].T
