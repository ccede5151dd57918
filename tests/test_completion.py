"""`isoq --print-completion`: a script with which a shell completes the command line."""

import shutil
import subprocess
import sys

import pytest

from isoq.cli import COMMANDS, main
from isoq.cli.completion import SHELLS

COMPLETE = """
source isoq.bash
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_shtab_isoq
printf '%s\\n' "${COMPREPLY[@]}"
"""


def script(capsys, shell: str) -> str:
    pytest.importorskip("shtab")
    with pytest.raises(SystemExit) as done:
        main(["--print-completion", shell])
    assert done.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_is_in_the_script(capsys, shell):
    text = script(capsys, shell)
    for name in COMMANDS:
        assert name in text
    assert "lossless-bands" in text


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_bash_completes_commands_options_choices_and_paths(tmp_path, capsys):
    (tmp_path / "isoq.bash").write_text(script(capsys, "bash"))
    (tmp_path / "scene.tif").touch()
    (tmp_path / "other.tif").touch()
    for words, expected in {
        "com": {"compress"},
        "compress --ms": {"--mse"},
        "compress --mask d": {"dataset"},
        "compress s": {"scene.tif"},
        "compress --out o": {"other.tif"},
        "bands mer": {"merge"},
        "compress --mse s": set(),
    }.items():
        call = ["bash", "-c", COMPLETE, "complete", "isoq", *words.split()]
        done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert (words, set(done.stdout.split())) == (words, expected)


def test_without_shtab_one_line_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["--print-completion", "bash"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "shtab" in line
    assert line.endswith("; pip install 'isoq[completion]'")


def test_a_shell_that_is_not_known_is_bad_usage(capsys):
    with pytest.raises(SystemExit) as done:
        main(["--print-completion", "cmd"])
    assert done.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    for shell in SHELLS:
        assert shell in line
