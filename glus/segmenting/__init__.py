"""`glus segment`: own videos and sentences in; masks, pictures and an overlay film out, frame after frame."""
