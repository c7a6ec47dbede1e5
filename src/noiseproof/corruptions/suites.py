"""Which corruptions there are: names and constants.

Keys without a prefix: the 19 of CIFAR-10-C (D. Hendrycks and T. Dietterich, 2019, arXiv
1903.12261) with the constants of the original 32-pixel script, four geometric ones and three
occlusions. At other sizes, lengths that the script writes as shares of the image side scale with
the side, those that it writes in pixels stay in pixels. Keys with the prefix `mnist/`: the 15 of
MNIST-C (N. Mu and J. Gilmer, 2019, arXiv 1906.02337), whose released arrays have the severity of
`MNIST_C_SEVERITY`. Keys with the prefix `imagenet/`: the 19 of ImageNet-C with the constants of the
224-pixel script, for images of that kind. Tables of whole numbers are rounded between severities.
"""

from functools import partial

from noiseproof.corruptions.kernels import (
    blur,
    digital,
    geometric,
    glass,
    jpeg,
    noise,
    occlusion,
    photometric,
    weather,
)
from noiseproof.corruptions.kernels.edges import draw_edges
from noiseproof.corruptions.kernels.spatter import spatter
from noiseproof.corruptions.severity import NamedCorruption, graded

CIFAR_10_C: dict[str, NamedCorruption] = {
    "gaussian_noise": graded(noise.add_gaussian_noise, std=(0.04, 0.06, 0.08, 0.09, 0.10)),
    "shot_noise": graded(
        noise.add_shot_noise, differentiable=False, photons=(500.0, 250.0, 100.0, 75.0, 50.0)
    ),
    "impulse_noise": graded(noise.add_impulse_noise, share=(0.01, 0.02, 0.03, 0.05, 0.07)),
    "defocus_blur": graded(
        blur.blur_defocus,
        limited="radius",
        radius=(0.3, 0.4, 0.5, 1.0, 1.5),
        alias_sigma=(0.4, 0.5, 0.6, 0.2, 0.1),
    ),
    "glass_blur": graded(
        glass.blur_glass,
        limited="passes",
        sigma=(0.05, 0.25, 0.4, 0.25, 0.4),
        passes=(1, 1, 1, 2, 2),
    ),
    "motion_blur": graded(
        blur.blur_motion,
        limited="sigma",
        radius=(6, 6, 6, 8, 9),
        sigma=(1.0, 1.5, 2.0, 2.0, 2.5),
    ),
    "zoom_blur": graded(
        blur.blur_zoom, limited="num_zooms", num_zooms=(7, 12, 16, 21, 26), step=(0.01,) * 5
    ),
    "snow": graded(
        weather.snow,
        limited="sigma",
        mean=(0.1, 0.1, 0.15, 0.25, 0.3),
        std=(0.2, 0.2, 0.3, 0.3, 0.3),
        zoom=(1.0, 1.0, 1.75, 2.25, 1.25),
        threshold=(0.6, 0.5, 0.55, 0.6, 0.65),
        radius=(8, 10, 10, 12, 14),
        sigma=(3.0, 4.0, 4.0, 6.0, 12.0),
        mix=(0.95, 0.9, 0.9, 0.85, 0.8),
    ),
    "frost": graded(
        weather.frost, keep=(1.0, 1.0, 0.9, 0.85, 0.75), add=(0.2, 0.3, 0.4, 0.4, 0.45)
    ),
    "fog": graded(
        photometric.fog, density=(0.2, 0.5, 0.75, 1.0, 1.5), decay=(3.0, 3.0, 2.5, 2.0, 1.75)
    ),
    "brightness": graded(photometric.brighten, shift=(0.05, 0.1, 0.15, 0.2, 0.3)),
    "contrast": graded(photometric.lower_contrast, factor=(0.75, 0.5, 0.4, 0.3, 0.15)),
    "elastic_transform": graded(
        geometric.deform,
        limited="smoothness",
        strength=(0.0, 0.05, 0.08, 0.1, 0.1),
        smoothness=(0.0, 0.2, 0.06, 0.04, 0.03),
        affine=(0.08, 0.07, 0.06, 0.05, 0.03),
    ),
    "pixelate": graded(digital.pixelate, share=(0.95, 0.9, 0.85, 0.75, 0.65)),
    "jpeg_compression": graded(jpeg.compress_jpeg, quality=(80, 65, 58, 50, 40)),
    "speckle_noise": graded(noise.add_speckle_noise, std=(0.06, 0.1, 0.12, 0.16, 0.2)),
    "gaussian_blur": graded(blur.blur_gaussian, limited="sigma", sigma=(0.4, 0.6, 0.7, 0.8, 1.0)),
    "spatter": graded(
        spatter,
        limited="sigma",
        mean=(0.62, 0.65, 0.65, 0.65, 0.65),
        std=(0.1, 0.1, 0.3, 0.1, 0.1),
        sigma=(0.7, 0.8, 1.0, 0.7, 0.5),
        threshold=(0.7, 0.7, 0.69, 0.69, 0.68),
        strength=(0.5, 0.5, 0.5, 0.6, 0.6),
        mud=(0, 0, 0, 1, 1),
    ),
    "saturate": graded(
        photometric.saturate,
        color_only=True,
        factor=(0.3, 0.1, 1.5, 2.0, 2.5),
        shift=(0.0, 0.0, 0.0, 0.1, 0.2),
    ),
}
"""The standard 15 in the order of the benchmark, then the four of its validation set."""

