"""What corruptions do to one image, each a function with free constants."""
