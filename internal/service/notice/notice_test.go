// SPDX-License-Identifier: Apache-2.0

package notice_test

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/notice"
	"github.com/accountlock/accountlock/internal/service/store"
	"github.com/accountlock/accountlock/internal/service/store/storetest"
)

type mailbox struct {
	mu    sync.Mutex
	sent  []device.Notice
	fails error
	// took gets one for each that was sent.
	took chan struct{}
}

func (m *mailbox) send(_ context.Context, n device.Notice) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails == nil {
		m.sent = append(m.sent, n)
		m.took <- struct{}{}
	}
	return m.fails
}

func queue(t *testing.T) (*notice.Queue, *mailbox, *store.DB, *apitest.Clock) {
	t.Helper()
	db := storetest.Open(t, nil)
	clock, box := apitest.NewClock(), &mailbox{took: make(chan struct{}, 1000)}
	return notice.New(db, box.send, clock.Now), box, db, clock
}

var errUndo = errors.New("undone")

func put(t *testing.T, q *notice.Queue, db *store.DB, result error) {
	t.Helper()
	err := db.Tx(t.Context(), func(tx *sql.Tx) error {
		if err := q.Put(t.Context(), tx, device.Notice{AccountID: "12345678", Kind: device.NoticeLost, DeviceID: "d"}); err != nil {
			return err
		}
		return result
	})
	if !errors.Is(err, result) {
		t.Fatal(err)
	}
}

func TestANoticeIsOfAChangeThatHappened(t *testing.T) {
	q, box, db, _ := queue(t)
	put(t, q, db, errUndo)
	put(t, q, db, nil)
	for range 2 {
		if err := q.Deliver(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(box.sent) != 1 || box.sent[0].DeviceID != "d" {
		t.Errorf("sent: %+v, want one", box.sent)
	}
}

func TestANoticeThatCannotBeSentIsSentLater(t *testing.T) {
	q, box, db, clock := queue(t)
	put(t, q, db, nil)
	box.fails = errors.New("the mail server is down")
	if err := q.Deliver(t.Context()); !errors.Is(err, box.fails) {
		t.Errorf("got %v", err)
	}
	down := box.fails
	box.fails = nil
	if err := q.Deliver(t.Context()); err != nil || len(box.sent) != 0 {
		t.Errorf("sent again at once: %v, %v", box.sent, err)
	}
	clock.Advance(2 * time.Minute)
	if err := q.Deliver(t.Context()); err != nil || len(box.sent) != 1 {
		t.Errorf("sent later: %v, %v", box.sent, err)
	}
	t.Run("but not for ever", func(t *testing.T) {
		put(t, q, db, nil)
		box.fails = down
		clock.Advance(100 * time.Hour)
		if err := q.Deliver(t.Context()); !errors.Is(err, down) {
			t.Errorf("giving it up is not told: %v", err)
		}
		clock.Advance(2 * time.Minute)
		if err := q.Deliver(t.Context()); err != nil {
			t.Errorf("it is still there: %v", err)
		}
	})
}

func TestManyNoticesAreSentOnceByManyServers(t *testing.T) {
	q, box, db, clock := queue(t)
	const n = 250
	for range n {
		put(t, q, db, nil)
	}
	other := notice.New(db, box.send, clock.Now)
	var all sync.WaitGroup
	for _, q := range []*notice.Queue{q, other} {
		all.Go(func() {
			if err := q.Deliver(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(box.sent) != n {
		t.Errorf("%d were sent, want %d", len(box.sent), n)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	q, box, db, _ := queue(t)
	put(t, q, db, nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		q.Run(ctx, func(err error) { t.Error(err) })
	}()
	<-box.took
	put(t, q, db, nil)
	q.Kick()
	q.Kick()
	<-box.took
	cancel()
	<-ended
}
