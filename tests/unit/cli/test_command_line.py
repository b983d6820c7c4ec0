import subprocess
import sys
from pathlib import Path

import pytest

import splittraining.local
from splittraining.api.errors import DataInvalid
from splittraining.api.exit_codes import ExitCode
from splittraining.cli.main import main, render_error
from splittraining.local.results import write_results
from support.report_support import build_metric_lines, build_record

FORBIDDEN = (
    "torch", "grpc", "numpy", "aiohttp", "kubernetes", "rich",
    "splittraining.cluster", "splittraining.party", "splittraining.local",
)  # fmt: skip


def test_the_command_line_imports_nothing_heavy():
    code = f"import sys, splittraining.cli.main; print([name for name in {FORBIDDEN!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("command", ["run", "validate", "plan", "report", "status", "logs", "fetch"])
def test_no_command_imports_torch_or_the_party(command):
    code = (
        f"import sys, splittraining.cli.{command}_command; "
        "print([name for name in ('torch', 'grpc', 'numpy', 'splittraining.party') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_party_is_named_in_one_place_of_local_only():
    folder = Path(splittraining.local.__file__).parent
    assert [path.name for path in folder.glob("*.py") if "splittraining.party" in path.read_text()] == ["launcher.py"]


@pytest.mark.parametrize("arguments", [[], ["run"], ["destroy"], ["plan", "-f"]], ids=repr)
def test_a_wrong_command_line_ends_with_usage(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == ExitCode.USAGE
    assert "usage: splittraining" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--debug", "report", "x"], ["report", "--debug", "x"]], ids=" ".join)
def test_a_traceback_is_shown_with_debug_before_or_after_the_command(arguments, capsys):
    assert main(arguments) == ExitCode.USAGE
    assert "Traceback" in capsys.readouterr().err


def test_without_debug_an_error_is_one_line_with_a_remedy(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == ExitCode.USAGE
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "To do: give the run's name, or its folder." in error


def test_an_error_without_a_remedy_gets_its_codes():
    assert render_error(DataInvalid("no rows"), ExitCode.DATA_INVALID).startswith("no rows. To do: Change the data")


def test_an_error_nobody_thought_of_asks_for_a_report():
    rendered = render_error(ZeroDivisionError("x"), ExitCode.INTERNAL)
    assert rendered.startswith("ZeroDivisionError: x. To do: This is a fault")


def test_a_report_is_rendered_again_from_the_run_folder(tmp_path, capsys):
    folder = tmp_path / "chest-xray"
    (folder / "server").mkdir(parents=True)
    (folder / "server" / "metrics.jsonl").write_text("\n".join(build_metric_lines()))
    path = write_results(build_record(), folder)
    written = path.read_text()
    path.unlink()
    assert main(["report", "chest-xray", "--runs", str(tmp_path)]) == ExitCode.OK
    assert capsys.readouterr().out == written == path.read_text()
    assert main(["report", str(folder)]) == ExitCode.OK


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    folder = tmp_path / "xray"
    folder.mkdir()
    # More than a pipe holds, so that the writer is still writing when the reader goes.
    write_results(build_record(versions={f"package-{index}": "1" * 60 for index in range(3000)}), folder)
    command = f"{sys.executable} -m splittraining.cli.main report {folder} | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout == "# Split training trial/chest-xray\n"
    assert (done.returncode, done.stderr) == (0, "")
