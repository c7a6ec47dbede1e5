"""What a learned optimizer learned, what it does, and what its classifiers respond to."""
