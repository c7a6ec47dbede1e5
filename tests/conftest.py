"""What all tests share: compiled programs, small files in the true formats, and one small run."""

import gzip
import io
import os
import re
import struct
import tarfile
import time
import tomllib
import zipfile
from pathlib import Path
from types import SimpleNamespace

import jax
import jaxtyping
import numpy as np
import pytest
import scipy.io

# Most of a test's time is compiling: programs are kept between tests, workers and sessions.
COMPILED = Path(__file__).parents[1] / ".pytest_cache" / "compiled"
CACHE = {
    "jax_compilation_cache_dir": str(COMPILED),
    "jax_persistent_cache_min_compile_time_secs": 0.1,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}
for option, value in CACHE.items():
    jax.config.update(option, value)
    os.environ[option.upper()] = str(value)  # for the processes that tests start

# Nothing is timed in a test, and unoptimized programs compile in a third of the time. XLA reads the
# flags when it first compiles.
FAST_COMPILING = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_use_fusion_emitters=false",
)
# One device, whichever test is first to begin JAX: a command makes several of the cores.
ONE_DEVICE = "--xla_force_host_platform_device_count=1"
os.environ["XLA_FLAGS"] = " ".join(
    [ONE_DEVICE, *os.environ.get("XLA_FLAGS", "").split(), *FAST_COMPILING]
)


THOROUGH = tomllib.loads(Path(__file__).with_name("thorough.toml").read_text("utf-8"))


SLOW = re.compile("|".join(pattern for patterns in THOROUGH.values() for pattern in patterns))


def pytest_itemcollected(item: pytest.Item) -> None:
    if SLOW.search(item.nodeid):
        item.add_marker(pytest.mark.slow)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file begins, of those that processes share; it makes the small run for others."""
    items.sort(key=lambda item: item.path.name != "test_run.py")


@pytest.fixture
def without_shape_checks():
    """Lets what beartype refuses reach the line that refuses it, and long runs be quick."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


TINY = {
    "inner.num_steps": 20,
    "window.loss_interval": 5,
    "pool.size": 64,
    "estimator.truncation": 10,
    "estimator.num_pairs": 2,
    "meta.num_outer_steps": 4,
    "meta.select_every": 2,
    "meta.num_select_runs": 2,
    "meta.checkpoint_every": 1,
    "tuning.rivals": ["adam", "adamw"],
    "tuning.matched_rivals": [],
    "tuning.num_trials": 3,
    "tuning.num_runs": 2,
    "tuning.num_finalists": 2,
    "tuning.num_final_runs": 2,
    "evaluation.num_seeds": 3,
    "conditions.strengths": [0.3, 0.5],
}
"""Settings that make a run as small as it can be."""


def random_images(num_images: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (num_images, *shape), dtype=np.uint8)


def cycled_labels(num_images: int, num_classes: int = 10) -> np.ndarray:
    return (np.arange(num_images) % num_classes).astype(np.uint8)


def idx_bytes(values: np.ndarray) -> bytes:
    """An array as the content of an IDX file."""
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return header + values.tobytes()


def idx_files(part: str, num_images: int, num_classes: int = 10) -> dict[str, bytes]:
    """Images and labels of one part in IDX files, images random, labels in turn."""
    labels = cycled_labels(num_images, num_classes)
    return {
        f"{part}-images-idx3-ubyte": idx_bytes(random_images(num_images, 28, 28, seed=num_images)),
        f"{part}-labels-idx1-ubyte": idx_bytes(labels),
    }


def write_mnist(folder: Path, *, num_train: int = 100, num_test: int = 20, gz: bool = True) -> None:
    """The four files of the MNIST family, images random, labels 0 to 9 in turn."""
    folder.mkdir(parents=True)
    for name, content in {**idx_files("train", num_train), **idx_files("t10k", num_test)}.items():
        path = folder / (f"{name}.gz" if gz else name)
        path.write_bytes(gzip.compress(content) if gz else content)


