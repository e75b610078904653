// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
)

// lookEvery is how often, at most, a ring looks whether its directory changed:
// a rotation by another process is in use this much later.
const lookEvery = time.Second

// Ring signs with the newest set of a keys directory and follows its
// rotations. It is safe for concurrent use.
type Ring struct {
	dir   string
	now   func() time.Time
	state atomic.Pointer[state]
	// reload is held by the one who reads the directory again.
	reload sync.Mutex
}

type state struct {
	*content
	stamp  time.Time
	looked time.Time
}

// Open reads a directory that Init has made, and verifies its chain of sets.
// now tells the time. A directory without keys is fs.ErrNotExist, a broken
// chain ErrBrokenChain.
func Open(dir string, now func() time.Time) (*Ring, error) {
	r := &Ring{dir: dir, now: now}
	s, err := r.load()
	if err != nil {
		return nil, err
	}
	r.state.Store(s)
	return r, nil
}

// Sign returns v as JWS of the given type, signed with the first key of the
// newest set.
func (r *Ring) Sign(v any, typ string) (string, error) {
	s, err := r.current()
	if err != nil {
		return "", err
	}
	return s.signer.Sign(v, typ)
}

// Sets returns the signed sets with a number higher than after, oldest first.
func (r *Ring) Sets(after int64) ([]string, error) {
	s, err := r.current()
	if err != nil {
		return nil, err
	}
	// Set number n is at place n-1.
	from := min(max(after, 0), int64(len(s.sets)))
	return append([]string{}, s.sets[from:]...), nil
}

// DeviceFile returns what a device's image needs to trust this service.
func (r *Ring) DeviceFile() (DeviceFile, error) {
	s, err := r.current()
	if err != nil {
		return DeviceFile{}, err
	}
	return DeviceFile{Root: accountapi.NewJWK(s.root), Number: s.newest.Number, Keys: s.newest.Keys}, nil
}

// Rotate makes a new signing key and the set that brings it to the devices,
// signed by the key in use until now, and returns the new set's number. Of two
// rotations at one moment one is fs.ErrExist.
func (r *Ring) Rotate() (int64, error) {
	r.reload.Lock()
	defer r.reload.Unlock()
	s, err := r.load()
	if err != nil {
		return 0, err
	}
	next, err := addSet(r.dir, s.newest, s.signing)
	if err != nil {
		return 0, fmt.Errorf("cannot rotate the keys: %w", err)
	}
	if s, err = r.load(); err != nil {
		return 0, err
	}
	r.state.Store(s)
	return next.Number, r.forget(next)
}

// forget removes the private keys that sign nothing any more.
func (r *Ring) forget(newest accountapi.KeySet) error {
	keep := map[string]bool{rootKeyFile: true}
	for _, k := range newest.Keys {
		pub, err := k.PublicKey()
		if err != nil {
			return err
		}
		keep[accountapi.Thumbprint(pub)+keySuffix] = true
	}
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return fmt.Errorf("cannot list the keys: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), keySuffix) && !keep[e.Name()] {
			errs = append(errs, os.Remove(filepath.Join(r.dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// current returns the directory's content, not older than lookEvery. A
// directory that cannot be read at the moment leaves what was read before.
func (r *Ring) current() (*state, error) {
	s := r.state.Load()
	now := r.now()
	if now.Sub(s.looked) < lookEvery && !now.Before(s.looked) {
		return s, nil
	}
	if !r.reload.TryLock() {
		return s, nil
	}
	defer r.reload.Unlock()
	stamp, err := r.stamp()
	if err == nil && stamp.Equal(s.stamp) {
		fresh := *s
		fresh.looked = now
		r.state.Store(&fresh)
		return &fresh, nil
	}
	next, err := r.load()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// fails safe: a half-made rotation does not take the keys away.
		return s, nil
	case err != nil:
		return nil, err
	}
	r.state.Store(next)
	return next, nil
}

func (r *Ring) load() (*state, error) {
	stamp, err := r.stamp()
	if err != nil {
		return nil, err
	}
	c, err := read(r.dir)
	if err != nil {
		return nil, err
	}
	return &state{content: c, stamp: stamp, looked: r.now()}, nil
}

// stamp is the directory's time of change: every file comes there by a new name.
func (r *Ring) stamp() (time.Time, error) {
	info, err := os.Stat(r.dir)
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot look at the keys: %w", err)
	}
	return info.ModTime(), nil
}

// Trusted returns the keys of the newest set by their thumbprints: those that sign
// now and signed until the last rotation.
func (r *Ring) Trusted() (map[string]crypto.PublicKey, error) {
	s, err := r.current()
	if err != nil {
		return nil, err
	}
	out := map[string]crypto.PublicKey{}
	return out, trust(out, s.newest.Keys)
}
