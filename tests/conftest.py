"""What every test may use: Hypothesis profiles and a real PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

from tests.fixtures import (  # noqa: F401
    _postgres_engine,
    _postgres_storage,
    clock,
    crm,
    crm_database,
    postgres_engine,
    storage,
)
from tests.postgres import database, shared_postgres, shared_server_folder

# No deadline: the first example on a storage also pays for its schema. What a commit is checked
# with is the same each time; `make deep` looks for what nobody has thought of.
settings.register_profile("fast", deadline=None, max_examples=40, derandomize=True)
settings.register_profile("deep", deadline=None, max_examples=2_000)
# Any counter-example will do where mutants are tried: all that is asked is whether there is one.
settings.register_profile(
    "mutants",
    deadline=None,
    max_examples=40,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile(os.environ.get("CRMKIT_HYPOTHESIS_PROFILE", "fast"))

_SERVER_FOLDER = pytest.StashKey[Path]()
_WORKER_INPUT = "crmkit_server_folder"


def pytest_configure(config: pytest.Config) -> None:
    worker_input: dict[str, str] | None = getattr(config, "workerinput", None)
    if worker_input is not None:
        config.stash[_SERVER_FOLDER] = Path(worker_input[_WORKER_INPUT])
        return
    stack = ExitStack()
    config.add_cleanup(stack.close)
    config.stash[_SERVER_FOLDER] = stack.enter_context(shared_server_folder())


@pytest.hookimpl(optionalhook=True)  # absent when pytest-xdist is switched off
def pytest_configure_node(node: Any) -> None:
    node.workerinput[_WORKER_INPUT] = str(node.config.stash[_SERVER_FOLDER])


@pytest.fixture(scope="session")
def postgres_url(pytestconfig: pytest.Config) -> str:
    """URL of a PostgreSQL server that all workers share; the first to ask starts it."""
    return shared_postgres(pytestconfig.stash[_SERVER_FOLDER])


@pytest.fixture(scope="session")
def postgres_database(postgres_url: str) -> Iterator[str]:
    """URL of an empty database that belongs to this worker alone."""
    with database(postgres_url) as url:
        yield url
