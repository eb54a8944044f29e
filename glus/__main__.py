"""`python -m glus`."""

from glus.cli import main

if __name__ == "__main__":
    main()
