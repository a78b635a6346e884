"""The door of app/runs: pages and API."""

from fastapi import APIRouter

pages = APIRouter()
api = APIRouter(prefix="/api/v1", tags=["runs"])
