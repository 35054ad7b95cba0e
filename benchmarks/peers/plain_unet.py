"""What a user would write without SegMed: a plain script of one page that trains an smp U-Net on LGG.

Dice + BCE, flips and quarter turns, Adam, all slices, ImageNet-style scaling, threshold 0.5. It uses nothing of SegMed
but the split file, trains for a stated budget of processor time or steps, and writes the test masks as PNG, so that
`segmed evaluate --predictions` scores it exactly as it scores our runs.

    python benchmarks/peers/plain_unet.py DATA/kaggle_3m split.json OUT --cpu-minutes 12
    python benchmarks/peers/plain_unet.py DATA/kaggle_3m split.json OUT --steps 1104 --size 128 \\
        --encoder tu-tf_efficientnet_lite0 --weights efficientnet-lite0-57934424.pth
"""

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset


class Slices(Dataset[tuple[torch.Tensor, torch.Tensor, str]]):
    """Slices by slice id, scaled to 0..1; flips and quarter turns in training."""

    def __init__(self, root: Path, slice_ids: list[str], size: int, train: bool) -> None:
        self.root, self.slice_ids, self.size, self.train = root, slice_ids, size, train

    def __len__(self) -> int:
        return len(self.slice_ids)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, str]:
        slice_id = self.slice_ids[index]
        stem = next(iter(self.root.glob(f"{slice_id.rsplit('_', 1)[0]}*"))) / slice_id
        image = Image.open(f"{stem}.tif").resize((self.size, self.size), Image.Resampling.BILINEAR)
        mask = Image.open(f"{stem}_mask.tif").resize((self.size, self.size), Image.Resampling.NEAREST)
        x = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        y = torch.from_numpy(np.array(mask))[None].float() / 255
        if self.train:
            for axis in (1, 2):
                if random.random() < 0.5:
                    x, y = x.flip(axis), y.flip(axis)
            turns = random.randint(0, 3)
            x, y = x.rot90(turns, (1, 2)), y.rot90(turns, (1, 2))
        return x, y, slice_id


def main() -> None:
    """Train within the budget, then write the masks of the test part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cpu-minutes", type=float, default=12)
    parser.add_argument("--steps", type=int, help="train for so many steps in place of a budget of time")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--weights", type=Path, help="a state dict whose tensors come in the encoder's order")
    parser.add_argument("--all", action="store_true", help="train on the validation patients too")
    parser.add_argument("--no-masks", action="store_true", help="train only")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    torch.manual_seed(options.seed)
    fold = json.loads(options.split.read_text())["folds"][options.fold]
    model = smp.Unet(options.encoder, encoder_weights=None)
    if options.weights is not None:
        given = torch.load(options.weights, weights_only=True).values()
        names = model.encoder.state_dict()
        model.encoder.load_state_dict(dict(zip(names, given, strict=False)))  # the classifier's come last
    dice = smp.losses.DiceLoss("binary")
    bce = torch.nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=options.learning_rate)
    chosen = [*fold["train"], *(fold["validation"] if options.all else [])]
    loader = DataLoader(
        Slices(options.root, chosen, options.size, train=True), batch_size=16, shuffle=True, drop_last=True
    )
    started, steps, epochs = time.process_time(), 0, 0
    out_of_time = False
    while not out_of_time:
        epochs += 1
        for x, y, _ in loader:
            logits = model(x)
            loss = dice(logits, y) + bce(logits, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
            if steps % 20 == 0:
                print(f"epoch {epochs} step {steps} loss {loss.item():.3f}", flush=True)
            out_of_time = (
                time.process_time() - started > options.cpu_minutes * 60
                if options.steps is None
                else steps >= options.steps
            )
            if out_of_time:
                break
    seconds = time.process_time() - started
    said = {"steps": steps, "epochs_begun": epochs, "cpu_seconds": round(seconds, 1), "size": options.size}
    if options.no_masks:
        print(json.dumps(said))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    model.eval()
    with torch.inference_mode():
        for x, _, slice_ids in DataLoader(Slices(options.root, fold["test"], options.size, train=False), batch_size=8):
            logits = torch.nn.functional.interpolate(model(x), (256, 256), mode="bilinear")
            for slice_id, logit in zip(slice_ids, logits, strict=True):
                Image.fromarray((logit[0] > 0).numpy().astype(np.uint8) * 255).save(options.out / f"{slice_id}.png")
    print(json.dumps(said))


if __name__ == "__main__":
    main()
