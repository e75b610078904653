// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/i18n"
)

// toDBus maps an error onto its D-Bus error: name, and what happened with what
// to do now, in the person's language. What is foreign becomes Internal: a fixed sentence and an incident
// number outside, the cause in the journal.
func toDBus(err error, log *slog.Logger, lang *i18n.Printer) *dbus.Error {
	var own *dbus.Error
	if errors.As(err, &own) {
		return own
	}
	f := fault.As(err)
	text := sentence(f)
	if f.Code == fault.Internal {
		incident := newIncident()
		log.Error("internal error", "incident", incident, "error", f)
		text += " Incident " + incident + "."
	} else if f.Err != nil {
		log.Info("refused", "code", f.Code, "cause", f.Err)
	}
	return dbus.NewError(ErrorName(f.Code), []any{lang.Say(text)})
}

// sentence is what happened and what to do now, with the figures of this case.
func sentence(f *fault.Error) string {
	return happened(f) + " " + f.Remedy
}

// happened is the sentence of cause with the figures of this case.
func happened(f *fault.Error) string {
	var b strings.Builder
	b.WriteString(f.Message)
	switch {
	case f.Until > 0:
		fmt.Fprintf(&b, " It ends at %s.", time.Unix(f.Until, 0).UTC().Format("2006-01-02 15:04 UTC"))
	case f.RetryAfter > 0:
		fmt.Fprintf(&b, " The next attempt is taken in %s.", f.RetryAfter.Round(time.Second))
	case f.AttemptsLeft > 1:
		fmt.Fprintf(&b, " %d more tries are free of a wait.", f.AttemptsLeft)
	case f.AttemptsLeft == 1:
		b.WriteString(" One more try is free of a wait.")
	case f.AttemptsLeft == 0:
		b.WriteString(" The next wrong try brings a wait.")
	}
	if f.Hint != "" {
		fmt.Fprintf(&b, " It belongs to %s.", f.Hint)
	}
	return b.String()
}

// errorProperty is the value of a flow's property Error, (sssb).
type errorProperty struct {
	Name    string
	Message string
	Remedy  string
	Counted bool
}

func toProperty(f *fault.Error, lang *i18n.Printer) errorProperty {
	if f == nil {
		return errorProperty{}
	}
	return errorProperty{ErrorName(f.Code), lang.Say(happened(f)), lang.Say(f.Remedy), f.Counted}
}

func newIncident() string {
	b := make([]byte, 4)
	_, _ = rand.Read(b) // never fails (Go 1.24)
	return hex.EncodeToString(b)
}

// D-Bus's own errors, for calls that are wrong in form.
func errInvalidArgs(text string) *dbus.Error {
	return dbus.NewError("org.freedesktop.DBus.Error.InvalidArgs", []any{text})
}

func errUnknown(what, name string) *dbus.Error {
	return dbus.NewError("org.freedesktop.DBus.Error.Unknown"+what, []any{fmt.Sprintf("No such %s: %q", strings.ToLower(what), name)})
}

func errLimits(text string) *dbus.Error {
	return dbus.NewError("org.freedesktop.DBus.Error.LimitsExceeded", []any{text})
}
