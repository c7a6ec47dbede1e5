"""Inner problems: a classifier, its data and the loss that judges it."""
