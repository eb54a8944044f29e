"""What a run needs, before it: memory, time, disk, and what is not there yet."""
