"""Defaults that the command line shows; light, so that `--help` answers at once."""

# Where the page is.
PORT = 6106
# Seconds between two looks at the files.
EVERY_SECONDS = 1.0
# Without a new step (or line) for so long, and much longer than usual, a training is called stale.
STALE_SECONDS = 60.0
