"""`python -m counterpoise` and the `counterpoise` command."""

from counterpoise.cli import main

if __name__ == "__main__":
    main()
