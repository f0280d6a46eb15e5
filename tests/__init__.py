"""The tests; shared pieces are imported from here, as in `from tests.fixtures import crm`."""

import pytest

# Before anything imports it: failing comparisons of the contract then show both sides.
pytest.register_assert_rewrite("crmkit.testing.contract")
