"""How much GPU memory full fine-tuning of SAM's ViT-B at 1024 takes at batch 1: computed, not measured on a GPU.

The model is built and run on torch's meta device, which has shapes and no memory. Counted are weights, gradients,
AdamW's two states and the averaged weights in float32; what autograd keeps, by saved-tensor hooks; with checkpointing
the layers' inputs and, for the way back, the layer that keeps most, computed again. Attention is counted as its plain
form (softmax of all pairs kept): fused kernels keep less. Buffers of kernels, the allocator's slack (`MARGIN`) and
CUDA's own context (`CONTEXT`) are assumed. Gradients accumulate in place, so accumulation costs nothing more.

    python benchmarks/vit_memory.py --out benchmarks/results/vit-memory.json
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segmed.core.files import write_json
from segmed.core.provenance import commit, versions
from segmed.models.config import ModelConfig
from segmed.models.sam.network import PromptableSam
from segmed.models.sam_config import SamConfig
from segmed.models.zoo import build_model

GIB = 2**30
MARGIN, CONTEXT = 0.25, 0.6 * GIB
FREE = 15.0


def kept(run: Any, own: nn.Module) -> int:
    """Bytes that autograd keeps of a forward pass beside the parameters; a tensor kept twice counts once."""
    parameters = {id(each) for each in own.parameters()}
    sizes: dict[int, int] = {}
    alive: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        base = tensor if tensor._base is None else tensor._base
        if id(base) not in parameters and id(base) not in sizes:
            sizes[id(base)] = base.numel() * base.element_size()
            alive.append(base)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        run()
    return sum(sizes.values())


def built(size: int) -> PromptableSam:
    """ViT-B on the meta device, all of it trained, with the plain form of attention."""
    config = ModelConfig(name="sam-vit-b", encoder_weights="none", sam=SamConfig(size=size, trains="all"))
    with torch.device("meta"):
        model = build_model(config)
    assert isinstance(model, PromptableSam)
    return model.train()


def main() -> None:
    """Count, add up and compare with 15 GB."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    model = built(arguments.size)
    weights = sum(each.numel() * each.element_size() for each in model.parameters())
    vit: Any = model.image_encoder.vit
    cells = arguments.size // 16
    tokens = torch.empty(1, cells, cells, vit.config.hidden_size, device="meta", requires_grad=True)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        layers = [kept(lambda layer=layer: layer(tokens), layer) for layer in vit.layers]
        neck = kept(lambda: vit.neck(tokens), vit.neck)
    inputs = len(vit.layers) * tokens.numel() * tokens.element_size()
    state = 5 * weights  # weights, gradients, two states of AdamW, averaged weights
    totals = {}
    for name, activations in {"plain": sum(layers) + neck, "checkpointing": inputs + max(layers) * 2 + neck}.items():
        totals[name] = (state + activations) * (1 + MARGIN) + CONTEXT
    facts = {
        "how": "computed on the meta device, not measured on a GPU; the mask decoder's activations are in the margin",
        "model": "sam-vit-b", "size": arguments.size, "batch": 1, "dtype": "float32",
        "weights_gib": weights / GIB, "weights_gradients_adamw_average_gib": state / GIB,
        "layer_keeps_gib": [size / GIB for size in layers], "layer_inputs_gib": inputs / GIB, "neck_gib": neck / GIB,
        "margin": MARGIN, "context_gib": CONTEXT / GIB,
        "total_gib": {name: total / GIB for name, total in totals.items()},
        "fits_15_gb": {name: total <= FREE * 1e9 for name, total in totals.items()},
        "commit": commit(), "versions": versions(),
    }  # fmt: skip
    write_json(arguments.out, facts)
    print(facts["total_gib"], facts["fits_15_gb"])


if __name__ == "__main__":
    main()
