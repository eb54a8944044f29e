"""What a model reads: tokenizer, conversations, transforms, frames."""
