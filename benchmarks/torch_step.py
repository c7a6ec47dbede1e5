"""What a step of the port to PyTorch costs on the params of a ResNet-18, beside Muon and AdamW.

The params are those of the ResNet-18 for ImageNet (11,689,512 numbers in 62 tensors), gradients are
random. What takes turns with it, window by window: AdamW on all tensors and then the same
orthogonalization of every matrix; AdamW and then the orthogonalization of `torch.optim.Muon`, in
float32; and on a GPU `torch.optim.Muon` itself on the matrices, AdamW on the rest. The median over
windows of the ratio is printed, by the clock and by the seconds of all cores, and the time of
construction.

    python benchmarks/torch_step.py --json results/benchmarks/torch_step.json
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from noiseproof.torch import LearnedOptimizer
from noiseproof.torch.orthogonal import orthogonalized
from windows import Timed, add_options, median_ratio, rates, report

OURS = "learned optimizer"
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def convolution(fan_in: int, fan_out: int, size: int) -> list[nn.Module]:
    return [nn.Conv2d(fan_in, fan_out, size, bias=False), nn.BatchNorm2d(fan_out)]


def resnet18() -> nn.Sequential:
    """The layers of a ResNet-18 in their order; they are never applied."""
    layers = convolution(3, 64, 7)
    fan_in = 64
    for width in (64, 128, 256, 512):
        layers += [*convolution(fan_in, width, 3), *convolution(width, width, 3)]
        layers += convolution(fan_in, width, 1) if fan_in != width else []
        layers += [*convolution(width, width, 3), *convolution(width, width, 3)]
        fan_in = width
    return nn.Sequential(*layers, nn.Linear(512, 1000))


def with_gradients(model: nn.Module) -> list[nn.Parameter]:
    params = list(model.parameters())
    for param in params:
        param.grad = torch.randn_like(param)
    return params


def muon_orthogonalized(matrix: Tensor) -> Tensor:
    """As in `torch.optim.Muon`, in the type that it is given."""
    a, b, c = COEFFICIENTS
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if is_tall else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x


def adamw_and(orthogonalize: Callable[[Tensor], Tensor], device: str) -> Callable[[], None]:
    """AdamW on all tensors, then what makes its mean gradients orthogonal."""
    params = with_gradients(resnet18().to(device))
    optimizer = torch.optim.AdamW(params, 1e-3)

    @torch.no_grad()
    def step() -> None:
        optimizer.step()
        for param in params:
            if param.ndim > 1:
                mean = optimizer.state[param]["exp_avg"].flatten(1)
                param.add_(orthogonalize(mean).view_as(param), alpha=-1e-3)

    return step


def muon(device: str) -> Callable[[], None]:
    """Muon on the matrices, which it takes only as such, and AdamW on the rest."""
    params = with_gradients(resnet18().to(device))
    matrices = [nn.Parameter(param.detach().flatten(1)) for param in params if param.ndim > 1]
    for matrix in matrices:
        matrix.grad = torch.randn_like(matrix)
    both = (
        torch.optim.Muon(matrices, 1e-3),
        torch.optim.AdamW([param for param in params if param.ndim == 1], 1e-3),
    )

    def step() -> None:
        for optimizer in both:
            optimizer.step()

    return step


def learned(device: str, foreach: bool | None) -> Callable[[], None]:
    model = resnet18().to(device)
    with_gradients(model)
    return LearnedOptimizer(model, num_steps=10_000, foreach=foreach).step


def construction(device: str) -> float:
    """Seconds, the median of five; the first also reads the file."""
    model, taken = resnet18().to(device), []
    for _ in range(5):
        start = time.perf_counter()
        LearnedOptimizer(model, num_steps=10_000)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description="What a step of the port to PyTorch costs.")
    parser.add_argument("--steps", type=int, default=1, help="a window")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    add_options(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    steps = {
        OURS: learned(options.device, None),
        "learned optimizer, foreach": learned(options.device, True),
        "AdamW and the same orthogonalization": adamw_and(orthogonalized, options.device),
        "AdamW and Muon's orthogonalization": adamw_and(muon_orthogonalized, options.device),
    }

    if options.device == "cuda":
        # Its products are of bfloat16, which take a CPU minutes.
        steps["Muon, AdamW on vectors"] = muon(options.device)

    def window(step: Callable[[], None]) -> None:
        for _ in range(options.steps):
            step()
        if options.device == "cuda":
            torch.cuda.synchronize()

    timed = {
        name: Timed(options.steps, lambda step=step: window(step)) for name, step in steps.items()
    }
    found = rates(timed, options.windows)
    record = {
        "steps_a_window": options.steps,
        "windows": options.windows,
        "torch": torch.__version__,
        "torch_device": options.device,
        "threads": torch.get_num_threads(),
        "construction_seconds": construction(options.device),
        "milliseconds": {name: 1e3 / statistics.median(one.wall) for name, one in found.items()},
        "learned_over": {
            name: {
                "wall": median_ratio(one.wall, found[OURS].wall),
                "cpu": median_ratio(one.cpu, found[OURS].cpu),
            }
            for name, one in found.items()
            if name != OURS
        },
    }
    report(record, options.json)


if __name__ == "__main__":
    main()
