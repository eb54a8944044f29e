"""One thin module per step, and what runs them."""
