"""The protocol: tuning of rivals, paired comparison, statistics, metrics."""
