"""Meta-training: gradient estimators and the outer loop."""
