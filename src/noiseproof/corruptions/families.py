"""Which corruptions belong together, and which are meta-trained on while others are held out.

A learned optimizer that was meta-trained on one kind of noise is no evidence about unseen
corruptions when it is tested on another kind of noise. The families are therefore fixed here, and
a split keeps every family whole on one side unless it is asked not to.
"""

from typing import NamedTuple

from noiseproof.corruptions.suites import CIFAR_10_C, CORRUPTIONS

FAMILIES: dict[str, tuple[str, ...]] = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"),
    "blur": ("gaussian_blur", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "photometric": ("brightness", "contrast", "saturate", "fog"),
    "weather": ("snow", "frost", "spatter"),
    "digital": ("pixelate", "jpeg_compression"),
    "geometric": ("elastic_transform", "translate", "scale", "rotate", "shear"),
    "occlusion": ("stripe", "dotted_line", "zigzag"),
}
"""The families. Every count over corruptions is over this list."""

FAMILY_OF: dict[str, str] = {name: family for family, names in FAMILIES.items() for name in names}
"""The family of each corruption."""

STANDARD_15: tuple[str, ...] = tuple(CIFAR_10_C)[:15]
"""What mean corruption error on CIFAR-10-C is the mean over."""

VALIDATION_4: tuple[str, ...] = tuple(CIFAR_10_C)[15:]
"""What CIFAR-10-C offers for tuning."""


class Split(NamedTuple):
    """Corruptions to meta-train and tune on, and those that only the evaluation sees."""

    meta_train: tuple[str, ...]
    held_out: tuple[str, ...]


def hold_out_families(*families: str) -> Split:
    """Holds whole families out and meta-trains on all others.

    Raises:
        ValueError: A family is unknown, or none is left to meta-train on.
    """
    for family in families:
        if family not in FAMILIES:
            raise ValueError(f"family {family!r} is unknown; known: {', '.join(FAMILIES)}.")
    held_out = tuple(name for name, family in FAMILY_OF.items() if family in families)
    meta_train = tuple(name for name, family in FAMILY_OF.items() if family not in families)
    return split(meta_train, held_out)


def split(
    meta_train: tuple[str, ...], held_out: tuple[str, ...], *, share_families: bool = False
) -> Split:
    """A split of one's own.

    Args:
        meta_train: Names of `FAMILY_OF`.
        held_out: Others of them.
        share_families: Whether one family may be on both sides.

    Raises:
        ValueError: A side is empty, a name has no family, or a family is on both sides unasked.
    """
    for side, names in (("meta_train", meta_train), ("held_out", held_out)):
        if not names:
            raise ValueError(f"{side} must name at least one corruption, got none.")
        for name in names:
            if name not in FAMILY_OF:
                raise ValueError(f"{side} must name corruptions of a family, got {name!r}.")
    both = set(meta_train) & set(held_out)
    if both:
        raise ValueError(f"a corruption must be on one side, got {', '.join(sorted(both))} twice.")
    shared = {FAMILY_OF[name] for name in meta_train} & {FAMILY_OF[name] for name in held_out}
    if shared and not share_families:
        raise ValueError(f"a family must be on one side, got {', '.join(sorted(shared))} on both.")
    return Split(tuple(meta_train), tuple(held_out))


def for_channels(names: tuple[str, ...], num_channels: int) -> tuple[str, ...]:
    """The names that make sense on images of so many channels: all on color, most on grey."""
    return tuple(n for n in names if num_channels == 3 or not CORRUPTIONS[n].color_only)


SPLITS: dict[str, Split] = {
    **{f"without_{family}": hold_out_families(family) for family in FAMILIES},
    "fold_1": hold_out_families("noise", "blur"),
    "fold_2": hold_out_families("photometric", "weather"),
    "fold_3": hold_out_families("geometric", "occlusion", "digital"),
    "standard": split(VALIDATION_4, STANDARD_15, share_families=True),
}
"""The named splits: one family held out, three folds that hold each corruption out once, and the
benchmark's own, whose validation set is kin to its test set."""
