"""The ledger: a line for every look at test images, so that repeated peeking is seen."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from noiseproof.configs import Config, as_dict
from noiseproof.results import LedgerLine, append_ledger, collect_provenance

LEDGER = "results/ledger.jsonl"
"""The ledger of a checkout, found from its root; kept where it is there, and nowhere begun."""

VARIABLE = "NOISEPROOF_LEDGER"
"""Environment variable that names another."""

LEDGER_FILE = "ledger.jsonl"
"""The name of a ledger in the folder of a run."""


def note_test(preset: str, config: Config, seed: int, folder: Path | None = None) -> None:
    """Notes that test images are about to be looked at, in the folder and in the ledger.

    Where they are those of `select` there is nothing to note.
    """
    if config.evaluation.split != "test":
        return
    origin = collect_provenance(device="", seeds={}, arguments=sys.argv, config=as_dict(config))
    line = LedgerLine(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        preset=preset,
        experiment=config.experiment,
        dataset=origin.config["data"]["name"],
        model=config.model.name,
        rule=config.rule.name,
        seed=seed,
        code_version=origin.code_version,
        commit=origin.commit,
        command=origin.command,
    )
    if folder is not None:
        append_ledger(folder / LEDGER_FILE, line)
    ledger = Path(os.environ.get(VARIABLE, LEDGER))
    if ledger.is_file():
        append_ledger(ledger, line)
