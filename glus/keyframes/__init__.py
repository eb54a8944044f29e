"""Where tracks begin: sources of key frames, and files that name them."""
