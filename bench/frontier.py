"""After the mask, smaller models, and truths: the quality tables of the newer methods; --full runs them as shipped."""

import argparse

from _studies import tell, tell_costs

STUDIES = (
    "prune-repairs",
    "prune-smaller",
    "mask-truth",
    "dictionary-truth",
    "merge-stories",
    "rebasin-stories",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="run the studies; without it they are only named")
    if not parser.parse_args().full:
        print(f"quality tables, no speeds: {', '.join(STUDIES)} run with --full")
        return
    for study in STUDIES:
        tell(study, first=100)
        tell_costs(study)


if __name__ == "__main__":
    main()
