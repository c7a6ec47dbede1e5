"""What each tensor of a classifier is: roles, read from its forward pass or from its names."""
