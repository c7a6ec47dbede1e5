"""Images per second of every corruption, on one core and on all.

    python benchmarks/corruptions.py --json results/corruptions/speed.json

Batches of 1,000 images of 32x32x3 at severity 3 (static), after compiling, which is timed apart;
best and median of several batches. Each setting runs in a process of its own that is tied to its
cores before JAX starts. The figure of merit is the harmonic mean over the standard 15: the rate at
which a whole CIFAR-10-C is made.

Where `imagecorruptions` is installed (the extra `benchmarks`), it is timed in the same run, on one
core, image by image; where it is not, the last line says so. With NumPy 2 and scikit-image 0.26
its version 1.1.2 fails on fog, glass blur and Gaussian blur; the ratio is over those that run.
"""

import importlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

NUM_IMAGES = 1_000
SEVERITY = 3


def measure(repeats: int) -> dict[str, Any]:
    """Rates of all corruptions on the cores of this process."""
    import jax
    import numpy as np

    from noiseproof.corruptions import CORRUPTIONS

    images = np.random.default_rng(0).random((NUM_IMAGES, 32, 32, 3), np.float32)
    keys = jax.random.split(jax.random.key(0), NUM_IMAGES)
    rows = {}
    for name, corruption in CORRUPTIONS.items():
        apply = partial(at_benchmark_severity, corruption)
        arguments = (jax.device_put(images), keys)
        start = time.perf_counter()
        compiled = jax.jit(jax.vmap(apply)).lower(*arguments).compile()
        compile_seconds = time.perf_counter() - start
        run = partial(wait_for, compiled)
        seconds = timed(run, repeats, *arguments)
        rows[name] = {**rates(seconds, NUM_IMAGES), "compile_seconds": round(compile_seconds, 2)}
    return rows


def measure_imagecorruptions(repeats: int) -> dict[str, Any] | str:
    """Rates of what still works in the NumPy library, or why there are none."""
    import numpy as np

    try:
        library = importlib.import_module("imagecorruptions")
    except Exception as error:  # an old library fails in many ways
        return f"{type(error).__name__}: {error}"
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    rows = {}
    for name in library.get_corruption_names("all"):
        try:
            seconds = timed(
                corrupt_each, repeats, partial(library.corrupt, corruption_name=name), images
            )
        except Exception as error:
            rows[name] = {"error": f"{type(error).__name__}: {error}"[:200]}
            continue
        rows[name] = rates(seconds, len(images))
    return rows if any("median" in row for row in rows.values()) else f"all fail: {rows}"


def at_benchmark_severity(corruption: Callable[..., Any], image: Any, key: Any) -> Any:
    return corruption(image, SEVERITY, key)


def wait_for(compiled: Callable[..., Any], *arguments: Any) -> None:
    compiled(*arguments).block_until_ready()


def corrupt_each(corrupt: Callable[..., Any], images: Any) -> None:
    for image in images:
        corrupt(image, SEVERITY)


def timed(run: Callable[..., Any], repeats: int, *arguments: Any) -> list[float]:
    """Seconds of several runs after a first one, sorted."""
    run(*arguments)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run(*arguments)
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)


def rates(seconds: list[float], num_images: int) -> dict[str, float]:
    median = seconds[len(seconds) // 2]
    return {"best": round(num_images / seconds[0]), "median": round(num_images / median)}


def in_process(what: str, cores: int, repeats: int) -> Any:
    """Runs a measurement in a new process that is tied to so many cores."""
    command = [sys.executable, __file__, "--worker", what, "--cores", str(cores)]
    command += ["--repeats", str(repeats)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def work(what: str, cores: int, repeats: int) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cores:])
    measurements = {"noiseproof": measure, "imagecorruptions": measure_imagecorruptions}
    print(json.dumps(measurements[what](repeats)))


