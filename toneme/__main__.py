"""`python -m toneme` is the command `codec`, for where the folder of scripts is not on the path."""

from toneme.cli import main

if __name__ == "__main__":
    main()
