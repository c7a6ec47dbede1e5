"""The port under what PyTorch puts around a training step: compiled graphs, and processes."""

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="the extra [torch] is not installed")

pytestmark = pytest.mark.slow  # every test starts processes that import PyTorch

COMPILED = """
import torch
from torch import nn
from noiseproof.torch import LearnedOptimizer

torch.set_num_threads(1)
images = torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(1))
labels = torch.tensor([0, 1, 2, 0, 1, 2])


def trained(foreach, decorate):
    torch.manual_seed(0)
    body = nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()
    model = nn.Sequential(*body, nn.Linear(16, 3))
    options = {"num_steps": 10, "lr": torch.tensor(1.0), "foreach": foreach}
    optimizer = LearnedOptimizer(model, **options)

    def loss_and_gradients():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()

    take_step = decorate(optimizer.step)
    for _ in range(4):
        loss_and_gradients()
        take_step()
    return [param.detach() for param in model.parameters()]


for foreach in (False, True):
    plain = trained(foreach, lambda step: step)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = trained(foreach, lambda step: torch.compile(step, backend="eager", fullgraph=True))
    for ours, theirs in zip(compiled, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1, "a step was compiled anew"
"""

DISTRIBUTED = """
import sys
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from noiseproof.torch import LearnedOptimizer

rank, world, meeting, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
model = DistributedDataParallel(model)
optimizer = LearnedOptimizer(model, num_steps=10)
images = torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(1))
labels = torch.tensor([0, 1, 2, 0, 1, 2])
own = slice(rank * 6 // world, (rank + 1) * 6 // world)
for _ in range(4):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(images[own]), labels[own]).backward()
    optimizer.step()
torch.save([param.detach() for param in model.parameters()], f"{out}-{rank}")
dist.destroy_process_group()
"""


def test_a_step_is_compiled_once_as_one_graph():
    """Catches what a compiler can not follow, and numbers that change and compile it anew."""
    found = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr[-2000:]


def test_two_processes_take_the_steps_of_one(tmp_path):
    def run(world):
        words = [str(world), str(tmp_path / f"meeting-{world}"), str(tmp_path / f"out-{world}")]
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", DISTRIBUTED, str(rank), *words], stderr=subprocess.PIPE
            )
            for rank in range(world)
        ]
        for process in processes:
            _, complaint = process.communicate(timeout=240)
            assert process.returncode == 0, complaint[-2000:]
        return [
            torch.load(tmp_path / f"out-{world}-{rank}", weights_only=True) for rank in range(world)
        ]

    (alone,), (left, right) = run(1), run(2)
    for one, other, single in zip(left, right, alone, strict=True):
        assert torch.equal(one, other)
        torch.testing.assert_close(one, single, rtol=0, atol=1e-5)
