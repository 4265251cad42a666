"""Training loops: optimizer, schedule, checkpoints, run directories."""
