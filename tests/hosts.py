"""Hosts of crmkit, as tests play them: an engine, a table of their own, a transaction."""

from __future__ import annotations

import sqlite3
import sys
from typing import Any, TypeAlias

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from crmkit import CRMService
from crmkit.model import catalogue

Lent: TypeAlias = Session | sa.Connection
Snapshot: TypeAlias = dict[str, list[Any]]


class Base(DeclarativeBase):
    pass


class Booking(Base):
    """The host's own table."""

    __tablename__ = "bookings"
    id: Mapped[int] = mapped_column(primary_key=True)
    guest: Mapped[str | None]


def sqlite_engine(url: str, way: str) -> sa.Engine:
    """A host's engine: SQLAlchemy's default, or in one of the ways that its manual shows."""
    if way == "new":
        return sa.create_engine(url, connect_args={"autocommit": False})
    engine = sa.create_engine(url)
    if way == "recipe":

        @sa.event.listens_for(engine, "connect")
        def _connect(connection: sqlite3.Connection, _: object) -> None:
            connection.isolation_level = None

        @sa.event.listens_for(engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql("BEGIN")

    return engine


ENGINES = ["sqlite", "sqlite recipe", "postgresql"]
if sys.version_info >= (3, 12):
    ENGINES.append("sqlite new")


def book(lent: Lent, number: int = 1) -> None:
    """A row of the host's."""
    lent.execute(sa.insert(Booking).values(id=number))


def snapshot(engine: sa.Engine) -> Snapshot:
    """All rows of crmkit's tables, and of the host's."""
    with engine.connect() as connection:
        return {
            table: sorted(map(repr, connection.exec_driver_sql(f"SELECT * FROM {table}")))
            for table in ["bookings", *(entry.table for entry in catalogue())]
        }


def empty(shot: Snapshot) -> bool:
    return not any(shot.values())


def known_customer(crm: CRMService) -> str:
    """Somebody with an activity, points and a segment."""
    customer = crm.find_or_create({"email": "ana@mail.com", "phone": "+39 347 1234567"})
    crm.track_activity(customer.id, "purchase", {"order_id": "o1", "amount": 10}, key="o1")
    crm.loyalty.update_points(customer.id, 10, reason="gift")
    crm.add_to_segment(customer.id, "first")
    return customer.id


def refused(crm: CRMService, lent: Any, error: type[Exception], message: str) -> None:
    """Lending it fails at once, before the block."""
    with pytest.raises(error, match=message), crm.using(lent):
        raise AssertionError("not reached")
