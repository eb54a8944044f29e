"""The seven steps, one thin module each."""
