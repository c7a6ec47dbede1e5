"""What a terminal shows and takes: options, progress, and what went wrong, in a line."""
