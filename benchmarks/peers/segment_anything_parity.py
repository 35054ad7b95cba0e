"""Whether our path gives segment-anything's logits: equal random weights, one image, a box and a point, side by side.

segment-anything's code (github.com/facebookresearch/segment-anything, Apache-2.0) is not a dependency: get it and put
its folder on the path. The weights are drawn there, saved as a flat `.pth`, read by our reader and put into our model.

    git clone https://github.com/facebookresearch/segment-anything /tmp/segment-anything
    PYTHONPATH=/tmp/segment-anything python benchmarks/peers/segment_anything_parity.py \
        --out benchmarks/results/segment-anything-parity.json
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from segment_anything import sam_model_registry
from torch import Tensor

from segmed.core.files import write_json
from segmed.core.provenance import commit, machine, versions
from segmed.models.config import ModelConfig
from segmed.models.object_prompts import ObjectPrompts
from segmed.models.sam.network import PromptableSam
from segmed.models.sam_config import SamConfig
from segmed.models.zoo import build_model
from segmed.prompts.value import Prompts

SIDE = 1024
BOX, POINT = (212.0, 300.0, 640.0, 801.0), (400.0, 512.0)


def theirs(model: str) -> Any:
    """segment-anything's model with random weights that make every part matter."""
    torch.manual_seed(0)
    sam = sam_model_registry[model]()
    with torch.no_grad():
        for name, parameter in sam.named_parameters():
            if "norm" not in name:
                parameter.normal_(std=0.02 if name.startswith("image_encoder") else 0.1)
        for buffer in sam.prompt_encoder.pe_layer.buffers():  # the Gaussian of the positional encoding
            buffer.normal_()
    return sam.eval()


def ours(sam: Any, name: str) -> PromptableSam:
    """Our model from the other's weights, through a file in their format."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sam_vit.pth"
        torch.save(sam.state_dict(), path)
        model = build_model(ModelConfig(name=name, encoder_weights=str(path), sam=SamConfig(size=SIDE)))
    assert isinstance(model, PromptableSam)
    return model.eval()


def their_masks(sam: Any, embedding: Tensor, **prompts: Any) -> tuple[Tensor, Tensor]:
    """Low-resolution logits and predicted IoU of the single-mask output."""
    sparse, dense = sam.prompt_encoder(points=prompts.get("points"), boxes=prompts.get("boxes"), masks=None)
    masks, iou = sam.mask_decoder(
        image_embeddings=embedding,
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=False,
    )
    return masks[0, 0], iou[0, 0]


def compared(first: Tensor, second: Tensor) -> dict[str, float]:
    """Largest difference, beside the spread of the values themselves."""
    return {"largest_difference": float((first - second).abs().max()), "deviation": float(first.std())}


def main() -> None:
    """Run both and write what they differ by."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sam-vit-b", choices=["sam-vit-b", "sam-vit-l", "sam-vit-h"])
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    sam = theirs(arguments.model.removeprefix("sam-").replace("-", "_"))
    model = ours(sam, arguments.model)
    torch.manual_seed(1)
    image = torch.randn(1, 3, SIDE, SIDE)
    asked = {
        "box": (Prompts(boxes=[BOX]), {"boxes": torch.tensor([BOX])}),
        "point": (Prompts(points=[POINT]), {"points": (torch.tensor([[POINT]]), torch.ones(1, 1, dtype=torch.int))}),
    }
    with torch.inference_mode():
        their_embedding, our_embedding = sam.image_encoder(image), model.encode(image)
        rows: dict[str, Any] = {"embedding": compared(their_embedding, our_embedding.first)}
        for name, (prompts, given) in asked.items():
            masks, iou = their_masks(sam, their_embedding, **given)
            decoded = model.decode(our_embedding, ObjectPrompts.of([prompts]))
            rows[name] = {
                **compared(masks, decoded.logits[0]),
                "iou_difference": float((iou - decoded.iou[0]).abs()),
                "pixels_that_differ_at_0": int(((masks > 0) != (decoded.logits[0] > 0)).sum()),
            }
    facts = {"model": arguments.model, "size": SIDE, "weights": "random, equal", "dtype": "float32"}
    write_json(arguments.out, {**facts, **rows, "machine": machine(), "commit": commit(), "versions": versions()})
    print(rows)


if __name__ == "__main__":
    main()
