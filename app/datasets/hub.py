"""A directory as `datasets` and its hub have it, in one tar: Parquet files of two splits and a card about them."""

import io
import json
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from app.datasets import answer_table
from app.datasets.answer_table import ROWS

SPLITS = ("train", "test")
"""Rows on prompts that no run trains on are the test split."""
CARD = """---
{head}
---

# {title}

{rows:,} rows in the layout `{layout}`, made by Pairloop from {answers:,} answers that {annotators:,} annotators gave \
between {first} and {last}.

| split | rows | prompts |
|---|---|---|
{splits}

```python
from datasets import load_dataset

data = load_dataset("this-directory")  # where this archive was unpacked
```

## Where it comes from

- Snapshot `{sha256}`: the same answers, whenever they are exported.
- Simulated answers: {simulated:,}. Answers on held-out prompts: {holdout:,}.
- Guidelines: {guidelines}.
- The responses were written by {writers}.
- People appear under pseudonyms.

## What was left out

{left_out}
"""


def write(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch], about: Callable[[], dict[str, Any]]) -> int:
    """Write the splits and the card into a tar without a directory of its own; the same rows give the same bytes."""
    rows = dict.fromkeys(SPLITS, 0)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as place:
        files = {split: Path(place) / f"{split}.parquet" for split in SPLITS}
        with (
            answer_table.writer(files["train"], schema) as train,
            answer_table.writer(files["test"], schema) as test,
        ):
            for batch in batches:
                held_out = batch["holdout"]
                for split, writer, part in (("train", train, pc.invert(held_out)), ("test", test, held_out)):
                    taken = batch.filter(part)
                    writer.write_batch(taken, row_group_size=ROWS)
                    rows[split] += taken.num_rows
        with tarfile.open(path, "w") as archive:
            _add(archive, "README.md", io.BytesIO(card(schema, rows, about()).encode()))
            for split, file in files.items():
                if rows[split] or split == "train":
                    with file.open("rb") as data:
                        _add(archive, f"data/{split}.parquet", data)
    return sum(rows.values())


def _add(archive: tarfile.TarFile, name: str, data: Any) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = data.seek(0, 2)
    data.seek(0)
    archive.addfile(entry, data)


def card(schema: pa.Schema, rows: dict[str, int], about: dict[str, Any]) -> str:
    """The card: a head for programs (JSON, which is YAML), and what people want to know, with this file's numbers."""
    snapshot = about["snapshot"]
    splits = [split for split in SPLITS if rows[split] or split == "train"]
    head = {
        "pretty_name": f"{snapshot['project']}, {about['layout']}",
        "tags": ["pairloop", "preferences"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}.parquet"} for split in splits],
            }
        ],
        "dataset_info": {
            "features": [_feature(item) for item in schema],
            "splits": [{"name": split, "num_examples": rows[split]} for split in splits],
        },
    }
    left_out = [f"- {one['answers']:,} answers: {one['why']}" for one in about["exclusions"]]
    versions = [f"version {version} ({n:,} answers)" for version, n in snapshot["guideline_versions"].items()]
    what = {"train": "those that runs train on", "test": "those held out, which no run trains on"}
    return CARD.format(
        head="\n".join(f"{name}: {json.dumps(value)}" for name, value in head.items()),
        title=head["pretty_name"],
        rows=sum(rows.values()),
        layout=about["layout"],
        splits="\n".join(f"| {split} | {rows[split]:,} | {what[split]} |" for split in splits),
        guidelines=", ".join(versions) or "none in force",
        writers=", ".join(_writer(one) for one in snapshot["checkpoints"]) or "nobody: there are none",
        left_out="\n".join(left_out) or "Nothing.",
        simulated=snapshot["simulated_answers"],
        **{name: snapshot[name] for name in ("sha256", "answers", "annotators", "holdout")},
        **{name: (snapshot[name] or "–")[:10] for name in ("first", "last")},
    )


def _writer(one: dict[str, Any]) -> str:
    if one["checkpoint"]:
        return f"checkpoint {one['checkpoint']} ({one['responses']:,})"
    return (
        f"the base model {one['base_model']} ({one['responses']:,})"
        if one["base_model"]
        else (f"people or programs elsewhere ({one['responses']:,})")
    )


def _feature(item: pa.Field) -> dict[str, Any]:
    return {"name": item.name, **_type(item.type)}


def _type(kind: pa.DataType) -> dict[str, Any]:
    """A column's type as the head of a card has it."""
    if pa.types.is_list(kind):
        inner = _type(kind.value_type)
        return {"list": inner.get("struct", inner.get("dtype", inner))}
    if pa.types.is_struct(kind):
        return {"struct": [_feature(field) for field in kind]}
    return {"dtype": {"double": "float64", "float": "float32"}.get(str(kind), str(kind))}
