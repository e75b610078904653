// SPDX-License-Identifier: Apache-2.0

package delivery_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/delivery"
	"github.com/accountlock/accountlock/internal/service/mail"
	"github.com/accountlock/accountlock/internal/service/store"
	"github.com/accountlock/accountlock/test/smtp"
)

// carrier keeps what it was given, and fails as told.
type carrier struct {
	mu    sync.Mutex
	got   map[string]account.Message
	tries map[string]int
	fail  func(n int) error
}

func (c *carrier) Carry(_ context.Context, id string, m account.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tries[id]++
	if c.fail != nil {
		if err := c.fail(c.tries[id]); err != nil {
			return err
		}
	}
	c.got[id] = m
	return nil
}

type rig struct {
	*delivery.Queue
	carrier *carrier
	clock   *apitest.Clock
	db      *store.DB
	path    string
	log     *apitest.Log
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{carrier: &carrier{got: map[string]account.Message{}, tries: map[string]int{}}, clock: apitest.NewClock(), log: &apitest.Log{}}
	r.path = filepath.Join(t.TempDir(), "db")
	var err error
	if r.db, err = store.Open(t.Context(), store.Config{Path: r.path}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.db.Close() })
	if err := r.db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Queue = r.another(t, r.carrier)
	return r
}

// another is a second server on the same database.
func (r *rig) another(t *testing.T, c delivery.Carrier) *delivery.Queue {
	t.Helper()
	q, err := delivery.New(delivery.Config{
		DB: r.db, Secret: bytes.Repeat([]byte("s"), 32), Now: r.clock.Now, Log: slog.New(slog.NewTextHandler(r.log, nil)),
		Carriers: map[account.Channel]delivery.Carrier{account.ChannelEmail: c},
	})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func (r *rig) waiting(t *testing.T) (n int) {
	t.Helper()
	err := r.db.Read(t.Context(), func(tx *sql.Tx) error { return tx.QueryRow(`SELECT COUNT(*) FROM messages`).Scan(&n) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (r *rig) deliver(t *testing.T) {
	t.Helper()
	if err := r.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) put(t *testing.T, m account.Message) {
	t.Helper()
	m.Channel = account.ChannelEmail
	if err := r.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func TestAMessageIsCarriedAndForgotten(t *testing.T) {
	r := newRig(t)
	want := account.Message{To: "jane@example.org", Channel: account.ChannelEmail, Subject: "s", Text: "code 123456"}
	r.put(t, want)
	r.deliver(t)
	if len(r.carrier.got) != 1 || r.waiting(t) != 0 {
		t.Fatalf("carried %v, waiting %d", r.carrier.got, r.waiting(t))
	}
	for id, got := range r.carrier.got {
		if got != want || len(id) < 20 {
			t.Errorf("%s: %+v", id, got)
		}
	}
}

func TestACodeIsNotReadableInTheDatabase(t *testing.T) {
	r := newRig(t)
	r.put(t, account.Message{To: "jane@example.org", Subject: "s", Text: "code 123456"})
	for _, name := range []string{r.path, r.path + "-wal"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("123456")) || bytes.Contains(b, []byte("jane@")) {
			t.Errorf("%s holds the message", name)
		}
	}
}

func TestAMessageThatCannotBeCarriedIsTriedWithGrowingPauses(t *testing.T) {
	r := newRig(t)
	down := errors.New("the server is down")
	r.carrier.fail = func(int) error { return down }
	r.put(t, account.Message{To: "jane@example.org"})
	var last time.Duration
	for try := range 8 {
		r.deliver(t)
		before := r.tries()
		r.deliver(t)
		if r.tries() != before {
			t.Fatal("it is tried again at once")
		}
		var pause time.Duration
		for pause = 0; r.tries() == before; pause += time.Second {
			r.clock.Advance(time.Second)
			r.deliver(t)
			if pause > time.Hour {
				t.Fatalf("no try number %d", try+2)
			}
		}
		if pause < last {
			t.Errorf("pause %s after %s", pause, last)
		}
		last = pause
	}
	r.carrier.fail = nil
	r.clock.Advance(time.Hour)
	r.deliver(t)
	if len(r.carrier.got) != 1 || r.waiting(t) != 0 {
		t.Errorf("carried %d, waiting %d", len(r.carrier.got), r.waiting(t))
	}
}

func (r *rig) tries() (n int) {
	for _, t := range r.carrier.tries {
		n += t
	}
	return n
}

func TestTheCarrierSaysWhenAndWhetherToTryAgain(t *testing.T) {
	r := newRig(t)
	r.carrier.fail = func(n int) error {
		if n == 1 {
			return backoff.RetryAfter(600)
		}
		return backoff.Permanent(errors.New("no such mailbox"))
	}
	r.put(t, account.Message{To: "jane@example.org"})
	r.deliver(t)
	r.clock.Advance(599 * time.Second)
	r.deliver(t)
	if r.tries() != 1 || r.waiting(t) != 1 {
		t.Fatalf("%d tries, %d waiting before its time", r.tries(), r.waiting(t))
	}
	r.clock.Advance(2 * time.Second)
	r.deliver(t)
	if r.tries() != 2 || r.waiting(t) != 0 || !strings.Contains(r.log.String(), "no such mailbox") {
		t.Fatalf("%d tries, %d waiting:\n%s", r.tries(), r.waiting(t), r.log)
	}
	if strings.Contains(r.log.String(), "jane") {
		t.Error("the log names the address")
	}
}

func TestAMessageIsNotSentAfterItsTime(t *testing.T) {
	r := newRig(t)
	r.put(t, account.Message{To: "jane@example.org", Until: r.clock.Now().Add(10 * time.Minute)})
	r.put(t, account.Message{To: "other@example.org"})
	r.clock.Advance(11 * time.Minute)
	r.deliver(t)
	if len(r.carrier.got) != 1 || r.waiting(t) != 0 {
		t.Errorf("carried %v, waiting %d", r.carrier.got, r.waiting(t))
	}
}

func TestManyServersCarryEachMessageOnce(t *testing.T) {
	r := newRig(t)
	other := r.another(t, r.carrier)
	const n = 100
	for i := range n {
		r.put(t, account.Message{To: fmt.Sprintf("p%d@example.org", i)})
	}
	var all sync.WaitGroup
	for _, q := range []*delivery.Queue{r.Queue, other} {
		all.Go(func() {
			if err := q.Deliver(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(r.carrier.got) != n || r.tries() != n || r.waiting(t) != 0 {
		t.Errorf("%d messages, %d tries, %d waiting", len(r.carrier.got), r.tries(), r.waiting(t))
	}
}

func TestAServerThatHangsLeavesItsMessagesToTheOthers(t *testing.T) {
	r := newRig(t)
	taken, release := make(chan struct{}), make(chan struct{})
	hung := r.another(t, carrierFunc(func(context.Context, string, account.Message) error {
		close(taken)
		<-release
		return errors.New("killed")
	}))
	r.put(t, account.Message{To: "jane@example.org"})
	var all sync.WaitGroup
	all.Go(func() { _ = hung.Deliver(t.Context()) })
	<-taken
	r.deliver(t)
	if len(r.carrier.got) != 0 {
		t.Error("it was taken while the other may still be at it")
	}
	r.clock.Advance(3 * time.Minute)
	r.deliver(t)
	if len(r.carrier.got) != 1 || r.waiting(t) != 0 {
		t.Errorf("carried %d, waiting %d", len(r.carrier.got), r.waiting(t))
	}
	close(release)
	all.Wait()
}

type carrierFunc func(context.Context, string, account.Message) error

func (f carrierFunc) Carry(ctx context.Context, id string, m account.Message) error {
	return f(ctx, id, m)
}

func TestTheQueueIsBounded(t *testing.T) {
	r := newRig(t)
	err := r.db.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO messages (id, channel, sealed, tries, next_at, expires_at, created_at)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) SELECT i, 'email', '', 0, $2, $2, 0 FROM n`,
			delivery.MaxWaiting, int64(1)<<60)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	err = r.Send(t.Context(), account.Message{To: "jane@example.org", Channel: account.ChannelEmail})
	if fault.CodeOf(err) != fault.ServiceUnavailable {
		t.Fatalf("got %v", err)
	}
}

func TestWhatCannotBeSentIsRefusedAtOnce(t *testing.T) {
	r := newRig(t)
	for name, m := range map[string]account.Message{
		"no gateway":                 {To: "+4915155501042", Channel: account.ChannelSMS},
		"a line break in an address": {To: "x@example.org\r\nBcc: y@example.org", Channel: account.ChannelEmail},
		"a line break in a subject":  {To: "x@example.org", Subject: "a\nb", Channel: account.ChannelEmail},
	} {
		if err := r.Send(t.Context(), m); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if n := r.waiting(t); n != 0 {
		t.Errorf("%d are waiting", n)
	}
}

func TestMailWaitsForAServerThatComesBack(t *testing.T) {
	r := newRig(t)
	server := smtp.Start(t, "starttls", false)
	gone := smtp.Start(t, "starttls", false)
	gone.Stop()
	newSender := func(s *smtp.Server) *mail.Sender {
		m, err := mail.New(mail.Config{
			Host: "127.0.0.1", Port: s.Port, Security: mail.StartTLS, Roots: s.Roots(t), From: "a@example.org", Timeout: time.Minute,
		})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	r.put(t, account.Message{To: "jane@example.org", Subject: "Your code", Text: "123456"})
	if err := r.another(t, newSender(gone)).Deliver(t.Context()); err != nil || r.waiting(t) != 1 {
		t.Fatalf("%v, %d waiting", err, r.waiting(t))
	}
	r.clock.Advance(time.Minute)
	if err := r.another(t, newSender(server)).Deliver(t.Context()); err != nil || r.waiting(t) != 0 {
		t.Fatalf("%v, %d waiting", err, r.waiting(t))
	}
	if mails := server.Await(t, 1); len(mails) != 1 || !strings.Contains(mails[0].Data, "123456") {
		t.Errorf("got %v", mails)
	}
}
