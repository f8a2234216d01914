"""A training as it goes, from its files."""

# Where the page is; here so that `--help` answers at once.
PORT = 6106