def summary(rows: dict[str, Any]) -> dict[str, Any]:
    from noiseproof.corruptions.families import STANDARD_15

    median = {name: row["median"] for name, row in rows.items() if "median" in row}
    covered = [name for name in STANDARD_15 if name in median]
    return {
        "harmonic_mean_15": harmonic_mean(median, covered),
        "covered_of_15": len(covered),
        "slowest": min(median, key=lambda name: median[name]),
        "images_per_second": median,
        "best_images_per_second": {n: row["best"] for n, row in rows.items() if "best" in row},
        "compile_seconds": {
            n: row["compile_seconds"] for n, row in rows.items() if "compile_seconds" in row
        },
        "errors": {name: row["error"] for name, row in rows.items() if "error" in row},
    }


def harmonic_mean(per_second: dict[str, int], names: list[str]) -> int:
    return round(len(names) / sum(1 / per_second[name] for name in names))


def compared(one: dict[str, Any], rows: dict[str, Any] | str) -> dict[str, Any]:
    """The other library's rates, and ours over those that run in it, with the same constants."""
    if isinstance(rows, str):
        return {"skipped": rows}
    other, ours = summary(rows), one["images_per_second"]
    names = [name for name in other["images_per_second"] if f"imagenet/{name}" in ours]
    mine = harmonic_mean({name: ours[f"imagenet/{name}"] for name in names}, names)
    theirs = harmonic_mean(other["images_per_second"], names)
    both = {"compared": len(names), "noiseproof": mine, "imagecorruptions": theirs}
    return {**other, "same_constants": {**both, "ratio": round(mine / theirs, 1)}}


def hardware() -> dict[str, Any]:
    import jax

    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":")[1].strip() if names else model
    return {"cpu": model, "python": platform.python_version(), "jax": jax.__version__}


def main(
    json_file: Annotated[Path | None, typer.Option("--json", help="Where the record goes.")] = None,
    repeats: Annotated[int, typer.Option(help="Batches to time.")] = 9,
    worker: Annotated[str, typer.Option(hidden=True)] = "",
    cores: Annotated[int, typer.Option(hidden=True)] = 1,
) -> None:
    """Prints the table; writes the record where asked."""
    if worker:
        return work(worker, cores, repeats)
    num_cores = len(os.sched_getaffinity(0))
    one = summary(in_process("noiseproof", 1, repeats))
    every = summary(in_process("noiseproof", num_cores, repeats))
    other = compared(one, in_process("imagecorruptions", 1, repeats))
    record = {
        "harmonic_mean_15": one["harmonic_mean_15"],
        "images_per_second": one["images_per_second"],
        "cores": 1,
        "one_core": one,
        "all_cores": {"cores": num_cores, **every},
        "imagecorruptions": other,
        "batch": NUM_IMAGES,
        "shape": [32, 32, 3],
        "severity": SEVERITY,
        "repeats": repeats,
        "hardware": hardware(),
    }
    show(record)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(record, indent=1) + "\n")


def show(record: dict[str, Any]) -> None:
    one, every = record["one_core"], record["all_cores"]
    other = record["imagecorruptions"]
    header = f"{'images/s':28}{'1 core':>10}{'best':>10}{every['cores']:>4} cores"
    typer.echo(header + f"{'compile s':>11}")
    for name, rate in one["images_per_second"].items():
        typer.echo(
            f"{name:28}{rate:>10,}{one['best_images_per_second'][name]:>10,}"
            f"{every['images_per_second'][name]:>10,}{one['compile_seconds'][name]:>11.2f}"
        )
    typer.echo(
        f"harmonic mean of 15: {one['harmonic_mean_15']:,} on one core (slowest {one['slowest']}), "
        f"{every['harmonic_mean_15']:,} on {every['cores']}; {record['hardware']}"
    )
    if "skipped" in other:
        return typer.echo(f"imagecorruptions was not timed: {other['skipped']}")
    same = other["same_constants"]
    typer.echo(
        f"imagecorruptions, one core: {other['images_per_second']}\nfails: {other['errors']}\n"
        f"harmonic mean of the {same['compared']} that run: {same['imagecorruptions']:,}; here "
        f"with the same constants {same['noiseproof']:,}: {same['ratio']} times"
    )


if __name__ == "__main__":
    typer.run(main)
