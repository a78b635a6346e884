"""The exports page: what, real rows, go, a progress line, a download; and a snapshot's own page."""

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.datasets import snapshots
from app.datasets.filters import Filters
from app.datasets.formats import FORMATS
from app.datasets.layouts import LAYOUTS
from app.models import Export, Run
from tests.datasets.scene import Scene
from tests.people import browse_as, make_person, make_project

PAGE = "/projects/garden/exports"


@pytest.fixture
def browser(client: TestClient, session: Session, scene: Scene) -> TestClient:
    return browse_as(client, session, scene.bob)


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", html))


def test_it_shows_what_the_file_would_hold(browser: TestClient, scene: Scene) -> None:
    shown = text_of(browser.get(PAGE).text)
    assert "The file would have 3 rows, from 5 answers." in shown
    assert "Left out" in shown
    assert "Question 1 of garden?" in shown
    assert "None yet." in shown


def test_the_form_in_the_address_changes_the_preview(browser: TestClient) -> None:
    form = {"layout": "raw", "simulated": "true", "purposes": ["train", "holdout"], "since": "2026-03-02"}
    page = browser.get(PAGE, params=form).text
    assert "The file would have 4 rows, from 4 answers." in text_of(page)
    assert re.search(r'value="holdout" checked', page)
    assert re.search(r'value="raw" checked', page)
    part = browser.get(PAGE, params=form, headers={"HX-Request": "true", "HX-Target": "export-preview"}).text
    assert "4 rows" in part
    assert "<html" not in part


def test_searching_and_sorting_the_files_keeps_the_form(browser: TestClient) -> None:
    browser.post(PAGE, data={})
    page = browser.get(PAGE, params={"layout": "raw", "simulated": "true", "purposes": ["train", "holdout"]}).text
    kept = "layout=raw&amp;simulated=true&amp;purposes=train&amp;purposes=holdout"
    assert re.search(rf'class="by" href="[^"]+sort=rows&amp;{kept}"', page)
    hidden = re.findall(r'type="hidden" name="(\w+)" value="(\w+)"', page)
    assert hidden == [("layout", "raw"), ("simulated", "true"), ("purposes", "train"), ("purposes", "holdout")]


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"since": "yesterday"}, "The filter since must be a time"),
        ({"layout": "poem"}, "There is no layout"),
        ({"purposes": ["fun"]}, "The filter purposes must be a list"),
    ],
)
def test_a_form_that_makes_no_sense_says_so_on_the_page(
    browser: TestClient, form: dict[str, object], sentence: str
) -> None:
    answer = browser.get(PAGE, params=form)
    assert answer.status_code == 200
    assert sentence in answer.text
    assert browser.post(PAGE, data=form).status_code == 422


def test_going_makes_an_export_whose_line_asks_for_itself_until_it_ends(browser: TestClient, session: Session) -> None:
    form = {"layout": "raw", "format": "parquet", "sources": ["page", "api"], "simulated": "true"}
    answer = browser.post(PAGE, data=form)
    export = session.query(Export).one()
    back = f"{PAGE}?layout=raw&format=parquet&simulated=true&sources=page&sources=api#export-{export.id}"
    assert (answer.status_code, answer.headers["location"]) == (303, back), "the form is as it was"
    assert (export.layout, export.format) == ("raw", "parquet")
    assert export.filters == {"simulated": True, "sources": ["page", "api"]}
    line = browser.get(f"{PAGE}/{export.id}").text
    assert 'hx-trigger="every 1s"' in line
    assert "<progress" in line
    export.run.status, export.run.error = "failed", "The disk is full. Make room and export again."
    session.flush()
    line = browser.get(f"{PAGE}/{export.id}").text
    assert "hx-trigger" not in line
    assert "The disk is full." in line


def test_a_finished_export_links_its_file_manifest_and_snapshot(
    browser: TestClient, session: Session, scene: Scene
) -> None:
    browser.post(PAGE, data={})
    export = session.query(Export).one()
    snapshot = snapshots.take(session, scene.project, Filters())
    export.run.status, export.rows, export.bytes, export.url = "succeeded", 3, 2048, "file:///x"
    export.snapshot_id = snapshot.id
    export.manifest = {"file": "garden-preference-1.jsonl", "snapshot": snapshot.manifest}
    session.flush()
    page = browser.get(PAGE).text
    for address in (f"/api/v1/exports/{export.id}/file", f"/api/v1/exports/{export.id}/manifest"):
        assert f'href="{address}"' in page
    assert f'href="/projects/garden/snapshots/{snapshot.sha256}"' in page
    shown = text_of(browser.get(f"/projects/garden/snapshots/{snapshot.sha256}").text)
    assert "5 answers by 2 annotators, frozen" in shown
    assert "Simulated annotators gave these." in shown
    assert "The base model tiny 8" in shown
    assert snapshot.manifest["files"]["answers.parquet"]["sha256"] in shown
    assert "garden-preference-1.jsonl" in shown


