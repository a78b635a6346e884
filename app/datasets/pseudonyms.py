"""Names that stand for people outside: always the same one, and nobody can tell from it who it is."""

import contextlib
import hashlib
import hmac
import secrets
from functools import cache

from app.private_files import make_private_directory, write_private
from app.settings import settings


@cache
def pseudonym(user_id: int) -> str:
    """`annotator-` and ten hexadecimal digits of the HMAC-SHA-256 of the person's id under the installation's key."""
    digest = hmac.new(_key(), f"annotator {user_id}".encode(), hashlib.sha256)
    return f"annotator-{digest.hexdigest()[:10]}"


@cache
def _key() -> bytes:
    """The installation's secret: PAIRLOOP_SECRET_KEY, or the one that is kept in the data directory."""
    if settings.secret_key:
        return settings.secret_key.encode()
    path = settings.data_dir / "secret-key"
    if not path.exists():
        make_private_directory(path.parent)
        # Where another process was faster, its key is the installation's.
        with contextlib.suppress(FileExistsError):
            write_private(path, secrets.token_urlsafe(32))
    return path.read_text().strip().encode()
