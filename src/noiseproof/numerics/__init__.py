"""What changes of images are made of: random numbers and fields, filters, warps, levels."""
