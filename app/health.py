"""Is this process alive, can it serve, and what does Prometheus want to know?"""

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.accounts.access import anyone
from app.database import Transaction, newest_schema
from app.errors import Unavailable
from app.prometheus import Installation

MIGRATE = "Run `pairloop migrate`, then try again."
NOT_READY = f"The database is not ready. {MIGRATE}"

api = APIRouter(dependencies=[Depends(anyone)], tags=["health"])


@api.get("/healthz")
def alive() -> dict[str, str]:
    """The process answers; nothing else is asked."""
    return {"status": "alive"}


@api.get("/readyz")
def ready(session: Transaction) -> dict[str, str]:
    """The database answers, its schema is this code's, and the queue's tables are there."""
    try:
        version = session.execute(text("select version_num from alembic_version")).scalar_one()
        session.execute(text("select 1 from jobs.procrastinate_jobs limit 1"))
    except SQLAlchemyError as problem:
        raise Unavailable(NOT_READY) from problem
    if version != newest_schema():
        raise Unavailable(f"The database has version {version} of the tables, not {newest_schema()}. {MIGRATE}")
    return {"status": "ready", "schema": version}


@api.get("/metrics")
def metrics(session: Transaction) -> Response:
    """Prometheus metrics of this process, and of the installation as its database knows it."""
    installation = CollectorRegistry()
    installation.register(Installation(session))
    return Response(generate_latest() + generate_latest(installation), media_type=CONTENT_TYPE_LATEST)
