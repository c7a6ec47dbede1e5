"""Draws the gallery: every corruption at five severities, in color and grey, a picture a family.

    python docs/draw_gallery.py --data-dir data

It needs CIFAR-10 and Fashion-MNIST in the data folder, and writes `docs/images/gallery-*.png` and
`docs/gallery.md`.
"""

from pathlib import Path
from typing import Annotated

import typer
from PIL import Image as Picture

from noiseproof.commands.preview import draw_sheet, severities
from noiseproof.corruptions.families import FAMILIES, for_channels
from noiseproof.corruptions.keys import as_key
from noiseproof.data import load_dataset

DOCS = Path(__file__).parent

SHOWN = {"color": ("cifar-10", 1), "grey": ("fashion-mnist", 0)}
"""The data set and the number of the test image."""

NUM_COLORS = 128
"""Of a picture, so that it is small."""

SOURCES = {
    "noise": "CIFAR-10-C (Hendrycks and Dietterich, 2019, arXiv 1903.12261)",
    "blur": "CIFAR-10-C",
    "photometric": "CIFAR-10-C",
    "weather": "CIFAR-10-C; frost is procedural",
    "digital": "CIFAR-10-C",
    "geometric": "elastic transform is of CIFAR-10-C, the others of MNIST-C (Mu and Gilmer, 2019, "
    "arXiv 1906.02337)",
    "occlusion": "MNIST-C, in five severities of this package",
}


def page() -> str:
    """The page, from the families alone."""
    lines = [
        "# Gallery",
        "",
        "All corruptions of the tests: the clean image on the left, then severities 1 to 5. The",
        "color image is of CIFAR-10 at 32×32, the grey one of Fashion-MNIST at 28×28. All draws",
        "are of seed 0. [Corruptions](corruptions.md) says what each is and how close to the",
        "originals.",
        "",
        "README and results count 19 of them: not the noises, since theta saw other noise, nor",
        "`gaussian_blur`, `saturate` and `spatter`, on which rules were developed.",
        "",
        "`python docs/draw_gallery.py --data-dir data` draws this page.",
        "`noiseproof preview DATASET --out sheet.png` draws the same of your own images.",
    ]
    for family, names in FAMILIES.items():
        listed = ", ".join(f"`{name}`" for name in names)
        lines += ["", f"## {family}", "", f"{listed}. Source: {SOURCES[family]}.", ""]
        for look in SHOWN:
            lines.append(f"![{family}, {look}](images/gallery-{family}-{look}.png)")
    return "\n".join(lines) + "\n"


def main(data_dir: Annotated[Path, typer.Option(envvar="NOISEPROOF_DATA")]) -> None:
    """Draws all pictures and writes the page."""
    for look, (dataset, image) in SHOWN.items():
        images = load_dataset(dataset, data_dir=data_dir).test.images
        for family, names in FAMILIES.items():
            fitting = for_channels(names, images.shape[-1])
            rows = [severities(images, name, image, as_key(0)) for name in fitting]
            small = draw_sheet(fitting, rows).quantize(
                NUM_COLORS if look == "color" else NUM_COLORS // 4, dither=Picture.Dither.NONE
            )
            small.save(DOCS / "images" / f"gallery-{family}-{look}.png", optimize=True)
    (DOCS / "gallery.md").write_text(page(), "utf-8")


if __name__ == "__main__":
    typer.run(main)
