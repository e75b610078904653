// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
)

// restName is a file in the state directory that says that nothing needs the daemon:
// accountlock-checkin.timer does not run while it is there. A daemon that leaves makes
// it, and it is gone before anything begins that a check-in has to follow, so that a
// crash leaves a device that is woken once too often. Of a linked device it is never
// left over: a /var of before the link has another marker, and locks.
const restName = "unlinked"

// rests reports whether nothing needs the daemon: the device is unlinked, the account
// service has said so since the last reset, and nothing is under way.
func (p *parts) rests() bool {
	s := p.keeper.Snapshot()
	return s.Status.State == lock.Unlinked && s.LastCheckIn > 0 && !p.flows.Busy()
}

// word is the file, in the state directory dir.
type word struct {
	// mu makes the word and what it is about one: nothing begins in between.
	mu  sync.Mutex
	dir string
}

// rest leaves the word for systemd, or takes it back.
func (p *parts) rest() {
	p.word.mu.Lock()
	defer p.word.mu.Unlock()
	var err error
	if p.rests() {
		err = p.word.leave()
	} else {
		err = p.word.takeBack()
	}
	if err != nil {
		p.log.Warn("cannot say whether the device need be woken for check-ins", "error", err)
	}
}

// leave makes the file; one that is there is not touched, since systemd would look anew.
func (w *word) leave() error {
	f, err := os.OpenFile(filepath.Join(w.dir, restName), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// takeBack removes the file, and does not return before that is on the disk.
func (w *word) takeBack() error {
	err := os.Remove(filepath.Join(w.dir, restName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	d, err := os.Open(w.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// waking is a journal with whose operations the check-ins begin again.
type waking struct {
	flow.Journal

	word *word
}

// Begin implements flow.Journal.
func (w waking) Begin(ctx context.Context, op flow.Operation) error {
	w.word.mu.Lock()
	defer w.word.mu.Unlock()
	// fails closed: a link that no check-in would follow is not made.
	if err := w.word.takeBack(); err != nil {
		return fault.New(fault.StorageFailed, err)
	}
	return w.Journal.Begin(ctx, op)
}
