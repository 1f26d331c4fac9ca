"""A screen reader reads and operates the window of the standalone program, by AT-SPI."""

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

import support
from desktop import PERIOD, Desktop
from screenshot import TITLE
from test_standalone import standalone

SYSTEM_PYTHON = "/usr/bin/python3"
"""Has the bindings of AT-SPI, which come with the system."""
READER = Path(__file__).with_name("screen_reader.py")
TIMEOUT = 200


@pytest.fixture(scope="module")
def read(tmp_path_factory) -> dict:
    """What the screen reader found."""
    # The services of AT-SPI write settings.
    settings = {"XDG_CONFIG_HOME": str(tmp_path_factory.mktemp("settings"))}
    with Desktop(support.environment() | settings) as desktop:
        desktop.start_session_bus()
        program = standalone()
        desktop.start(program, "--backend", "jack", "--period-size", PERIOD)
        desktop.window(TITLE)
        command = [SYSTEM_PYTHON, str(READER), program.name]
        done = subprocess.run(command, env=desktop.environment, capture_output=True, text=True, timeout=TIMEOUT)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def test_window_is_reported_only_to_a_screen_reader(read):
    assert standalone().name not in read["before"]


def test_every_control_has_a_role_a_name_and_a_value(read):
    controls = [node for node in read["tree"] if node["actions"] or node["focusable"]]
    assert len(controls) > 20, controls
    for control in controls:
        assert control["name"].strip() and control["role"] not in ("unknown", "filler", "panel"), control
    for node in read["tree"]:
        if node["role"] in ("slider", "level bar"):
            low, high = node["range"]
            assert low <= node["value"] <= high and low < high, node
        if node["role"] == "entry":
            assert node["text"] is not None, node


def test_controls_have_the_roles_of_what_they_do(read):
    roles = Counter(node["role"] for node in read["tree"])
    # Eight slots, two modes, two outputs and three views of the spectrogram.
    expected = {"frame": 1, "entry": 1, "slider": 6, "level bar": 4, "check box": 2, "radio button": 15}
    assert {role: roles[role] for role in expected} == expected, roles


def test_controls_are_inside_the_window_on_the_screen(read):
    (window,) = [node["box"] for node in read["tree"] if node["role"] == "frame"]
    left, top, width, height = window
    assert width >= 560 and height >= 360, window
    for node in read["tree"]:
        if node["role"] in ("slider", "entry", "check box"):
            x, y, wide, high = node["box"]
            assert left <= x and top <= y and x + wide <= left + width and y + high <= top + height, (node, window)


def test_screen_reader_clicks_sets_a_value_and_types(read):
    assert read["removes"] and read["gain"] == -6.0
    assert read["slot"] == "Slot 1: a dog barking"
