"""`python -m glus`."""

from glus.execution.ties import tie_to_parent

tie_to_parent()  # before the imports, which take a while: dvc may be killed meanwhile

from glus.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
