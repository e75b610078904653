#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A settings page for accountlock: who is signed in, sign out, unlink.

An example to read and to copy from. The upper half (Account, Flow) speaks D-Bus and
needs no window; the lower half (Page) draws with GTK 4. A flow is drawn step by step,
whatever its steps are: this program knows neither sign-out nor unlink in advance.

    ./accountlock-settings.py             the page
    ./accountlock-settings.py --status    what the page would show, in words
"""
import locale
import sys
import time

import gi
from gi.repository import Gio, GLib

NAME = "org.accountlock.AccountLock1"
PATH = "/org/accountlock/AccountLock1"
MANAGER = NAME + ".Manager"
FLOW = NAME + ".Flow"
ERROR = NAME + ".Error."

# Submit answers within 30 s; where polkit asks a person, that person needs time.
CALL_TIMEOUT = 5 * 60 * 1000


def failure(error):
    """The name and the sentences of a D-Bus error, as the daemon gave them."""
    name = Gio.DBusError.get_remote_error(error) or ""
    Gio.DBusError.strip_remote_error(error)
    return name, error.message


class Account:
    """The Manager: the state of the device and of its account.

    changed() is called whenever something of it may be different, also when the daemon
    comes or goes: it leaves when it has nothing to do, and the next call starts it again.
    """

    def __init__(self, changed=lambda: None):
        self.proxy = Gio.DBusProxy.new_for_bus_sync(
            Gio.BusType.SYSTEM, Gio.DBusProxyFlags.GET_INVALIDATED_PROPERTIES, None, NAME, PATH, MANAGER, None
        )
        self.proxy.connect("g-properties-changed", lambda *_: changed())
        self.proxy.connect("notify::g-name-owner", lambda *_: changed())

    def value(self, name):
        value = self.proxy.get_cached_property(name)
        return None if value is None else value.unpack()

    @property
    def state(self):
        """None is 'unknown', which a program must treat as locked."""
        return self.value("State")

    def details(self, done):
        """Ask for the account; done(dict or None) gets it. polkit may ask the person."""

        def answered(proxy, result):
            try:
                done(proxy.call_finish(result).unpack()[0])
            except GLib.Error:
                done(None)

        self.proxy.call("GetAccount", None, Gio.DBusCallFlags.ALLOW_INTERACTIVE_AUTHORIZATION, CALL_TIMEOUT, None, answered)

    def begin(self, method, changed, ended):
        """Begin SignOut or Unlink. Returns a Flow; raises GLib.Error."""
        language = (locale.getlocale()[0] or "en").replace("_", "-")
        options = {"locale": GLib.Variant("s", language)}
        path = self.proxy.call_sync(
            method, GLib.Variant("(a{sv})", (options,)), Gio.DBusCallFlags.ALLOW_INTERACTIVE_AUTHORIZATION, CALL_TIMEOUT, None
        ).unpack()[0]
        return Flow(self.proxy.get_connection(), path, changed, ended)


class Flow:
    """One conversation with the daemon. It belongs to this bus connection and ends with it,
    save while it is working: what has begun is carried to its end."""

    def __init__(self, bus, path, changed, ended):
        # No name but the owner's own: nobody who takes the name later gets an answer.
        self.proxy = Gio.DBusProxy.new_sync(
            bus, Gio.DBusProxyFlags.GET_INVALIDATED_PROPERTIES, None, NAME, path, FLOW, None
        )
        self.proxy.connect("g-properties-changed", lambda *_: changed())
        self.proxy.connect("g-signal", self._signal, ended)

    @staticmethod
    def _signal(_proxy, _sender, name, parameters, ended):
        if name == "Finished":
            ended(*parameters.unpack())  # done, failed or cancelled; and the result

    def value(self, name):
        value = self.proxy.get_cached_property(name)
        return None if value is None else value.unpack()

    @property
    def step(self):
        return self.value("Step")

    @property
    def prompt(self):
        return self.value("Prompt") or {}

    @property
    def fields(self):
        """(name, type, required) of each thing to type: text, password, code or bool."""
        return self.prompt.get("fields", [])

    @property
    def error(self):
        """(name, what happened, what to do, whether it counted) of the last refusal."""
        return self.value("Error") or ("", "", "", False)

    def submit(self, answer, done):
        """Answer the step; done(None) or done((name, sentences)). Secrets go as bytes."""
        variants = {}
        for name, kind, _required in self.fields:
            value = answer.get(name)
            if value in (None, ""):
                continue
            if kind == "bool":
                variants[name] = GLib.Variant("b", value)
            elif kind in ("password", "code"):
                variants[name] = GLib.Variant("ay", value.encode())
            else:
                variants[name] = GLib.Variant("s", value)

        def answered(proxy, result):
            try:
                proxy.call_finish(result)
                done(None)
            except GLib.Error as error:
                done(failure(error))

        self.proxy.call("Submit", GLib.Variant("(a{sv})", (variants,)), Gio.DBusCallFlags.NONE, CALL_TIMEOUT, None, answered)

    def cancel(self):
        try:
            self.proxy.call_sync("Cancel", None, Gio.DBusCallFlags.NONE, 5000, None)
        except GLib.Error:
            pass  # it was over, or can no longer be stopped


WORDS = {
    "linked": "This device is signed in, and locked to the account after a reset.",
    "signed-out": "The account is signed out of this device.",
    "unlinked": "This device belongs to no account.",
    "locked": "This device is locked.",
    None: "The state is not known. Treat the device as locked.",
}


def status():
    """Print what the page would show."""
    account = Account()
    print(WORDS.get(account.state, WORDS[None]))
    if account.value("AccountHint"):
        print("Account: " + account.value("AccountHint"))
    print("Device ID: " + (account.value("DeviceId") or "none yet"))
    return 0 if account.state else 1


def page():
    gi.require_version("Gtk", "4.0")
    from gi.repository import Gtk  # only here: --status needs no display

    class Page(Gtk.ApplicationWindow):
        """Who is signed in, two buttons, and below them the flow that was begun."""

        def __init__(self, application):
            super().__init__(application=application, title="Account", default_width=420, default_height=480)
            self.flow = None
            self.box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=12)
            for side in ("top", "bottom", "start", "end"):
                getattr(self.box, "set_margin_" + side)(18)
            self.set_child(self.box)
            self.account = Account(self.draw)
            self.details = None
            self.account.details(self.known)

        def known(self, details):
            self.details = details
            self.draw()

        # Drawing: from what the daemon says now, never from what was clicked.
        def draw(self):
            while child := self.box.get_first_child():
                self.box.remove(child)
            if self.flow:
                self.draw_flow()
            else:
                self.draw_state()

        def say(self, text, style=None):
            label = Gtk.Label(label=text, wrap=True, xalign=0, selectable=True)
            if style:
                label.add_css_class(style)
            self.box.append(label)

        def button(self, text, clicked, style=None):
            button = Gtk.Button(label=text)
            button.connect("clicked", lambda _: clicked())
            if style:
                button.add_css_class(style)
            self.box.append(button)

        def draw_state(self):
            state = self.account.state
            self.say(WORDS.get(state, WORDS[None]), "heading")
            if self.details:
                self.say("Account ID: " + self.details["account-id"])
                self.say("Known as: " + ", ".join(self.details["identifiers"]))
                self.say("Signed in since: " + time.strftime("%x", time.localtime(self.details["signed-in"])))
            self.say("Device ID: " + (self.account.value("DeviceId") or "none yet"))
            if state == "linked":
                self.button("Sign out…", lambda: self.begin("SignOut"))
            if state in ("linked", "signed-out"):
                self.button("Unlink to give it away…", lambda: self.begin("Unlink"), "destructive-action")

        def begin(self, method):
            try:
                self.flow = self.account.begin(method, self.draw, self.ended)
            except GLib.Error as error:
                self.say(failure(error)[1], "error")
                return
            self.draw()

        def draw_flow(self):
            prompt = self.flow.prompt
            self.say(prompt.get("title", self.flow.step or ""), "heading")
            if prompt.get("text"):
                self.say(prompt["text"])
            for consequence in prompt.get("consequences", []):
                self.say("• " + consequence)
            _name, happened, remedy, counted = self.flow.error
            if happened:
                self.say(happened, "error")
                self.say(remedy)
                if self.flow.fields:
                    self.say("This counted as an attempt." if counted else "This did not count as an attempt.")
            if self.flow.step == "working":
                progress = Gtk.ProgressBar(fraction=max(self.flow.value("Progress") or 0, 0))
                self.box.append(progress)
                return
            entries = [(name, self.entry(name, kind)) for name, kind, _required in self.flow.fields]
            if entries:
                self.button("Go on", lambda: self.answer(entries), "suggested-action")
            self.button("Close" if self.flow.step in ("done", "failed") else "Cancel", self.close_flow)

        def entry(self, name, kind):
            if kind == "bool":
                tick = Gtk.CheckButton(label="I have read this")
                self.box.append(tick)
                return tick.get_active
            label = name.replace("-", " ").capitalize()  # yours is a word in the person's language
            if kind == "password":
                entry = Gtk.PasswordEntry(show_peek_icon=True, placeholder_text=label)
            else:
                entry = Gtk.Entry(placeholder_text=label)
            self.box.append(entry)
            return entry.get_text

        def answer(self, entries):
            self.box.set_sensitive(False)  # one answer at a time
            self.flow.submit({name: read() for name, read in entries}, self.answered)

        def answered(self, _refusal):
            self.box.set_sensitive(True)
            self.draw()  # a refusal stands in the flow's Error

        def ended(self, _outcome, result):
            if result.get("receipt"):
                print(result["receipt"])  # the signed word that the device is free: keep it
            self.details = None
            self.account.details(self.known)

        def close_flow(self):
            if self.flow.step not in ("done", "failed"):
                self.flow.cancel()
            self.flow = None
            self.draw()

    application = Gtk.Application(application_id="org.accountlock.SettingsExample", flags=Gio.ApplicationFlags.NON_UNIQUE)
    application.connect("activate", lambda a: Page(a).present())
    return application.run()


if __name__ == "__main__":
    locale.setlocale(locale.LC_ALL, "")
    sys.exit(status() if "--status" in sys.argv[1:] else page())
