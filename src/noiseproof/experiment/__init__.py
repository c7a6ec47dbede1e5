"""An experiment as one value: settings are read once, components come out, folders are kept."""
