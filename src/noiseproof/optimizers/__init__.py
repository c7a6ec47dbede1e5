"""What trains a classifier: learned rules and hand-designed rivals."""
