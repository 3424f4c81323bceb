#!/usr/bin/env python3
"""Writes dashboards/*.json from overview.py, replication.py and node.py; style.py says how panels look.

usage: grafana/generate.py [--check]

With --check nothing is written, and it is an error if a file is not what would be written.
"""

import json
import pathlib
import sys

sys.dont_write_bytecode = True

import node  # noqa: E402
import overview  # noqa: E402
import replication  # noqa: E402

DIRECTORY = pathlib.Path(__file__).resolve().parent / "dashboards"
BOARDS = {"overview": overview, "replication": replication, "node": node}


def main(arguments):
    """The exit code."""
    if arguments not in ([], ["--check"]):
        raise SystemExit(__doc__)
    made = {
        f"{name}.json": json.dumps(module.board().json(), indent=2) + "\n" for name, module in BOARDS.items()
    }
    if arguments:
        found = {path.name: path.read_text() for path in DIRECTORY.glob("*.json")}
        differ = sorted(name for name in made.keys() | found.keys() if made.get(name) != found.get(name))
        for name in differ:
            print(f"grafana/dashboards/{name} is not what grafana/generate.py makes: run it", file=sys.stderr)
        return 1 if differ else 0
    DIRECTORY.mkdir(exist_ok=True)
    for name, text in made.items():
        (DIRECTORY / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
