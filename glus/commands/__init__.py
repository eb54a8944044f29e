"""The commands of `glus`, one module each; heavy imports happen inside them, so `glus --help` is quick."""