GEOMETRIC: dict[str, NamedCorruption] = {
    "translate": graded(geometric.translate, share=tuple(s / 28 for s in (1, 2, 3, 4, 5))),
    "scale": graded(geometric.rescale, factor=(1 / 0.9, 1 / 0.8, 1 / 0.7, 1 / 0.6, 1 / 0.5)),
    "rotate": graded(geometric.rotate, radians=(0.2, 0.4, 0.6, 0.8, 1.0)),
    "shear": graded(geometric.shear, radians=(0.2, 0.4, 0.6, 0.8, 1.0)),
}
"""Those that the paper names, with the constants of MNIST-C."""

OCCLUSIONS: dict[str, NamedCorruption] = {
    "stripe": graded(occlusion.invert_stripes, share=(0.05, 0.1, 0.15, 0.2, 0.25)),
    "dotted_line": graded(
        occlusion.draw_dotted_lines, limited="num_lines", num_lines=(1.0, 2.0, 3.0, 4.0, 5.0)
    ),
    "zigzag": graded(
        occlusion.draw_zigzags, limited="num_lines", num_lines=(1.0, 2.0, 3.0, 4.0, 5.0)
    ),
}
"""Shapes of MNIST-C in five severities of this package's own."""

MNIST_C: dict[str, NamedCorruption] = {
    "mnist/shot_noise": graded(
        noise.add_shot_noise, differentiable=False, photons=(60.0, 25.0, 12.0, 5.0, 3.0)
    ),
    "mnist/impulse_noise": graded(noise.add_impulse_noise, share=(0.03, 0.06, 0.09, 0.17, 0.27)),
    "mnist/glass_blur": graded(
        glass.swap_glass,
        limited="sigma",
        sigma=(0.7, 0.9, 1.0, 1.1, 1.5),
        delta=(1, 2, 2, 3, 4),
        passes=(2, 1, 3, 2, 2),
    ),
    "mnist/motion_blur": graded(
        blur.blur_motion,
        limited="sigma",
        radius=(10, 15, 15, 15, 20),
        sigma=(3.0, 5.0, 8.0, 12.0, 15.0),
    ),
    "mnist/shear": GEOMETRIC["shear"],
    "mnist/scale": GEOMETRIC["scale"],
    "mnist/rotate": GEOMETRIC["rotate"],
    "mnist/brightness": graded(photometric.brighten, shift=(0.1, 0.2, 0.3, 0.4, 0.5)),
    "mnist/translate": GEOMETRIC["translate"],
    "mnist/stripe": graded(occlusion.invert_stripes, share=(0.25,) * 5),
    "mnist/fog": graded(
        partial(photometric.fog, num_levels=8),
        density=(1.5, 2.0, 2.5, 2.5, 3.0),
        decay=(2.0, 2.0, 1.7, 1.5, 1.4),
    ),
    "mnist/spatter": graded(
        spatter,
        limited="sigma",
        mean=(0.65, 0.65, 0.65, 0.65, 0.67),
        std=(0.3, 0.3, 0.3, 0.3, 0.4),
        sigma=(4.0, 3.0, 2.0, 1.0, 1.0),
        threshold=(0.69, 0.68, 0.68, 0.65, 0.65),
        strength=(0.6, 0.6, 0.5, 1.5, 1.5),
        mud=(1, 1, 1, 1, 1),
    ),
    "mnist/dotted_line": graded(
        occlusion.draw_dotted_lines, limited="num_lines", num_lines=(1.0,) * 5
    ),
    "mnist/zigzag": graded(occlusion.draw_zigzags, limited="num_lines", num_lines=(1.0,) * 5),
    "mnist/canny_edges": graded(draw_edges, differentiable=False),
}
"""The 15 of MNIST-C; those without severities are the same at each."""

MNIST_C_SEVERITY: dict[str, int] = {
    "mnist/shot_noise": 5,
    "mnist/impulse_noise": 4,
    "mnist/glass_blur": 1,
    "mnist/motion_blur": 1,
    "mnist/shear": 2,
    "mnist/scale": 3,
    "mnist/rotate": 2,
    "mnist/brightness": 5,
    "mnist/translate": 3,
    "mnist/stripe": 1,
    "mnist/fog": 5,
    "mnist/spatter": 4,
    "mnist/dotted_line": 1,
    "mnist/zigzag": 1,
    "mnist/canny_edges": 1,
}
"""The one severity of each that the released MNIST-C has."""

