"""Pages and parts of pages that are made from the code, so that they cannot say anything else."""

from pathlib import Path

ROOT = Path(__file__).parents[3]

# Pages by their path below docs/.
Pages = dict[str, str]
