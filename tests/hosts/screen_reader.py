"""Reads and operates Sift's window as a screen reader does, by AT-SPI, and prints what it finds as JSON.

The system's Python runs this program, because the bindings come with the system (`apt-get install python3-gi
gir1.2-atspi-2.0 at-spi2-core`):

/usr/bin/python3 tests/hosts/screen_reader.py APPLICATION
"""

import json
import sys
import time

import gi

gi.require_version("Atspi", "2.0")
from gi.repository import Atspi, Gio, GLib  # noqa: E402 (the version comes first)

TIMEOUT = 30.0
"""Seconds that a change of the window may take."""
POLL_INTERVAL = 0.1
TEXT = "a dog barking"
GAIN = -6.0


def turn_on() -> None:
    """Tells applications that a screen reader runs."""
    bus = Gio.bus_get_sync(Gio.BusType.SESSION)
    value = GLib.Variant("(ssv)", ("org.a11y.Status", "IsEnabled", GLib.Variant("b", True)))
    bus.call_sync("org.a11y.Bus", "/org/a11y/bus", "org.freedesktop.DBus.Properties", "Set", value, None, 0, -1, None)


def until(find, what: str):
    """The first true value of `find()`, which is polled."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        try:
            if value := find():
                return value
        except GLib.Error:
            pass  # The part of the window that was read is gone.
        time.sleep(POLL_INTERVAL)
    sys.exit(f"{what} did not appear within {TIMEOUT:.0f} s")


def children(node):
    return [child for index in range(node.get_child_count()) if (child := node.get_child_at_index(index))]


def applications() -> list:
    desktop = Atspi.get_desktop(0)
    desktop.set_cache_mask(Atspi.Cache.NONE)
    return children(desktop)


def nodes(node) -> list:
    """`node` and all that is in it."""
    return [node] + [below for child in children(node) for below in nodes(child)]


def describe(node) -> dict:
    """Role, name, value, text, states and number of actions of a node, and its rectangle on the screen."""
    states = node.get_state_set()
    has = {state.value_nick: states.contains(state) for state in (Atspi.StateType.CHECKED, Atspi.StateType.FOCUSABLE)}
    value, text, action = node.get_value_iface(), node.get_text_iface(), node.get_action_iface()
    box = node.get_component_iface() and Atspi.Component.get_extents(node, Atspi.CoordType.SCREEN)
    return {
        "role": node.get_role_name(),
        "name": node.get_name(),
        "value": Atspi.Value.get_current_value(value) if value else None,
        "range": [Atspi.Value.get_minimum_value(value), Atspi.Value.get_maximum_value(value)] if value else None,
        "text": Atspi.Text.get_text(text, 0, Atspi.Text.get_character_count(text)) if text else None,
        "actions": Atspi.Action.get_n_actions(action) if action else 0,
        "box": [box.x, box.y, box.width, box.height] if box else None,
        **has,
    }


def main() -> None:
    name = sys.argv[1]
    Atspi.init()
    before = [application.get_name() for application in applications()]
    turn_on()
    application = until(lambda: next((it for it in applications() if it.get_name() == name), None), name)

    def find(role: str, label: str):
        matches = (it for it in nodes(application) if it.get_role_name() == role and it.get_name().startswith(label))
        return next(matches, None)

    until(lambda: find("slider", "Mask strength"), "the sliders")
    tree = [describe(node) for node in nodes(application)]

    Atspi.Action.do_action(until(lambda: find("radio button", "Remove"), "Remove"), 0)
    removes = until(lambda: describe(find("radio button", "Remove"))["checked"], "the selected mode")
    Atspi.Value.set_current_value(find("slider", "Output gain"), GAIN)
    gain = until(lambda: (it := describe(find("slider", "Output gain")))["value"] == GAIN and it["value"], "the gain")
    Atspi.EditableText.set_text_contents(find("entry", "Sound to separate"), TEXT)
    slot = until(lambda: (it := find("radio button", f"Slot 1: {TEXT}")) and it.get_name(), "the text in its slot")
    print(json.dumps({"before": before, "tree": tree, "removes": removes, "gain": gain, "slot": slot}))


if __name__ == "__main__":
    main()
