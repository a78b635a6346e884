"""Snapshots: immutable, content-hashed sets of answers; what training reads and what exports are made from.

A snapshot is the directory `snapshots/<sha256>/` of the artefact store:

- `answers.parquet`: one row per answer (answer_table.SCHEMA); people are pseudonyms
- `rationales.parquet`: the answers' rationales, a file of their own because erasure may remove it
- `chats.parquet`: what was said in chats (chat_texts), likewise; only where some of the answers come from chats
- `manifest.json`: `{"files": {name: {"sha256", "bytes"}}, "kind": "snapshot", "table": version}`
- `card.json`: what was asked for, counted and left out; not part of the hash, because it says when that was. Where
  somebody was erased, `erasures` says when, how many rationales and chats went, and the files' hashes since then

The snapshot's SHA-256 is that of manifest.json's bytes, so the same answers always give the same snapshot.
"""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.datasets import answer_table, artifacts, changes, chat_texts, rules
from app.datasets.copied import sending
from app.datasets.filters import Filters
from app.datasets.pseudonyms import pseudonym
from app.errors import DomainError, NotFound
from app.languages import N_, _
from app.lists import Asked, Listing, itself, page_of
from app.models import VERDICTS, Project, Snapshot, User, now

ANSWERS = "answers.parquet"
RATIONALES = "rationales.parquet"
CHATS = "chats.parquet"
ERASABLE = (RATIONALES, CHATS)
CARD = "card.json"
HELD_AT_ONCE = 20_000


class SnapshotDamaged(DomainError):
    status = 500
    sentence = N_("A snapshot's files are not the ones that were written. Restore the artefact store from a backup.")


def take(
    session: Session,
    project: Project,
    filters: Filters,
    created_by: User | None = None,
    report: Callable[[int], None] = lambda answers: None,
) -> Snapshot:
    """Freeze the project's answers that the filters take; the same answers give the snapshot that is there already.

    Its files are in place before the row is; the row and what it holds are part of the caller's transaction, and until
    that ends the answers cannot be undone. `report` is told how many answers were written, and may raise to stop.
    """
    session.flush()
    # Who comes second finds the first one's snapshot instead of making it again.
    one_at_a_time(session, project.id)
    with artifacts.made_for(artifacts.url_of("snapshots", "new")) as directory:
        counts = answer_table.write(session, project, filters, directory, report)
        if not counts.sources[chat_texts.CHAT]:
            (directory / CHATS).unlink()
        files = {path.name: artifacts.facts_of(path) for path in sorted(directory.iterdir())}
        manifest = _manifest_bytes(files)
        sha256 = hashlib.sha256(manifest).hexdigest()
        url = artifacts.url_of("snapshots", sha256)
        known = session.scalar(select(Snapshot).where(Snapshot.project_id == project.id, Snapshot.sha256 == sha256))
        if known is not None and _is_whole(known.url, files):
            return known
        card = {**_card(session, project, filters, counts, created_by), "sha256": sha256, "files": files}
        (directory / artifacts.MANIFEST).write_bytes(manifest)
        (directory / CARD).write_bytes(_card_bytes(card))
        artifacts.put(directory, url)
    if known is not None:
        known.url = url
        return known
    last = next(iter(newest(session, project, limit=1)), None)
    snapshot = Snapshot(project_id=project.id, sha256=sha256, url=url, manifest=card)
    session.add(snapshot)
    session.flush()
    _hold(session, snapshot, counts)
    if last is not None:
        since = {"snapshot": last.sha256, **changes.counted(session, last, snapshot)}
        snapshot.manifest = {**card, "since_last": since}
        write_card(snapshot)
    return snapshot


def one_at_a_time(session: Session, project_id: int) -> None:
    """Wait until nobody else takes or changes a snapshot of the project; others wait until this transaction ends."""
    session.execute(text("select pg_advisory_xact_lock(hashtext('snapshot'), :project)"), {"project": project_id})


