"""Prompts: the value, its way between grids, how prompts are made from masks and from probability maps, their names.

- `value`: boxes, points and mask logits of one image;
- `grid`: between an image's grid and the network's;
- `boxes`, `masks`: changes of boxes; what a mask gives to prompt with;
- `sampling`: prompts drawn from a reference mask, in training and in evaluation;
- `kinds`: the names of kinds of prompts, as `--prompts` takes them;
- `volumes`, `quality`: one box for each lesion of a volume; how good boxes are;
- `proposals`: prompts from a probability map, without the reference.
"""
