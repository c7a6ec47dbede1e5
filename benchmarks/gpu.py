"""What is measured where a GPU is at hand, in one command of at most ten minutes.

    python benchmarks/gpu.py --out FOLDER --data FOLDER...

does in this order, each part saved as it ends and skipped where its file is there:

- `throughput`: the card's arithmetic and bandwidth; inner steps/s of meta-training by 512 pairs;
- `universal`: meta-trains `universal` over the tasks of its preset, see `gpu_meta`;
- `resnet`: a ResNet-18 on CIFAR-10 by both thetas and tuned rivals, under 19 corruptions;
- `clean`: the control of `universal`, meta-trained on clean images;
- `augmix`: `resnet` with AugMix.

Images come from sheets, see `sheets.py`. `--small` does all of it in tiny sizes, for a CPU.
"""

import argparse
import json
import os
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from msgspec import structs

import gpu_meta
import gpu_resnet
import gpu_throughput
from noiseproof.data import DATASETS, Dataset
from noiseproof.data.dataset import Source, shrink, split, take
from noiseproof.experiment.mean_start import mean_start
from noiseproof.experiment.meta_problem import with_task
from noiseproof.experiment.reading import load_preset
from noiseproof.experiment.settings import Settings
from noiseproof.tasks.augmix import augmix
from noiseproof.tasks.outer_losses import OUTER_LOSSES, spectral_noise
from noiseproof.types import Batch
from noiseproof.zoo.loading import load_learned
from sheets import read

STARTS = ("spectral-fashion-mlp", "spectral-fashion-convnet", "spectral-cifar-convnet")
"""Thetas of `structured` whose mean is where `universal` starts."""

ON_ITS_TASK = "spectral-cifar-convnet-gpu"

SECONDS = {"throughput": 90, "universal": 240, "resnet": 170, "clean": 90, "augmix": 100}
"""Of each part, at most, save for the one under way."""

SPECTRAL = spectral_noise()


class Machine(NamedTuple):
    """Attributes: where records go; folders of sheets; whether all is tiny; threads that compile;
    seconds that are left, asked anew."""

    out: Path
    data: list[Path]
    small: bool
    threads: int
    seconds_left: Callable[[], float]


def dataset(machine: Machine, name: str) -> Dataset:
    """A data set of the sheets, or the digits; few images where all is tiny."""
    if name == "digits":
        return split(DATASETS["digits"](None))
    test_sheet = "cifar-10-test" if name == "cifar-10" else name
    train = read("cifar-10-train" if name == "cifar-10" else name, machine.data)
    test = read(test_sheet, machine.data)
    if machine.small:
        train, test = take(train, np.arange(800)), take(test, np.arange(64))
    return split(Source(name, Batch(*train), test, 10))


def throughput(machine: Machine, seconds: float) -> None:
    gpu_throughput.measure(
        machine.out / "throughput.json",
        num_pairs=2 if machine.small else 512,
        matrix_size=256 if machine.small else 8192,
        num_threads=machine.threads,
        seconds=600.0 if machine.small else seconds,
        names=() if machine.small else gpu_throughput.SHIPPED,
    )


def sized(whole: Dataset, task: Settings) -> Dataset:
    """A data set of the image size that a task wants."""
    side = task.data.image_size or whole.train.images.shape[1]
    parts = ("train", "outer", "select", "test")
    small = {
        part: Batch(shrink(getattr(whole, part).images, side), getattr(whole, part).labels)
        for part in parts
    }
    return whole._replace(**small)


def meta(machine: Machine, seconds: float, *, name: str, outer: str) -> None:
    settings = gpu_meta.Settings(seconds, num_threads=machine.threads)
    preset = load_preset("universal", [f"outer.kind={outer}"])
    tasks = [with_task(preset, task) for task in preset.tasks]
    if machine.small:
        small = ["inner.num_steps=40", "inner.batch_size=8", "pool.size=64"]
        small += ["tasks=[]", "meta.tasks_at_once=0"]
        short = load_preset("universal", small)
        tasks = [with_task(short, structs.replace(preset.tasks[0], inner={}))]
        settings = settings._replace(num_pairs=2, truncation=20, tasks_per_step=1, seconds=30.0)
    named = {f"{one.data.name} {index}": one for index, one in enumerate(tasks)}
    data = {name: sized(dataset(machine, one.data.name), one) for name, one in named.items()}
    words = OUTER_LOSSES[outer]().words
    gpu_meta.meta_train(
        named,
        data,
        mean_start(STARTS, "universal"),
        settings,
        machine.out / f"{name}_running",
        card(words, name),
    )
    for kind in (".safetensors", ".json", "-training.json"):
        (machine.out / f"{name}_running{kind}").rename(machine.out / f"{name}{kind}")


def card(words: str, name: str) -> dict[str, Any]:
    """What a reader of the weights should know."""
    return {
        "rule": "universal",
        "options": {},
        "preset": name,
        "seed": 0,
        "meta_trained_on": words,
        "started_from": f"the mean of {', '.join(STARTS)}",
        "device": f"1 × {jax.devices()[0].device_kind}",
        "packages": {"jax": jax.__version__, "numpy": np.__version__},
        "command": "python benchmarks/gpu.py",
        "license": "Apache-2.0",
        "results": {},
    }


def compare(machine: Machine, seconds: float, *, name: str, with_augmix: bool) -> None:
    settings = gpu_resnet.Settings(
        seconds=seconds, augmentation=with_augmix, num_threads=machine.threads
    )
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
    thetas = {ON_ITS_TASK: ("structured", load_learned(ON_ITS_TASK).theta)}
    made = machine.out / "universal.safetensors"
    if made.exists():
        thetas = {"universal": ("universal", load_learned(made).theta), **thetas}
    controls = {"universal before meta-training": ("universal", mean_start(STARTS, "universal"))}
    parts = dataset(machine, "cifar-10")
    # Nothing is selected here, so that those images are there to be trained on.
    whole = Batch(*map(np.concatenate, zip(parts.train, parts.select, strict=True)))
    running = machine.out / f"{name}_running.json"
    gpu_resnet.compare(
        parts._replace(train=whole),
        thetas,
        controls,
        SPECTRAL,
        settings,
        running,
        augmix=augmix() if with_augmix else None,
    )
    running.rename(machine.out / f"{name}.json")


PARTS: dict[str, Callable[[Machine, float], None]] = {
    "throughput": throughput,
    "universal": lambda machine, seconds: meta(
        machine, seconds, name="universal", outer="spectral"
    ),
    "resnet": lambda machine, seconds: compare(machine, seconds, name="resnet", with_augmix=False),
    "clean": partial(meta, name="clean", outer="clean"),
    "augmix": lambda machine, seconds: compare(machine, seconds, name="augmix", with_augmix=True),
}
"""By name, in the order in which they run; each makes `NAME.json`."""


def main() -> None:
    parser = argparse.ArgumentParser(description="What is measured where a GPU is at hand.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, action="append", required=True, help="of sheets")
    parser.add_argument("--parts", default=",".join(PARTS), help="comma-separated, in order")
    parser.add_argument("--minutes", type=float, default=9.0, help="no part begins after these")
    parser.add_argument("--seconds", default="", help="of parts, e.g. universal=200,resnet=150")
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
