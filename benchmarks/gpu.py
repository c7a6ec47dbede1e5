"""What is measured where a GPU is at hand, in one command of at most ten minutes.

    python benchmarks/gpu.py --out FOLDER --data FOLDER...

does in this order, each part saved as it ends and skipped where its file is there:

- `throughput`: the card's arithmetic and bandwidth; inner steps/s of meta-training by 512 pairs;
- `resnet`: a ResNet-18 on CIFAR-10 by shipped thetas and tuned rivals, under 19 corruptions;
- `augmix`: `resnet` with AugMix;
- `resnet_8`: a residual net of 8 layers, 16 channels wide, for five epochs of 45,000 images without
  augmentation, which takes hours on a CPU: `--minutes 600 --seconds resnet_8=36000`. It goes on
  where it was left, and `--only` shares it between processes with a folder each.

Images come from sheets, see `sheets.py`. `--small` does all of it in tiny sizes, for a CPU. Cells
of the grid run on a GPU as they are, by `python research/grid.py`, beside this or without it.
"""

import argparse
import json
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

import gpu_resnet
import gpu_throughput
from noiseproof.data import Dataset
from noiseproof.data.dataset import Source, split, take
from noiseproof.experiment.mean_start import mean_start
from noiseproof.tasks.augmix import augmix
from noiseproof.tasks.outer_losses import spectral_noise
from noiseproof.types import Batch
from noiseproof.zoo.loading import load_learned
from sheets import read

STARTS = ("spectral-fashion-mlp", "spectral-fashion-convnet", "spectral-cifar-convnet")
"""Thetas of `structured` whose mean is where `universal` starts."""

ON_ITS_TASK = "spectral-cifar-convnet-gpu"

SECONDS = {"throughput": 90, "resnet": 330, "augmix": 150, "resnet_8": 200}
"""Of each part, at most, save for the one under way."""

NUM_TRAIN = 25_000
"""Images that are split into those that are trained on and those that trials are scored on. Fifteen
epochs of them are a run of a dozen seconds."""

SPECTRAL = spectral_noise()


class Machine(NamedTuple):
    """Attributes: where records go; folders of sheets; whether all is tiny; contestants, all if
    empty; threads that compile; seconds that are left, asked anew."""

    out: Path
    data: list[Path]
    small: bool
    only: tuple[str, ...]
    threads: int
    seconds_left: Callable[[], float]


def cifar(machine: Machine, num_train: int) -> Dataset:
    """CIFAR-10 of the sheets; few images where all is tiny."""
    train, test = (read(part, machine.data) for part in ("train", "test"))
    train = take(train, np.arange(num_train))
    if machine.small:
        train, test = take(train, np.arange(800)), take(test, np.arange(64))
    return split(Source("cifar-10", Batch(*train), test, 10))


def throughput(machine: Machine, seconds: float) -> None:
    gpu_throughput.measure(
        machine.out / "throughput.json",
        num_pairs=2 if machine.small else 512,
        matrix_size=256 if machine.small else 8192,
        num_threads=machine.threads,
        seconds=600.0 if machine.small else seconds,
        names=() if machine.small else gpu_throughput.SHIPPED,
    )


def compare(machine: Machine, seconds: float, *, name: str, with_augmix: bool) -> None:
    settings = gpu_resnet.Settings(augmentation=with_augmix)
    if with_augmix:
        settings = settings._replace(rivals=("muon", "sgd_nesterov", "decayed_muon", "adamw"))
    judge(machine, seconds, name, settings, NUM_TRAIN)


def resnet_8(machine: Machine, seconds: float) -> None:
    settings = gpu_resnet.Settings(
        width=16,
        depth=8,
        epochs=5,
        num_test=1000,
        flips=False,
        compute_type="float32",
        patches=jax.default_backend() == "cpu",
        rivals=("muon", "sgd_nesterov", "decayed_muon", "adam"),
        num_seeds=3,
    )
    judge(machine, seconds, "resnet_8", settings, 50_000)


def judge(
    machine: Machine, seconds: float, name: str, settings: gpu_resnet.Settings, num_train: int
) -> None:
    """Compares `universal` with tuned optimizers and itself before meta-training."""
    settings = settings._replace(seconds=seconds, num_threads=machine.threads, only=machine.only)
    if machine.small:
        settings = settings._replace(
            width=4,
            depth=8,
            epochs=1,
            batch_size=20,
            num_test=40,
            pool_size=40,
            num_corruptions=1,
            rivals=("sam",),
            seconds=400.0,
            compute_type="float32",
        )
    parts = cifar(machine, num_train)
    # Nothing is selected here, so that those images are there to be trained on.
    whole = Batch(*map(np.concatenate, zip(parts.train, parts.select, strict=True)))
    # Flips and crops show no image twice.
    seen = settings.epochs if settings.flips else 1
    rule, theta, _ = load_learned("universal", seen * len(whole.labels) / settings.batch_size)
    start = mean_start(STARTS, "universal", rule.init(jax.random.key(0)))
    thetas = {"universal": (rule, theta)}
    controls = {"universal before meta-training": (rule, start)}
    if name == "resnet":
        thetas[ON_ITS_TASK] = load_learned(ON_ITS_TASK)[:2]
    running = machine.out / f"{name}_running.json"
    gpu_resnet.compare(
        parts._replace(train=whole),
        thetas,
        controls,
        SPECTRAL,
        settings,
        running,
        augmix=augmix() if settings.augmentation else None,
    )
    running.rename(machine.out / f"{name}.json")


PARTS: dict[str, Callable[[Machine, float], None]] = {
    "throughput": throughput,
    "resnet": lambda machine, seconds: compare(machine, seconds, name="resnet", with_augmix=False),
    "augmix": lambda machine, seconds: compare(machine, seconds, name="augmix", with_augmix=True),
    "resnet_8": resnet_8,
}
"""By name, in the order in which they run; each makes `NAME.json`."""


def main() -> None:
    parser = argparse.ArgumentParser(description="What is measured where a GPU is at hand.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, action="append", required=True, help="of sheets")
    parser.add_argument("--parts", default=",".join(PARTS), help="comma-separated, in order")
    parser.add_argument("--minutes", type=float, default=9.0, help="no part begins after these")
    parser.add_argument("--seconds", default="", help="of parts, e.g. resnet=200,augmix=150")
    parser.add_argument("--only", default="", help="contestants of a residual net, e.g. muon,adam")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="that compile")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try it out")
    options = parser.parse_args()
    began = time.monotonic()
    limit = 60.0 * options.minutes
    budgets = SECONDS | {
        name: float(value)
        for name, _, value in (one.partition("=") for one in options.seconds.split(",") if one)
    }
    machine = Machine(
        options.out,
        options.data,
        options.small,
        tuple(name for name in options.only.split(",") if name),
        options.threads,
        lambda: limit - (time.monotonic() - began),
    )
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.parts.split(","):
        if (options.out / f"{name}.json").exists():
            print(f"{name} is there", flush=True)
            continue
        left = machine.seconds_left()
        if left < 30.0:
            print(f"{name} is left out, {left:.0f} s are left", flush=True)
            continue
        print(f"{name} begins, {left:.0f} s are left", flush=True)
        started = time.monotonic()
        try:
            PARTS[name](machine, min(budgets[name], left))
        except Exception:  # what one part can not do must not cost the others
            traceback.print_exc()
        print(f"{name} ended after {time.monotonic() - started:.0f} s", flush=True)
    print(json.dumps({"seconds": time.monotonic() - began}), flush=True)
    # Threads that still compile what is no longer needed would keep the process.
    os._exit(0)


if __name__ == "__main__":
    main()
