"""A reader for each form of labels: a file or a folder in, labelled videos out."""
