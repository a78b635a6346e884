"""The label page and the history of one's own answers."""

from fastapi import APIRouter

pages = APIRouter()
