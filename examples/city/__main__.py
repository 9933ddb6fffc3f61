"""`python -m examples.city --out DIR [--seed N] [--scale F]`: write the synthetic city."""

from __future__ import annotations

import argparse
from pathlib import Path

from examples.city.city import SEED, make_city


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.city", description="Write a synthetic city's extracts.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to; must be empty or absent")
    parser.add_argument("--seed", type=int, default=SEED, help=f"same seed, same bytes (default {SEED})")
    parser.add_argument("--scale", type=float, default=1.0, help="1.0 is about 3,000 people and 800 companies")
    arguments = parser.parse_args()
    try:
        made = make_city(arguments.out, seed=arguments.seed, scale=arguments.scale)
    except (FileExistsError, ValueError) as error:
        parser.error(str(error))
    print(
        f"{arguments.out}: {made.waves} waves, {made.drops} drops, {made.rows:,} data rows, {made.faults:,} faults; "
        f"{made.people:,} people, {made.entities:,} entities, {made.licences:,} licences. All synthetic."
    )


if __name__ == "__main__":
    main()
