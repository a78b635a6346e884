"""The door of app/labeling: pages and API."""

from fastapi import APIRouter

pages = APIRouter()
api = APIRouter(prefix="/api/v1", tags=["labeling"])
