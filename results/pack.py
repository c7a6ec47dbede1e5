"""Makes folders of runs ready to be committed: what can be made again goes, curves are thinned.

    python results/pack.py results/spectral-fashion-mlp/seed-0

Deleted are `summary.json` and `report.html`, which `noiseproof report` makes again. Of every
`metrics.jsonl`, those of controls included, one line in 25 stays, the first, the last, and all that
measured theta on the `select` split.
"""

import sys
from pathlib import Path

EVERY = 25


def thin(path: Path) -> None:
    """Keeps one line in `EVERY` and those that say more."""
    lines = path.read_text("utf-8").splitlines(keepends=True)
    kept = [
        line
        for number, line in enumerate(lines, 1)
        if number in (1, len(lines)) or number % EVERY == 0 or '"select_loss":null' not in line
    ]
    path.write_text("".join(kept), "utf-8")


def main(folders: list[Path]) -> None:
    """Packs every folder."""
    for folder in folders:
        for name in ("summary.json", "report.html"):
            (folder / name).unlink(missing_ok=True)
        for path in folder.rglob("metrics.jsonl"):
            thin(path)


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
