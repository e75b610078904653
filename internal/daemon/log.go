// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
)

// messageIDs give the entries that an administrator or a vendor looks for a
// name that outlives their wording (systemd, 'Journal Message Catalogs';
// packaging/accountlock.catalog says what each means).
var messageIDs = map[string]string{
	"the daemon is ready":                                     "3f0d5c2ab6f24c4f9d0d64f8a1e9b701",
	"the state has changed":                                   "3f0d5c2ab6f24c4f9d0d64f8a1e9b702",
	"taking up an unfinished operation":                       "3f0d5c2ab6f24c4f9d0d64f8a1e9b703",
	"the record store is not as it should be":                 "3f0d5c2ab6f24c4f9d0d64f8a1e9b704",
	"the journal is damaged; it is kept aside and begun anew": "3f0d5c2ab6f24c4f9d0d64f8a1e9b705",
	"enrolled at the account service":                         "3f0d5c2ab6f24c4f9d0d64f8a1e9b706",
}

// NewLog returns the daemon's log: to the journal with message IDs where
// standard error is the journal's, as text to w elsewhere.
func NewLog(w io.Writer, level slog.Level) *slog.Logger {
	if ok, err := journal.StderrIsJournalStream(); ok && err == nil && journal.Enabled() {
		return slog.New(&journalHandler{level: level, send: journal.Send})
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// journalHandler writes slog records as journal entries: attributes become
// fields, in capitals, as `systemd.journal-fields` asks.
type journalHandler struct {
	level slog.Level
	send  func(message string, p journal.Priority, fields map[string]string) error
	attrs []slog.Attr
}

// Enabled implements slog.Handler.
func (h *journalHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

// Handle implements slog.Handler.
func (h *journalHandler) Handle(_ context.Context, r slog.Record) error {
	fields := map[string]string{}
	if id := messageIDs[r.Message]; id != "" {
		fields["MESSAGE_ID"] = id
	}
	var text strings.Builder
	text.WriteString(r.Message)
	add := func(a slog.Attr) bool {
		v := a.Value.Resolve().String()
		fields["ACCOUNTLOCK_"+fieldName(a.Key)] = v
		fmt.Fprintf(&text, " %s=%q", a.Key, v)
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)
	return h.send(text.String(), priority(r.Level), fields)
}

// WithAttrs implements slog.Handler.
func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &journalHandler{h.level, h.send, append(append([]slog.Attr{}, h.attrs...), attrs...)}
}

// WithGroup implements slog.Handler; the daemon uses no groups.
func (h *journalHandler) WithGroup(string) slog.Handler { return h }

func fieldName(key string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		default:
			return '_'
		}
	}, key)
}

func priority(l slog.Level) journal.Priority {
	switch {
	case l >= slog.LevelError:
		return journal.PriErr
	case l >= slog.LevelWarn:
		return journal.PriWarning
	case l >= slog.LevelInfo:
		return journal.PriInfo
	default:
		return journal.PriDebug
	}
}
