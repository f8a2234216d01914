"""A training as it goes, from its files.

These defaults are here so that `--help` answers at once.
"""

# Where the page is.
PORT = 6106
# Seconds between two looks at the files.
EVERY_SECONDS = 1.0
