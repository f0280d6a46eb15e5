"""The server that storage tests rely on is real, private to each worker, and leaves nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text

from tests.postgres import database, postgres, shared_postgres

own_server = pytest.mark.skipif(
    "CRMKIT_TEST_PG_URL" in os.environ, reason="a server given from outside is not ours to judge"
)


def _scalar(url: str, query: str) -> object:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return connection.scalar(text(query))
    finally:
        engine.dispose()


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url.replace("+psycopg", ""), connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def test_it_is_postgresql(postgres_database: str) -> None:
    version = _scalar(postgres_database, "select version()")

    assert isinstance(version, str)
    assert version.startswith("PostgreSQL ")


def test_the_database_is_empty_and_utf8(postgres_url: str) -> None:
    with database(postgres_url) as url:
        tables = "select count(*) from pg_tables where schemaname = 'public'"
        assert _scalar(url, tables) == 0
        assert _scalar(url, "show server_encoding") == "UTF8"


def test_a_database_is_dropped_although_a_connection_is_open(postgres_url: str) -> None:
    with database(postgres_url) as url:
        name = _scalar(url, "select current_database()")
        left_open = psycopg.connect(url.replace("+psycopg", ""))
    left_open.close()

    assert _scalar(postgres_url, f"select count(*) from pg_database where datname = '{name}'") == 0


@own_server
def test_many_threads_can_connect(postgres_database: str) -> None:
    assert int(str(_scalar(postgres_database, "show max_connections"))) >= 300


@own_server
def test_a_durable_server_waits_for_the_disk_and_stops_with_its_block() -> None:
    with postgres(durable=True) as url:
        assert _scalar(url, "show fsync") == "on"
        assert _scalar(url, "show synchronous_commit") == "on"

    assert not _answers(url)


@own_server
def test_the_shared_server_stops_even_if_the_test_run_is_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys, time; alive = open(sys.argv[1], 'w');"
            "fcntl.flock(alive, fcntl.LOCK_EX); print('held', flush=True); time.sleep(600)",
            str(tmp_path / "alive"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            url = shared_postgres(tmp_path)
            answered_before = _answers(url)
        finally:
            holder.kill()

    deadline = time.monotonic() + 10
    while _answers(url) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert answered_before
    assert not _answers(url)
