"""`glus app`: a web page where a visitor's video and sentences become masks, frame after frame."""
