"""Runs every measurement, or those named: `python -m bench`, `python -m bench first_loop`. Prints one table."""

import importlib
import platform
import sys
from datetime import UTC, datetime

from bench.figures import Figure, table

CLAIMS = (
    "claim",
    "labels",
    "next_pair",
    "lists",
    "imports",
    "exports",
    "live_head",
    "first_loop",
    "sampling",
    "reward_speed",
    "ppo_speed",
    "engine",
)
"""Modules of this package; each has `measure() -> list[Figure]`."""


def main() -> None:
    wanted = sys.argv[1:] or CLAIMS
    unknown = sorted(set(wanted) - set(CLAIMS))
    if unknown:
        sys.exit(f"There is no measurement {unknown[0]!r}. There are: {', '.join(CLAIMS)}.")
    found: list[Figure] = []
    for name in wanted:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        found += importlib.import_module(f"bench.{name}").measure()
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.machine()}, Python {platform.python_version()}\n")
    print(table(found))


main()
