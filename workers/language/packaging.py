"""The child process that writes or reads whole models: `python -m workers.language.packaging JSON`.

One JSON object as its argument, lines of JSON on standard output as in workers/iteration.py.
"""

import json
import sys
import traceback
from pathlib import Path
from typing import Any

from app import child_processes


def work(asked: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked: `merge` a policy or `reward` model into a directory, or `adopt` what lies in one.

    Raises ValueError with a sentence.
    """
    directory = Path(asked["directory"])
    if asked["do"] == "adopt":
        from workers.language import adopted

        return adopted.adopt(asked["base_model"], directory, asked["output"], asked["card"])
    where = asked["base_model"], asked["url"], asked["sha256"]
    if asked["do"] == "reward":
        from workers.reward import export

        export.export_checkpoint(*where, directory)
    else:
        from workers.language import merged

        merged.export_checkpoint(*where, directory)
    return {}


def main() -> int:
    """Work, and say how it ended."""
    child_processes.end_when_orphaned()
    try:
        found: dict[str, Any] = {"type": "result", "result": work(json.loads(sys.argv[1]))}
        status = 0
    except Exception as error:
        traceback.print_exc()
        found, status = {"type": "error", "message": str(error) or f"It failed with {type(error).__name__}."}, 1
    sys.stdout.write(json.dumps(found) + "\n")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
