# SPDX-License-Identifier: Apache-2.0
"""Drives docs/settings-example as a person would: presses its buttons, types into its
entries, reads its labels. Run by settings_test.go:

    settings_drive.py EXAMPLE PICTURE WORD...

A WORD is  press:LABEL  type:TEXT  tick  see:TEXT  picture  and is tried until it is possible.
"""
import importlib.util
import subprocess
import sys

import gi

gi.require_version("Gtk", "4.0")
from gi.repository import GLib, Gtk

example, picture, words = sys.argv[1], sys.argv[2], sys.argv[3:]
spec = importlib.util.spec_from_file_location("settings", example)
settings = importlib.util.module_from_spec(spec)
spec.loader.exec_module(settings)

sys.argv = [example]
state = {"at": 0, "tries": 0, "code": 1}


def widgets(widget):
    yield widget
    child = widget.get_first_child()
    while child:
        yield from widgets(child)
        child = child.get_next_sibling()


def possible(word, window):
    what, _, text = word.partition(":")
    there = [w for w in widgets(window) if w.is_sensitive() and w.get_mapped()]
    if what == "see":
        return any(isinstance(w, Gtk.Label) and text in w.get_label() for w in there)
    if what == "press":
        for w in there:
            if isinstance(w, Gtk.Button) and not isinstance(w, Gtk.CheckButton) and (w.get_label() or "") == text:
                w.emit("clicked")
                return True
    if what == "tick":
        for w in there:
            if isinstance(w, Gtk.CheckButton):
                w.set_active(True)
                return True
    if what == "type":
        for w in there:
            if isinstance(w, (Gtk.PasswordEntry, Gtk.Entry)):
                w.set_text(text)
                return True
    if what == "picture":
        subprocess.run(["import", "-window", "root", picture], check=True)
        return True
    return False


def go_on():
    windows = Gtk.Window.get_toplevels()
    window = windows.get_item(0) if windows.get_n_items() else None
    if window and state["at"] < len(words) and possible(words[state["at"]], window):
        state["at"], state["tries"] = state["at"] + 1, 0
    state["tries"] += 1
    if state["at"] == len(words):
        state["code"] = 0
    elif state["tries"] < 1200:  # two minutes
        return True
    else:
        word = words[state["at"]].partition(":")
        print("not possible:", word[0], word[2] if word[0] != "type" else "…", file=sys.stderr)
        for w in widgets(window) if window else ():
            if isinstance(w, Gtk.Label):
                print("  ", w.get_label(), file=sys.stderr)
    window.get_application().quit()
    return False


GLib.timeout_add(100, go_on)
settings.page()
sys.exit(state["code"])
