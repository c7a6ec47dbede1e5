"""Kinds of tensors, as rules know them in every framework."""

KINDS = ("first", "hidden", "readout", "bias", "norm")
"""Those that have rates of their own, in the order of theta's rows."""

MATRICES = ("first", "hidden", "readout")
"""Those that have an orthogonalized direction."""

NEAREST_KIND = {
    "first": "first",  # meets the image
    "hidden": "hidden",
    "readout": "readout",  # yields the logits
    "depthwise": "hidden",  # a filter of one channel for each of many
    "pointwise": "hidden",  # a filter of one point
    "bias": "bias",  # is added, unit by unit
    "position": "bias",  # is added, place by place
    "token": "bias",  # stands beside what is made of the image: a class token, a learned query
    "embedding": "bias",  # is looked up
    "norm": "norm",  # multiplies, unit by unit: gains, layer scales, slopes
    "scalar": "norm",  # one number, such as a temperature
    "statistic": "statistic",  # of a norm over the batch: measured, not trained
}
"""All kinds of tensors, and the one that a rule may take each for that knows but five."""
