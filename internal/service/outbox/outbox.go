// SPDX-License-Identifier: Apache-2.0

// Package outbox writes mail and SMS into a folder instead of sending them, one
// file each, for development and tests. The files hold codes in plain text: it
// is not for service.
package outbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/accountlock/accountlock/internal/service/account"
)

// Config says where messages go.
type Config struct {
	// Dir is the folder; it is made, mode 0700, if it is not there.
	Dir string
	// Console, if set, is written each message too.
	Console io.Writer
	// Now is the time; time.Now by default.
	Now func() time.Time
}

// Outbox writes messages into a folder. It is safe for concurrent use.
type Outbox struct {
	dir     string
	console io.Writer
	now     func() time.Time

	mu   sync.Mutex
	last time.Time
}

var _ account.Notifier = (*Outbox)(nil)

// New returns an Outbox on its folder.
func New(cfg Config) (*Outbox, error) {
	if cfg.Dir == "" {
		return nil, errors.New("cannot keep an outbox without a folder")
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the outbox: %w", err)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Outbox{dir: cfg.Dir, console: cfg.Console, now: cfg.Now}, nil
}

// Send implements account.Notifier. The file is whole or not there: it has the
// fields To, Channel, Subject (of mail) and Date (RFC 3339), one a line, an
// empty line, and the text. Its name begins with the time in UTC, so that names
// sort as messages were sent.
func (o *Outbox) Send(_ context.Context, m account.Message) error {
	if strings.ContainsAny(m.To+m.Subject, "\r\n") {
		// fails closed: a line break would begin a field of somebody else's choice.
		return errors.New("cannot write a message: its address or subject has a line break")
	}
	at := o.stamp()
	var b strings.Builder
	fmt.Fprintf(&b, "To: %s\nChannel: %s\n", m.To, m.Channel)
	if m.Subject != "" {
		fmt.Fprintf(&b, "Subject: %s\n", m.Subject)
	}
	fmt.Fprintf(&b, "Date: %s\n\n%s", at.Format(time.RFC3339), m.Text)
	if !strings.HasSuffix(m.Text, "\n") {
		b.WriteByte('\n')
	}
	name := at.Format("20060102T150405.000000000Z") + "-" + string(m.Channel) + "-" + strings.ToLower(rand.Text()[:6]) + ".txt"
	if err := o.write(name, b.String()); err != nil {
		return fmt.Errorf("cannot write a message to the outbox: %w", err)
	}
	return o.print(b.String())
}

// stamp is the time, later than that of the message before.
func (o *Outbox) stamp() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.now().UTC()
	if !t.After(o.last) {
		t = o.last.Add(1)
	}
	o.last = t
	return t
}

func (o *Outbox) write(name, text string) error {
	f, err := os.CreateTemp(o.dir, ".*.part") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(o.dir, name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(o.dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (o *Outbox) print(text string) error {
	if o.console == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	_, err := fmt.Fprintf(o.console, "--- sent ---\n%s---\n", text)
	return err
}
