"""Imports run one way: from the top of the house to its bottom."""

from architecture import FACE, HEIGHT, arrows, group, modules


def test_every_module_has_a_layer():
    assert {group(name) for name in modules()} - set(FACE) == set(HEIGHT)


def test_no_import_runs_upward():
    lowest = {name for name in HEIGHT if HEIGHT[name] == 0}
    wrong = {
        f"{a} imports {b}": places
        for (a, b), places in arrows().items()
        if HEIGHT[a] <= HEIGHT[b] and not {a, b} <= lowest
    }
    assert not wrong
