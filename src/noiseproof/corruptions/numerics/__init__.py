"""What kernels are made of: random numbers and fields, filters, warps, the levels of a file."""