IMAGENET_C: dict[str, NamedCorruption] = {
    "imagenet/gaussian_noise": graded(noise.add_gaussian_noise, std=(0.08, 0.12, 0.18, 0.26, 0.38)),
    "imagenet/shot_noise": MNIST_C["mnist/shot_noise"],
    "imagenet/impulse_noise": MNIST_C["mnist/impulse_noise"],
    "imagenet/defocus_blur": graded(
        blur.blur_defocus,
        limited="radius",
        radius=(3.0, 4.0, 6.0, 8.0, 10.0),
        alias_sigma=(0.1, 0.5, 0.5, 0.5, 0.5),
        # Disks of 8 and 10 pixels fill their frame, whose border is mirrored as they are softened.
        gain=(1.0, 1.0, 1.0, 1.0130, 1.0108),
    ),
    "imagenet/glass_blur": graded(
        glass.blur_glass,
        limited="passes",
        sigma=(0.7, 0.9, 1.0, 1.1, 1.5),
        delta=(1, 2, 2, 3, 4),
        passes=(2, 1, 3, 2, 2),
    ),
    "imagenet/motion_blur": MNIST_C["mnist/motion_blur"],
    "imagenet/zoom_blur": graded(
        blur.blur_zoom,
        limited="num_zooms",
        num_zooms=(12, 16, 11, 13, 11),
        step=(0.01, 0.01, 0.02, 0.02, 0.03),
    ),
    "imagenet/snow": graded(
        weather.snow,
        limited="sigma",
        mean=(0.1, 0.2, 0.55, 0.55, 0.55),
        std=(0.3, 0.3, 0.3, 0.3, 0.3),
        zoom=(3.0, 2.0, 4.0, 4.5, 2.5),
        threshold=(0.5, 0.5, 0.9, 0.85, 0.85),
        radius=(10, 12, 12, 12, 12),
        sigma=(4.0, 4.0, 8.0, 8.0, 12.0),
        mix=(0.8, 0.7, 0.7, 0.65, 0.55),
    ),
    "imagenet/frost": graded(
        weather.frost,
        keep=(1.0, 0.8, 0.7, 0.65, 0.6),
        add=(0.4, 0.6, 0.7, 0.7, 0.75),
        # Photographs that are not shrunk are smoother: measured on all five.
        steeper=(0.8,) * 5,
    ),
    "imagenet/fog": graded(
        photometric.fog, density=(1.5, 2.0, 2.5, 2.5, 3.0), decay=(2.0, 2.0, 1.7, 1.5, 1.4)
    ),
    "imagenet/brightness": MNIST_C["mnist/brightness"],
    "imagenet/contrast": graded(photometric.lower_contrast, factor=(0.4, 0.3, 0.2, 0.1, 0.05)),
    "imagenet/elastic_transform": graded(
        geometric.deform,
        limited="smoothness",
        # The script takes shares of 244, which should have been 224.
        strength=tuple(x * 244 / 224 for x in (2, 2, 0.05, 0.07, 0.12)),
        smoothness=tuple(x * 244 / 224 for x in (0.7, 0.08, 0.01, 0.01, 0.01)),
        affine=tuple(x * 244 / 224 for x in (0.1, 0.2, 0.02, 0.02, 0.02)),
    ),
    "imagenet/pixelate": graded(digital.pixelate, share=(0.6, 0.5, 0.4, 0.3, 0.25)),
    "imagenet/jpeg_compression": graded(jpeg.compress_jpeg, quality=(25, 18, 15, 10, 7)),
    "imagenet/speckle_noise": graded(noise.add_speckle_noise, std=(0.15, 0.2, 0.35, 0.45, 0.6)),
    "imagenet/gaussian_blur": graded(
        blur.blur_gaussian, limited="sigma", sigma=(1.0, 2.0, 3.0, 4.0, 6.0)
    ),
    "imagenet/spatter": graded(
        spatter,
        limited="sigma",
        mean=(0.65, 0.65, 0.65, 0.65, 0.67),
        std=(0.3, 0.3, 0.3, 0.3, 0.4),
        sigma=(4.0, 3.0, 2.0, 1.0, 1.0),
        threshold=(0.69, 0.68, 0.68, 0.65, 0.65),
        strength=(0.6, 0.6, 0.5, 1.5, 1.5),
        mud=(0, 0, 0, 1, 1),
    ),
    "imagenet/saturate": graded(
        photometric.saturate,
        color_only=True,
        factor=(0.3, 0.1, 2.0, 5.0, 20.0),
        shift=(0.0, 0.0, 0.0, 0.1, 0.2),
    ),
}
"""The 19 of ImageNet-C, whose script is for 224 pixels; milder ones are enough for small images."""

CORRUPTIONS: dict[str, NamedCorruption] = {
    **CIFAR_10_C,
    **GEOMETRIC,
    **OCCLUSIONS,
    **MNIST_C,
    **IMAGENET_C,
}
"""All by name, each called as `(image, severity, key) -> image`."""