def write_emnist(path: Path, classes: dict[str, int]) -> None:
    """EMNIST's one archive, 14 training images a class and one to test; letters are from 1."""
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        for split, num_classes in classes.items():
            for part, per_class in (("train", 14), ("test", 1)):
                files = idx_files(f"emnist-{split}-{part}", per_class * num_classes, num_classes)
                if split == "letters":
                    labels = cycled_labels(per_class * num_classes, num_classes) + 1
                    files[f"emnist-{split}-{part}-labels-idx1-ubyte"] = idx_bytes(labels)
                for name, content in files.items():
                    archive.writestr(f"gzip/{name}.gz", gzip.compress(content, 1))


def write_svhn(folder: Path, *, num_train: int = 100, num_test: int = 20) -> None:
    """The two files of SVHN, images random, labels 1 to 10 in turn."""
    folder.mkdir(parents=True)
    for part, num_images in (("train", num_train), ("test", num_test)):
        arrays = {
            "X": random_images(num_images, 32, 32, 3, seed=num_images).transpose(1, 2, 3, 0),
            "y": cycled_labels(num_images)[:, None] + 1,
        }
        scipy.io.savemat(folder / f"{part}_32x32.mat", arrays, do_compression=True)


def cifar_files(num_images: int = 20) -> dict[str, bytes]:
    """The six files of CIFAR-10, images random, labels 0 to 9 in turn."""
    files = {}
    for seed, name in enumerate([f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]):
        pixels = random_images(num_images, 3072, seed=seed)
        records = np.concatenate([cycled_labels(num_images)[:, None], pixels], axis=1)
        files[f"{name}.bin"] = records.tobytes()
    return files


def cifar100_files(num_train: int = 1400, num_test: int = 100) -> dict[str, bytes]:
    """The two files of CIFAR-100, images random, classes 0 to 99 and 0 to 19 in turn."""
    files = {}
    for name, num_images in (("train.bin", num_train), ("test.bin", num_test)):
        labels = np.stack([cycled_labels(num_images, 20), cycled_labels(num_images, 100)], axis=1)
        pixels = random_images(num_images, 3072, seed=num_images)
        files[name] = np.concatenate([labels, pixels], axis=1).tobytes()
    return files


def write_tar(
    path: Path, files: dict[str, bytes], folder: str = "cifar-10-batches-bin", level: int = 9
) -> None:
    """The files in a gzip archive, in the folder that CIFAR-10's has."""
    with tarfile.open(path, "w:gz", compresslevel=level) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.fixture(scope="session")
def generate() -> SimpleNamespace:
    """The generators of this file, for tests that need broken variants."""
    return SimpleNamespace(
        random_images=random_images,
        cycled_labels=cycled_labels,
        idx_bytes=idx_bytes,
        write_mnist=write_mnist,
        cifar_files=cifar_files,
        cifar100_files=cifar100_files,
        write_emnist=write_emnist,
        write_svhn=write_svhn,
        write_tar=write_tar,
    )


@pytest.fixture(scope="session")
def small_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with all published data sets, most of 100 training and 20 test images."""
    folder = tmp_path_factory.mktemp("data")
    write_mnist(folder / "mnist")
    write_mnist(folder / "fashion-mnist", gz=False)
    write_tar(folder / "cifar-10-binary.tar.gz", cifar_files())
    files = cifar100_files()
    write_tar(folder / "cifar-100-binary.tar.gz", files, "cifar-100-binary", level=1)
    write_mnist(folder / "kmnist")
    from noiseproof.data.published import EMNIST_CLASSES  # not above, as below

    write_emnist(folder / "emnist" / "gzip.zip", EMNIST_CLASSES)
    write_svhn(folder / "svhn")
    return folder


@pytest.fixture(scope="session")
def tiny_settings() -> list[str]:
    return [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, tiny_settings: list[str]) -> Path:
    """The folder of a finished run on the digits, made by one process for all."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    claim = root / "tiny_run"
    folder, done = claim / "tiny", claim / "done"
    try:
        claim.mkdir()
    except FileExistsError:
        deadline = time.monotonic() + 600
        while not done.exists():
            assert time.monotonic() < deadline, "another process did not finish the small run"
            time.sleep(0.2)
        return folder
    from noiseproof import cli  # not above: shape checks must be on before the package is loaded

    words = ["run", "gaussian-digits-mlp", "--out", str(folder), *tiny_settings]
    assert cli.exit_code(words) == 0
    done.touch()
    return folder
