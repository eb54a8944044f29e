"""`glus replay`: a run made again from its passport, in a fresh copy of its commit, and compared."""
