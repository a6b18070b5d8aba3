"""What `accelsim` promises is what can be imported from it, and no more."""

from importlib import import_module
from inspect import getmodule

import pytest

import accelsim


def test_all_names_can_be_imported():
    assert [name for name in accelsim.__all__ if not hasattr(accelsim, name)] == []


def test_all_is_sorted_and_is_what_dir_shows():
    assert accelsim.__all__ == sorted(accelsim.__all__)
    assert dir(accelsim) == accelsim.__all__


def test_star_import_takes_all_and_nothing_else():
    names: dict[str, object] = {}
    exec("from accelsim import *", names)
    assert sorted(names.keys() - {"__builtins__"}) == accelsim.__all__


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        _ = accelsim.simulat


@pytest.mark.parametrize("name", accelsim.__all__)
def test_every_public_name_is_documented_where_it_is_defined(name):
    thing = getattr(accelsim, name)
    assert thing.__doc__
    module = getmodule(thing)
    assert module is not None
    assert getattr(import_module(module.__name__), name) is thing


def test_the_package_is_typed():
    from accelsim.base.resources import PACKAGE

    assert (PACKAGE / "py.typed").is_file()
