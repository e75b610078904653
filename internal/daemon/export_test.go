// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"log/slog"

	"github.com/coreos/go-systemd/v22/journal"
)

// What the tests look at.
var (
	NewService = newService
	UntilNext  = untilNext
	UntilRetry = untilRetry
	MessageIDs = messageIDs
)

// NewJournalLog is the log to the journal, with send in place of its socket.
func NewJournalLog(level slog.Level, send func(string, journal.Priority, map[string]string) error) *slog.Logger {
	return slog.New(&journalHandler{level: level, send: send})
}
