"""A learned optimizer as a folder in the layout of a model hub, so that it can be shared.

The folder holds README.md, whose head is YAML as hubs read it, the weights and the card, which
`load` takes, the settings of meta-training, and the records of the run where there are any.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noiseproof.checkpoint import save_theta
from noiseproof.data import DATASETS
from noiseproof.files import read_whole, write_whole
from noiseproof.messages import require_printable
from noiseproof.zoo.cards import gain, good_for
from noiseproof.zoo.loading import load_learned

RECORDS = ("run.json", "results.npz", "metrics.jsonl", "report.html")
"""What of the folder of a run is published beside theta, where it is there."""


def publish(name: str | Path, out: Path) -> Path:
    """Writes a learned optimizer and its records to a folder that can be uploaded as it is.

    Args:
        name: The folder of a run, a `.safetensors` file, or a shipped name.
        out: The folder to write, new or empty.

    Returns:
        The folder.

    Raises:
        ValueError: There is no such learned optimizer, it is damaged, or the folder is in use.
    """
    loaded = load_learned(name)
    require_printable(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"The output folder {out} is in use: choose another with --out.")
    title, source = out.resolve().name, Path(name)
    out.mkdir(parents=True, exist_ok=True)
    records = [record for record in RECORDS if (source / record).is_file()]
    for record in records:
        write_whole(out / record, read_whole(source / record))
    save_theta(out, loaded.theta, loaded.card)
    settings = (loaded.card.get("provenance") or {}).get("config", {})
    write_whole(out / "config.json", json.dumps(settings, indent=2) + "\n")
    write_whole(out / "README.md", readme(title, loaded.card, records))
    return out


def readme(title: str, card: Mapping[str, Any], records: list[str]) -> str:
    """The page of a learned optimizer, with metadata as hubs read them."""
    head = "\n".join(f"{key}: {json.dumps(value)}" for key, value in metadata(card).items())
    task = card.get("task") or {}
    found = gain(card)
    epochs = ", steps_per_epoch=500" if card["options"].get("counts_epochs") else ""
    sentences = [
        f"A learned optimizer of the rule `{card['rule']}`, meta-trained with noiseproof on"
        f" {card.get('meta_trained_on')}. It trains image classifiers on clean images so that they"
        " withstand corruptions.",
        f"It was made for: {good_for(card)}, on {task.get('dataset')}." if task else "",
        f"On conditions that it never saw: {found}." if found else "",
        f"Limits: {card['limits']}" if card.get("limits") else "",
    ]
    files = ["theta.safetensors", "theta.json", "config.json", *records]
    return f"""---
{head}
---

# {title}

{chr(10).join(f"{sentence}{chr(10)}" for sentence in sentences if sentence)}
## Use

Download this folder, and give its path in place of a shipped name; it becomes an optax
transformation:

```python
import noiseproof

optimizer = noiseproof.load({json.dumps(title)}, num_steps=1000, layout=layout{epochs})
```

`layout` is `noiseproof.layout_of(params, image_shape=..., apply=...)`. In PyTorch:
`noiseproof.torch.LearnedOptimizer(model, name={json.dumps(title)}, num_steps=1000{epochs})`.

## Files

{chr(10).join(f"- `{file}`" for file in files)}

`theta.json` is the card: it holds the checksum of the weights and its own.
"""


def metadata(card: Mapping[str, Any]) -> dict[str, Any]:
    """What a hub reads of a page: license, library, tags, and a data set that others know."""
    dataset = (card.get("task") or {}).get("dataset")
    found: dict[str, Any] = {
        "license": str(card.get("license", "other")).lower(),
        "library_name": "noiseproof",
        "tags": ["learned-optimizer", "robustness", "corruptions", "jax", card["rule"]],
    }
    return found | ({"datasets": [dataset]} if dataset in DATASETS else {})
