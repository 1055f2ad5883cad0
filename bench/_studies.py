"""Studies as shipped, run to their end or taken from an earlier call: what `--full` adds to a table of speeds."""

import resource
import statistics
import subprocess
import sys
from pathlib import Path

from digsite.base import jsonl
from digsite.record.listing import runs_in
from digsite.record.results import Results, read_results

RUNS = Path("runs") / "bench"


def children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def shipped(study: str, *settings: str) -> Results | None:
    """A sweep of one run is resumed where it was stopped, and not run again when it has finished."""
    words = ["sweep", study, "seed=0", *settings, "--on", "local:1", "--runs", str(RUNS)]
    code = subprocess.run([sys.executable, "-m", "digsite", *words], stdout=subprocess.DEVNULL).returncode
    found = [run for run in runs_in(RUNS) if run.path.parent.name == study]
    results = read_results(found[0].results) if found and not code else None
    if results is None:
        print(f"{study}: did not finish (exit code {code})\n", flush=True)
    return results


def tell(study: str, *settings: str, first: int = 8) -> None:
    """The verdict, the claims that come first, and what this call cost."""
    began = children_cpu()
    results = shipped(study, *settings)
    if results is None:
        return
    print(f"{study}: {results.verdict}")
    for claim in results.claims[:first]:
        value, null = (f"{x:.4g}" if x is not None else "" for x in (claim.value, claim.null))
        interval = "" if claim.low is None else f"{claim.low:.4g} to {claim.high:.4g}"
        print(f"  {claim.name:<40} {value:>9}  {interval:<20}null {null:<9}{claim.note}")
    print(f"  {children_cpu() - began:.0f} CPU seconds in this call\n", flush=True)


def tell_costs(study: str) -> None:
    """What stands beside the clock and not among the claims: medians over draws of everything that a part took, by part."""
    for run in [run for run in runs_in(RUNS) if run.path.parent.name == study][:1]:
        parts: dict[str, list[dict]] = {}
        for line in jsonl.read_records(run.clock):
            if "cost" in line:
                parts.setdefault(line["cost"].rpartition("/")[0], []).append(line)
        for part, lines in parts.items():
            numbers = {
                key: [line[key] for line in lines] for key, x in lines[0].items() if isinstance(x, float)
            }
            shown = (
                f"{key} {statistics.median(x):.2f} ({min(x):.2f} to {max(x):.2f})"
                for key, x in numbers.items()
                if any(x)
            )
            print(f"  {part:<40} {', '.join(shown)}")
