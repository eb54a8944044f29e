"""What a video, an expression and a mask track are on disk."""
