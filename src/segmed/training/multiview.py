"""FeatUp's own objective: upsampled features, jittered and brought down, must be the encoder's of the jittered image.

Source: Fu et al., "FeatUp", ICLR 2024, sec. 3.1 and 3.3, and the training code of mhamilton723/FeatUp@6b5a6c0 (MIT).
It needs no features of a larger image, which is what it is for; where there are some, `distil` is simpler and cheaper.

Differs from the reference:
- an image's features are upsampled once a step, not once a jitter;
- dropout of the downsampler is off in evaluation;
- one affine map moves the image and the features alike, and nothing compares a moved map with an unmoved one (the
  reference's CRF term does); that term and the total variation, of weights 0.001 and 0, are left out;
- the blur of features before the downsampler and the dropout of whole patches' logits are left out: they suit patches
  of 16 x 16 cells; in ours, often 2 x 2, a blur of 5 x 5 mixes patches, and four cells without logits are a plain mean.
  What they are worth was not measured;
- nothing is moved to a GPU, and no global seed is set: all chance comes from the step's seed.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmed.core.errors import ConfigError
from segmed.data.loading import Batch
from segmed.models.sam.network import PromptableSam
from segmed.training.featup import require_upsampler
from segmed.training.featup_config import FeatUpConfig
from segmed.training.prompted import PromptedObjective


class AttentionDownsampler(nn.Module):
    """Every patch of k x k upsampled cells as one: a mean by the features' own saliency and a learned window."""

    def __init__(self, channels: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.saliency = nn.Sequential(nn.Dropout(0.2), nn.Linear(channels, 1))
        self.weight = nn.Parameter(1 + 0.01 * torch.randn(patch * patch))
        self.bias = nn.Parameter(0.01 * torch.randn(patch * patch))

    def forward(self, high: Float[Tensor, "b c H W"]) -> Float[Tensor, "b c h w"]:
        """The map with sides smaller by `patch`, which divides them."""
        k = self.patch
        patches = torch.unflatten(torch.unflatten(high, 3, (-1, k)), 2, (-1, k))  # b c h k w k
        patches = patches.permute(0, 2, 4, 3, 5, 1).flatten(3, 4)  # b h w k*k c
        attention = (self.saliency(patches)[..., 0] * self.weight + self.bias).softmax(-1)
        return torch.einsum("bhwp,bhwpc->bchw", attention.to(patches.dtype), patches)


class MultiViewObjective(nn.Module):
    """Trains what upsamples a frozen encoder's embedding, a downsampler, and a scale of the error that is expected."""

    def __init__(self, config: FeatUpConfig, prompted: PromptedObjective, model: nn.Module) -> None:
        super().__init__()
        promptable = require_upsampler(model)
        small = promptable.config.encoder_side // promptable.stride
        if promptable.grid % small:
            raise ConfigError(
                f"objective multiview brings {promptable.grid} cells down to {small}, which does not divide them. "
                f"Set model.sam.encode_at to {promptable.config.size // 2}."
            )
        channels = int(promptable.mask_decoder.hidden_size)
        self.downsampler = AttentionDownsampler(channels, promptable.grid // small)
        self.scale = nn.Conv2d(channels, 1, 1)
        with torch.no_grad():
            for parameter in self.scale.parameters():
                parameter.mul_(0.1)
        self._config, self._prompted = config, prompted

    def loss(self, model: nn.Module, batch: Batch, *, seed: int) -> Float[Tensor, ""]:
        """The mean negative log-likelihood of the views' features."""
        promptable = require_upsampler(model)
        generator = torch.Generator().manual_seed(seed)
        high = promptable.upsampled_features(batch.image)
        views = [self._view(promptable, batch.image, high, generator) for _ in range(self._config.jitters)]
        return torch.stack(views).mean()

    def validate(self, model: nn.Module, batch: Batch) -> tuple[Float[Tensor, "b k s s"], Float[Tensor, ""]]:
        """Logits under the validation prompts, and the loss of fixed views."""
        logits, _ = self._prompted.validate(model, batch)
        return logits, self.loss(model, batch, seed=0)

    def _view(
        self, model: PromptableSam, image: Tensor, high: Float[Tensor, "b c g g"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """FeatUp's eq. 3 for one view: squared error over twice the variance, plus the logarithm of the scale."""
        view = draw_view(generator, zoom=self._config.zoom, shift=self._config.shift)
        with torch.no_grad():
            target = model.features(seen_through(view, image)).first.float()
        found = self.downsampler(seen_through(view, high)).float()
        axes = torch.randn(target.shape[1], self._config.projection, generator=generator).to(target)
        difference = torch.einsum("bchw,cp->bphw", found - target, functional.normalize(axes, dim=0))
        scale = (self.scale(target).float() + 0.1).exp().clamp(min=1e-4)
        return (difference.square().mean(1, keepdim=True) / (2 * scale.square()) + scale.log()).mean()


def draw_view(generator: torch.Generator, *, zoom: float, shift: float) -> Float[Tensor, "2 3"]:
    """An affine map of a view's coordinates (-1 to 1) to the image's: half are zoomed in, half mirrored, all moved."""
    chance = torch.rand(5, generator=generator).tolist()
    scale = 1 / (1 + (zoom - 1) * chance[1]) if chance[0] < 0.5 else 1.0
    mirror = -1.0 if chance[2] < 0.5 else 1.0
    room = 1 - scale + 2 * shift
    across, down = (room * (2 * value - 1) for value in chance[3:])
    return torch.tensor([[mirror * scale, 0, across], [0, scale, down]])


def seen_through(view: Float[Tensor, "2 3"], image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """A map seen through a view, bilinear, mirrored beyond its borders; the same part whatever the map's size."""
    theta = view.to(image).expand(len(image), -1, -1)
    grid = functional.affine_grid(theta, list(image.shape), align_corners=False)
    return functional.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
