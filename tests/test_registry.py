import pytest

from counterpoise.errors import UserError
from counterpoise.registry import Registry


def test_looks_up_and_lists_in_order():
    table = Registry("thing", ("b", 2), ("a", 1))
    assert table["a"] == 1
    assert list(table) == ["b", "a"]
    assert len(table) == 2
    assert "b" in table
    assert "c" not in table


def test_unknown_name_lists_the_known_ones():
    table = Registry("thing", ("b", 2), ("a", 1))
    with pytest.raises(UserError, match="unknown thing 'c'; known: b, a"):
        table["c"]


def test_duplicate_is_refused():
    with pytest.raises(AssertionError, match="registered twice"):
        Registry("thing", ("a", 1), ("a", 2))
