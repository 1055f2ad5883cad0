"""Run every benchmark in this folder and print its tables: `make bench` (minutes) or `make bench-full` (hours)."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only these files, without .py")
    parser.add_argument(
        "--full", action="store_true", help="published step counts and quality tables: hours, resumes"
    )
    arguments = parser.parse_args()
    files = sorted(p for p in HERE.glob("*.py") if p.name != "run.py" and not p.name.startswith("_"))
    worst = 0
    for path in files:
        if arguments.names and path.stem not in arguments.names:
            continue
        print(f"\n# {path.stem}\n", flush=True)
        words = [sys.executable, str(path), *(["--full"] if arguments.full else [])]
        worst = max(worst, subprocess.run(words, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
