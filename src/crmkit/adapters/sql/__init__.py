"""Storage in SQLite and PostgreSQL, on SQLAlchemy."""

from crmkit.adapters.sql.schema import migrate
from crmkit.adapters.sql.storage import SqlStorage

__all__ = ["SqlStorage", "migrate"]
