"""One reader for each dataset's published layout."""
