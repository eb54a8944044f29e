"""GLUS: referring video object segmentation with one multimodal language model."""
