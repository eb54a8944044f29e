"""One's own labelled videos: read from what annotation tools export, written in the layout that is staged, reviewed."""
