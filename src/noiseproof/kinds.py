"""Kinds of tensors, as rules know them in every framework."""

import warnings

KINDS = ("first", "hidden", "readout", "bias", "norm")
"""Those that have rates of their own, in the order of theta's rows."""

MATRICES = ("first", "hidden", "readout")
"""Those that have an orthogonalized direction."""

UNITS = ("bias", "norm")
"""Those that have an entry for each unit of a layer, whatever their axes."""

NEAREST_KIND = {
    "first": "first",  # meets the image
    "hidden": "hidden",
    "readout": "readout",  # yields the logits
    "depthwise": "hidden",  # a filter of one channel for each of many
    "pointwise": "hidden",  # a filter of one point
    "attention": "hidden",  # yields queries, keys or values, or takes what was attended to
    "bias": "bias",  # is added, unit by unit
    "position": "bias",  # is added, place by place
    "token": "bias",  # stands beside what is made of the image: a class token, a learned query
    "embedding": "bias",  # is looked up
    "norm": "norm",  # multiplies, unit by unit: gains, layer scales, slopes
    "scalar": "norm",  # one number, such as a temperature
    "unknown": "norm",  # is used in a way that can not be followed, or not at all
    "statistic": "statistic",  # of a norm over the batch: measured, not trained
}
"""All kinds of tensors, and the one that a rule may take each for that knows but five."""


def nearest_kind(kind: str) -> str:
    """The kind that a rule may take a tensor for, with a notice that of gains if it knows none:
    steps of Adam's direction, and no decay by rivals."""
    if kind not in NEAREST_KIND:
        warnings.warn(
            f"Tensors of the kind {str(kind)[:60]!r} are taken for gains; known are"
            f" {', '.join(NEAREST_KIND)}.",
            stacklevel=2,
        )
    return NEAREST_KIND.get(kind, "norm")
