"""Every format of checkpoints, in and out."""
