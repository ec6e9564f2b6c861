"""A pytest plugin: with CI=true in the environment a skipped test fails the run.

A test that lacks a tool skips, so that anyone can run the rest; CI has every tool, and there a
skip would hide that something is no longer tested.
"""

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("CI") == "true":
        config.pluginmanager.register(NoSkips(), "no-skips")


class NoSkips:
    def __init__(self) -> None:
        self.skipped: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def _note(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        # A test that fails as xfail says it should is reported as skipped too.
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = report.longrepr
        if isinstance(reason, tuple):
            reason = reason[2].removeprefix("Skipped: ")
        self.skipped.append(f"{report.nodeid}: {reason}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.skipped and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.skipped:
            terminalreporter.section("CI: skipped tests are failures", red=True)
            for line in self.skipped:
                terminalreporter.line(line)
