"""Makes a generator's weights into those that come with the package: float16, with what they are.

python benchmarks/pack_weights.py runs/flagship/pt --trained "..." --licence "..."
"""

import argparse
from pathlib import Path

from counterpoise.models.weights import SHIPPED, load_generator, save_generator


def main() -> None:
    """Convert."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, help="a weight file, or the folder of a run")
    parser.add_argument("--trained", required=True, help="on what, and how long")
    parser.add_argument("--licence", required=True)
    given = parser.parse_args()
    generator = load_generator(given.weights).generator.half()
    SHIPPED.parent.mkdir(exist_ok=True)
    save_generator(SHIPPED, generator, {"trained": given.trained, "licence": given.licence})
    print(f"{SHIPPED}: {SHIPPED.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
