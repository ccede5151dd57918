"""Imports run one way, from the top layer to the bottom; functions and files stay short."""

from architecture import FACE, HEIGHT, arrows, group, long_files, long_functions, modules


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


def test_no_function_is_longer_than_allowed():
    assert not long_functions()


def test_no_file_is_longer_than_allowed():
    assert not long_files()