def test_an_export_is_cancelled_from_the_page(browser: TestClient, session: Session) -> None:
    browser.post(PAGE, data={})
    export = session.query(Export).one()
    make_project(session, "other")
    assert browser.post(f"/projects/other/exports/{export.id}/cancel").status_code == 404
    assert browser.post(f"{PAGE}/{export.id}/cancel").status_code == 303
    session.expire_all()
    assert session.query(Run).filter_by(kind="export").one().status == "cancelled"
    running = Run(project_id=export.project_id, kind="export", status="running")
    session.add(running)
    session.flush()
    export.run_id = running.id
    session.flush()
    browser.post(f"{PAGE}/{export.id}/cancel")
    session.expire_all()
    assert (running.status, running.message) == ("running", "Is being cancelled.")
    assert running.cancel_requested_at is not None


def test_only_admins_see_exports_and_snapshots(client: TestClient, session: Session, scene: Scene) -> None:
    sha256 = snapshots.take(session, scene.project, Filters()).sha256
    make_project(session, "other")
    bob = browse_as(client, session, scene.bob)
    assert bob.get(f"/projects/garden/snapshots/{sha256}").status_code == 200
    assert bob.get(f"/projects/other/snapshots/{sha256}").status_code == 404
    assert bob.get("/projects/garden/snapshots/x").status_code == 404
    alice = browse_as(client, session, make_person(session, "alice", "annotator", "operator"))
    for path in (PAGE, f"{PAGE}/1", f"/projects/garden/snapshots/{sha256}"):
        assert alice.get(path).status_code == 403
    assert alice.post(PAGE, data={}).status_code == 403


def test_every_layout_and_format_is_offered_and_kept_in_the_form(browser: TestClient, session: Session) -> None:
    form = {
        "layout": "kto",
        "format": "csv",
        "compression": "gz",
        "agreement": "60",
        "tags": "law, ko",
        "strength": "2",
    }
    page = browser.get(PAGE, params=form).text
    for name in [*LAYOUTS, *FORMATS]:
        assert f'value="{name}"' in page
    assert re.search(r'value="kto" checked', page)
    assert 'value="law, ko"' in page
    assert browser.post(PAGE, data=form).status_code == 303
    export = session.query(Export).one()
    assert (export.layout, export.format, export.per) == ("kto", "csv.gz", "answer")
    assert export.filters == {"simulated": False, "tags": ["law", "ko"], "agreement": 0.6, "strength": 2}


def test_rows_per_comparison_are_previewed(browser: TestClient) -> None:
    shown = text_of(browser.get(PAGE, params={"per": "comparison"}).text)
    assert "The file would have 3 rows, from 5 answers." in shown
    assert "share" in shown
    refused = browser.get(PAGE, params={"per": "comparison", "layout": "raw"})
    assert "has no rows per comparison" in refused.text


def files_in(html: str) -> list[str]:
    return re.findall(r'<tr id="export-(\d+)"', html)


def test_files_are_searched_and_sorted(browser: TestClient, session: Session, scene: Scene) -> None:
    made = []
    for layout, rows, status in (("kto", 5, "succeeded"), ("raw", 9, "succeeded"), ("kto", None, "failed")):
        run = Run(project_id=scene.project.id, kind="export", status=status, message="Done.", error="Broke.")
        session.add(run)
        session.flush()
        about = {"file": f"garden-{layout}.jsonl", "snapshot": {"sha256": "0" * 64}} if rows else {}
        export = Export(
            project_id=scene.project.id, run_id=run.id, layout=layout, format="jsonl", rows=rows, manifest=about
        )
        session.add(export)
        session.flush()
        made.append(str(export.id))
    first, second, third = made
    assert files_in(browser.get(PAGE).text) == [third, second, first]
    assert files_in(browser.get(PAGE, params={"q": "layout:kto"}).text) == [third, first]
    assert files_in(browser.get(PAGE, params={"q": "layout:kto status:failed"}).text) == [third]
    assert files_in(browser.get(PAGE, params={"q": "GARDEN-RAW"}).text) == [second]
    assert files_in(browser.get(PAGE, params={"sort": "-rows"}).text) == [second, first, third]
    assert "No file fits this search." in browser.get(PAGE, params={"q": "nothing"}).text


def test_snapshots_are_found_by_how_their_hash_begins_and_sorted(
    browser: TestClient, session: Session, scene: Scene
) -> None:
    large = snapshots.take(session, scene.project, Filters()).sha256
    small = snapshots.take(session, scene.project, Filters.from_json({"purposes": ["evaluation"]})).sha256

    def found(**asked: str) -> list[str]:
        html = browser.get("/projects/garden/snapshots", params=asked).text
        return re.findall(r'snapshots/([0-9a-f]{64})"', html)

    assert found() == [small, large]
    assert found(sort="-answers") == [large, small]
    assert found(q=large[:8].upper()) == [large]
    assert found(q="%") == []
