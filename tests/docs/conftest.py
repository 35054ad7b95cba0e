"""What the pages and the examples take for granted, made once."""

import pytest
from presupposed import Stock


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    return Stock(tmp_path_factory.mktemp("stock"))
