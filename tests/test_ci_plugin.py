"""In CI a skipped test fails the run, and is named with its reason; elsewhere it does not."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent

SKIPS = {
    "test_call": """
import pytest
def test_it():
    pytest.skip("no nginx")
""",
    "test_mark": """
import pytest
@pytest.mark.skipif(True, reason="no nginx")
def test_it():
    pass
""",
    "test_fixture": """
import pytest
@pytest.fixture
def nginx():
    pytest.skip("no nginx")
def test_it(nginx):
    pass
""",
    "test_module": """
import pytest
pytest.skip("no nginx", allow_module_level=True)
""",
    "test_subtest": """
import pytest
def test_it(subtests):
    with subtests.test("a"):
        pytest.skip("no nginx")
""",
}

NO_SKIPS = {
    "test_passes": """
def test_it():
    pass
""",
    "test_expected_failure": """
import pytest
@pytest.mark.xfail(reason="known")
def test_it():
    assert False
""",
}


def run_pytest(
    folder: Path, tests: dict[str, str], ci: str | None
) -> subprocess.CompletedProcess[str]:
    """Run these tests with the project's settings, in a folder of their own."""
    for name, text in tests.items():
        (folder / f"{name}.py").write_text(text)
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "PYTEST_ADDOPTS")}
    if ci is not None:
        environment["CI"] = ci
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # but for ours, which the settings name
    settings = f"--config-file={PROJECT}/pyproject.toml"
    return subprocess.run(
        [sys.executable, "-m", "pytest", settings, f"--rootdir={folder}", folder],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_skips_fail_in_ci_and_are_named(tmp_path: Path) -> None:
    result = run_pytest(tmp_path, SKIPS | NO_SKIPS, ci="true")
    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stdout
    named = result.stdout.partition("CI: skipped tests are failures")[2]
    named_files = re.findall(r"^(test_\w+)\.py.*: no nginx$", named, re.MULTILINE)
    assert sorted(named_files) == sorted(SKIPS), result.stdout


def test_skips_pass_elsewhere(tmp_path: Path) -> None:
    result = run_pytest(tmp_path, SKIPS | NO_SKIPS, ci=None)
    assert result.returncode == pytest.ExitCode.OK, result.stdout
    assert "no nginx" in result.stdout


def test_no_skips_pass_in_ci(tmp_path: Path) -> None:
    result = run_pytest(tmp_path, NO_SKIPS, ci="true")
    assert result.returncode == pytest.ExitCode.OK, result.stdout
