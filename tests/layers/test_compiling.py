"""GAFL and FeatUp's kernels pass through torch's compiler, whole and with the numbers that they have without it.

Both are compiled in one process, which takes longer to begin than to compile, and of their own, as users run them:
without the shape checks of the tests, which no tracer can follow.
"""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json

import torch
from segmed.layers import JBUStack
from segmed.layers.gafl import GAFL

def result_and_gradient(run, *inputs):
    result = run(*inputs)
    return result.detach(), torch.autograd.grad(result.square().sum(), inputs[0])[0]

def differences(layer, *inputs):
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    pairs = zip(result_and_gradient(layer, *inputs), result_and_gradient(compiled, *inputs), strict=True)
    return [float((ours - theirs).abs().max()) for ours, theirs in pairs]

found = {}
for options in ({}, {"adaptive": True}, {"mode": "spectrum-log"}, {"mode": "phase"}, {"mode": "general"}):
    torch.manual_seed(0)
    layer = GAFL(1, padding=2, **options)
    for weight in layer.parameters():
        weight.data += 0.1
    found[f"GAFL {options}"] = differences(layer, torch.randn(1, 1, 15, 18, requires_grad=True))
torch.manual_seed(0)
source, guidance = torch.randn(1, 2, 2, 3, requires_grad=True), torch.randn(1, 3, 4, 6)
found["FeatUp"] = differences(JBUStack(2, 1).eval(), source, guidance)
print(json.dumps(found))
"""


@pytest.mark.slow
def test_every_mode_of_gafl_and_the_stack_compile_to_one_graph_each_with_the_same_numbers_and_gradients() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 6
    assert {name: each for name, each in found.items() if max(each) > 1e-5} == {}
    assert found["FeatUp"][0] <= 1e-6