def taken_rows(snapshot: Snapshot, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The snapshot's rows as batches; raises SnapshotDamaged before the first one where the file's hash differs."""
    if CHATS not in snapshot.manifest["files"]:
        return _read(snapshot, ANSWERS, columns)
    wanted = columns or answer_table.SCHEMA.names
    rows = _read(snapshot, ANSWERS, list(dict.fromkeys([*wanted, *chat_texts.NEEDED])))
    texts = _read(snapshot, CHATS, None) if artifacts.exists(f"{snapshot.url}/{CHATS}") else iter(())
    return (batch.select(wanted) for batch in chat_texts.together(rows, texts))


def taken_rationales(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    """Answer id and rationale, in the order of the rows, but for what an erasure removed."""
    if artifacts.exists(f"{snapshot.url}/{RATIONALES}"):
        for batch in _read(snapshot, RATIONALES, None):
            yield from zip(batch["answer"].to_pylist(), batch["rationale"].to_pylist(), strict=True)


def facts_of(snapshot: Snapshot, name: str) -> dict[str, Any]:
    """Hash and size that a file of the snapshot has now: as it was written, or as the last erasure left it."""
    facts: dict[str, Any] = snapshot.manifest["files"][name]
    for erasure in snapshot.manifest.get("erasures", ()):
        facts = erasure["files"].get(name, facts)
    return facts


def write_card(snapshot: Snapshot) -> None:
    """Put the snapshot's manifest beside its files once more, because something was added to it."""
    with artifacts.rewritten(f"{snapshot.url}/{CARD}") as path:
        path.write_bytes(_card_bytes(snapshot.manifest))


def find(session: Session, project: Project, sha256: str) -> Snapshot:
    """A project's snapshot by its hash; NotFound where it has none."""
    found = session.scalar(select(Snapshot).where(Snapshot.project_id == project.id, Snapshot.sha256 == sha256))
    if found is None:
        raise NotFound(
            _("This project has no snapshot {sha256!r}. Look it up on the exports page.").format(sha256=sha256)
        )
    return found


def newest(session: Session, project: Project, before: int | None = None, limit: int = 30) -> list[Snapshot]:
    """A project's snapshots, newest first, older than the snapshot `before`."""
    query = select(Snapshot).where(Snapshot.project_id == project.id)
    if before is not None:
        query = query.where(Snapshot.id < before)
    return list(session.scalars(query.order_by(Snapshot.id.desc()).limit(limit)))


def listed(session: Session, project: Project, asked: Asked, path: str) -> Listing[Snapshot]:
    """A page of a project's snapshots; the search is how a hash begins."""
    answers = Snapshot.manifest["answers"].as_integer()
    columns = {"taken": Snapshot.id, "answers": answers, "annotators": Snapshot.manifest["annotators"].as_integer()}
    query = select(Snapshot).where(Snapshot.project_id == project.id)
    for word in asked.words:
        query = query.where(Snapshot.sha256.istartswith(word, autoescape=True))
    return page_of(session, query, Snapshot.id, columns, asked, path, "-taken", make=itself)


def as_json(snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot as programs read it: its manifest, and when it was taken first."""
    return {"sha256": snapshot.sha256, "created": snapshot.created_at.isoformat(), "manifest": snapshot.manifest}


def _manifest_bytes(files: dict[str, dict[str, Any]]) -> bytes:
    manifest = {"files": files, "kind": "snapshot", "table": answer_table.VERSION}
    return json.dumps(manifest, indent=1, sort_keys=True).encode()


def _card_bytes(card: dict[str, Any]) -> bytes:
    return json.dumps(card, indent=1, ensure_ascii=False).encode()


def _is_whole(url: str, files: dict[str, dict[str, Any]]) -> bool:
    """Whether the answers lie there as they were written (the rationales may have been removed)."""
    try:
        with artifacts.opened(f"{url}/{ANSWERS}") as file:
            return artifacts.sha256_of(file) == files[ANSWERS]["sha256"] and artifacts.exists(f"{url}/manifest.json")
    except FileNotFoundError:
        return False


def _read(snapshot: Snapshot, name: str, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    manifest = _manifest_bytes(snapshot.manifest["files"])
    if hashlib.sha256(manifest).hexdigest() != snapshot.sha256:
        raise SnapshotDamaged
    try:
        with artifacts.opened(f"{snapshot.url}/{name}") as file:
            if artifacts.sha256_of(file) != facts_of(snapshot, name)["sha256"]:
                raise SnapshotDamaged(f"{name} of snapshot {snapshot.sha256} was changed. Restore it from a backup.")
            file.seek(0)
            yield from answer_table.batches_of(file, columns)
    except FileNotFoundError:
        raise SnapshotDamaged(f"{name} of snapshot {snapshot.sha256} is gone. Restore it from a backup.") from None


def _card(
    session: Session, project: Project, filters: Filters, counts: answer_table.Counts, created_by: User | None
) -> dict[str, Any]:
    """What people and programs want to know about a snapshot without opening it."""
    return {
        "project": project.slug,
        "taken": now().isoformat(),
        "taken_by": pseudonym(created_by.id) if created_by else None,
        "table": answer_table.VERSION,
        "filters": filters.to_json(),
        "answers": len(counts.held),
        "counts": {
            "verdict": {verdict: counts.verdicts[verdict] for verdict in VERDICTS},
            "purpose": dict(sorted(counts.purposes.items())),
            "source": dict(sorted(counts.sources.items())),
        },
        "holdout": counts.holdout,
        "simulated": counts.simulated > 0,
        "simulated_answers": counts.simulated,
        "annotators": len(counts.annotators),
        "guideline_versions": {str(version): n for version, n in sorted(counts.guideline_versions.items())},
        "checkpoints": _writers(counts.writers),
        "first": answer_table.iso(counts.first),
        "last": answer_table.iso(counts.last),
        "exclusions": rules.exclusions(session, project, filters),
    }


def _writers(writers: Counter[tuple[str | None, str | None]]) -> list[dict[str, Any]]:
    """Who wrote the responses: a checkpoint, a base model (no checkpoint), or somebody outside (neither)."""
    return [
        {"checkpoint": id, "base_model": base, "responses": n}
        for (id, base), n in sorted(writers.items(), key=lambda item: (int(item[0][0] or 0), item[0][1] or ""))
    ]


def _hold(session: Session, snapshot: Snapshot, counts: answer_table.Counts) -> None:
    """Record which answers, in which revision, the snapshot holds: from now on they cannot be undone."""
    with sending(session, "snapshot_answers", ("snapshot_id", "answer_id", "revision")) as stream:
        for start in range(0, len(counts.held), HELD_AT_ONCE):
            held, revisions = (values[start : start + HELD_AT_ONCE] for values in (counts.held, counts.revisions))
            rows = pa.table({"snapshot": pa.repeat(snapshot.id, len(held)), "held": held, "revision": revisions})
            with io.BytesIO() as text:
                # Digits alone between tabs, which is what COPY reads.
                pa.csv.write_csv(rows, text, pa.csv.WriteOptions(include_header=False, delimiter="\t"))
                stream.write(text.getvalue())
