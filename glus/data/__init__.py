"""Records to samples to batches: frames, prompts, sampling, transforms."""
