"""What the pages and the examples take for granted, made once."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # a conftest may be read before the hook that checks signatures is in place
    from presupposed import Stock


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> "Stock":
    from presupposed import Stock

    return Stock(tmp_path_factory.mktemp("stock"))
