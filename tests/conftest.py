"""Prints the measured values of passed tests, whose output pytest hides."""


def pytest_terminal_summary(terminalreporter):
    for report in terminalreporter.getreports("passed"):
        for line in report.capstdout.splitlines():
            if line.startswith("measured:"):
                terminalreporter.write_line(f"{report.nodeid}: {line}")
