"""No unique index holds what is personal: a violation would print it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from crmkit import CRMService, Settings, SqlStorage
from crmkit.model import catalogue
from tests.canaries import canaries
from tests.fixtures import sqlite_url
from tests.populate import canary, populate


@pytest.fixture
def person(crm: CRMService) -> str:
    return populate(crm)


# --- indexes ---


class Pages:
    """The b-trees of an SQLite file (https://sqlite.org/fileformat2.html), to search in."""

    def __init__(self, file: bytes) -> None:
        self.file = file
        self.size = int.from_bytes(file[16:18]) if file[16:18] != b"\0\1" else 65_536
        self.usable = self.size - file[20]

    def page(self, number: int) -> bytes:
        return self.file[(number - 1) * self.size : number * self.size]

    def is_index(self, root: int) -> bool:
        """Whether the tree is an index, or a table that lives in its key's index."""
        return self.page(root)[0] in (0x02, 0x0A)

    def tree(self, number: int) -> bytes:
        """All pages of an index's tree, overflow pages included."""
        page = self.page(number)
        interior = page[0] == 0x02
        out = [page]
        pointers = 12 if interior else 8
        for n in range(int.from_bytes(page[3:5])):
            at = int.from_bytes(page[pointers + 2 * n : pointers + 2 * n + 2])
            if interior:
                out.append(self.tree(int.from_bytes(page[at : at + 4])))
                at += 4
            out.append(self.overflow(page, at))
        if interior:
            out.append(self.tree(int.from_bytes(page[8:12])))
        return b"".join(out)

    def overflow(self, page: bytes, at: int) -> bytes:
        """What of a cell is on other pages."""
        length = 0
        while page[at] & 0x80:
            length, at = length << 7 | page[at] & 0x7F, at + 1
        length, at = length << 7 | page[at], at + 1
        most = (self.usable - 12) * 64 // 255 - 23
        if length <= most:
            return b""
        least = (self.usable - 12) * 32 // 255 - 23
        local = least + (length - least) % (self.usable - 4)
        at += local if local <= most else least
        following, out = int.from_bytes(page[at : at + 4]), b""
        while following:
            out += self.page(following)
            following = int.from_bytes(self.page(following)[:4])
        return out


def trees(path: Path) -> dict[str, bytes]:
    """The bytes of every index's tree in an SQLite file, by the index's or table's name."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    roots = connection.execute("SELECT name, rootpage FROM sqlite_master WHERE rootpage").fetchall()
    connection.close()
    pages = Pages(path.read_bytes())
    return {name: pages.tree(root) for name, root in roots if pages.is_index(root)}


def test_no_index_of_sqlite_holds_what_is_personal(tmp_path: Path) -> None:
    """Searched byte by byte; a booking too is found by a keyed hash of its id."""
    storage = SqlStorage.open(sqlite_url(tmp_path))
    person = populate(CRMService(storage, settings=Settings(region="RO")))
    storage.close()
    found = {name: canaries(tree) for name, tree in trees(tmp_path / "crm.db").items()}
    assert len(found) > 15
    hits = {name: hit for name, hit in found.items() if hit}
    # Not an index but a table, which lives in the tree of its key (a hash of the tag).
    assert hits == {"crm_tags": {canary("tag"), canary("first tag")}}
    assert person


def test_the_search_finds_what_a_naive_schema_leaks(tmp_path: Path) -> None:
    """A unique e-mail column: the canary is in its index, on overflow and inner pages too."""
    connection = sqlite3.connect(tmp_path / "naive.db")
    connection.execute("CREATE TABLE people (email TEXT UNIQUE, about TEXT)")
    connection.execute("CREATE INDEX ix ON people (about)")
    rows = [(f"{n:05}{canary('email')}", f"{n:05}{'x' * 9_000}") for n in range(500)]
    rows[250] = (rows[250][0], f"{rows[250][1]}{canary('about')}")
    connection.executemany("INSERT INTO people VALUES (?, ?)", rows)
    connection.commit()
    connection.close()
    found = trees(tmp_path / "naive.db")
    assert canaries(found["sqlite_autoindex_people_1"]) == {canary("email")}
    assert canaries(found["ix"]) == {canary("about")}
    assert found["sqlite_autoindex_people_1"].count(canary("email").encode()) >= 500


_INDEXED = sa.text("""
    SELECT t.relname, i.indisunique, a.attname
    FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = ANY (i.indkey)
    WHERE t.relname LIKE 'crm\\_%'
""")


def test_no_unique_index_of_postgresql_is_personal(postgres_engine: sa.Engine) -> None:
    """What the server prints when a key is violated is classified as not personal."""
    columns = {e.table: {c.name: c for c in e.columns} for e in catalogue()}
    personal = set()
    with postgres_engine.connect() as connection:
        found = connection.execute(_INDEXED).all()
    assert len(found) > 30
    for table, unique, column in found:
        if table in columns and columns[table][column].personal:
            assert not unique, f"{table}.{column}"
            personal.add(f"{table}.{column}")
    facts = {"crm_occasions.item", "crm_occasions.venue", "crm_loyalty_redemptions.reward"}
    facts.add("crm_loyalty_accounts.next_at")
    kept = {"states.next_change_at", "stays.left_at", "ranks.value"}
    assert personal == facts | {f"crm_segment_{column}" for column in kept}
