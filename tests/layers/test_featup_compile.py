"""The upsampler passes through torch's compiler.

Runs in a process of its own, as users run it: without the shape checks of the tests, which no tracer can follow.
"""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json

import torch
from segmed.layers import JBUStack

torch.manual_seed(0)
stack = JBUStack(2, 1).eval()
source, guidance = torch.randn(1, 2, 2, 3, requires_grad=True), torch.randn(1, 3, 4, 6)

def result_and_gradient(run):
    result = run(source, guidance)
    return result.detach(), torch.autograd.grad(result.square().sum(), source)[0]

eager, compiled = (
    result_and_gradient(run) for run in (stack, torch.compile(stack, fullgraph=True, backend="aot_eager"))
)
print(json.dumps([float((compiled[part] - eager[part]).abs().max()) for part in (0, 1)]))
"""


@pytest.mark.slow
def test_the_stack_compiles_without_graph_breaks_to_the_same_numbers_and_gradients() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    of_result, of_gradient = json.loads(done.stdout.splitlines()[-1])
    assert of_result <= 1e-6
    assert of_gradient <= 1e-5
