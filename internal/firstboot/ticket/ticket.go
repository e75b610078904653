// SPDX-License-Identifier: Apache-2.0

// Package ticket finds tickets on what somebody plugged in: files that hold an
// account service's signed word. It mounts nothing, and it does not judge what it
// finds: the daemon does.
package ticket

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"

	"github.com/accountlock/accountlock/internal/busclient"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/secret"
)

// Places are where removable media are mounted, by those who mount them.
func Places() []string {
	return []string{"/run/media/*/*", "/run/media/*", "/media/*/*", "/media/*", "/mnt"}
}

// Bounds: a stick may hold anything.
const (
	maxSize   = 4096 // what the daemon takes
	maxFiles  = 2000
	maxFound  = 9
	maxPlaces = 32
)

// Ticket is a file that may hold one.
type Ticket struct {
	// Name of the file, without its folder.
	Name string
	path string
}

// Find looks for tickets right in the given places, which are patterns.
func Find(places []string) []Ticket {
	var out []Ticket
	looked := 0
	for _, pattern := range places {
		dirs, _ := filepath.Glob(pattern)
		for _, dir := range dirs[:min(len(dirs), maxPlaces)] {
			files, err := os.ReadDir(dir)
			if err != nil {
				continue
			}
			for _, f := range files {
				if looked++; looked > maxFiles || len(out) == maxFound {
					return out
				}
				t := Ticket{f.Name(), filepath.Join(dir, f.Name())}
				if !f.Type().IsRegular() {
					continue
				}
				if s, err := t.Read(); err == nil {
					s.Wipe()
					out = append(out, t)
				}
			}
		}
	}
	return out
}

// form is that of a JWS in compact form (RFC 7515, section 3.1).
var form = regexp.MustCompile(`^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`)

// Read returns what a ticket holds. Whoever plugged it in may have made it a
// link or a pipe meanwhile: neither is opened.
func (t Ticket) Read() (secret.Bytes, error) {
	f, err := os.OpenFile(t.path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, ErrNone()
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxSize {
		return nil, ErrNone()
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	raw = bytes.TrimSpace(raw)
	if err != nil || len(raw) > maxSize || !form.Match(raw) {
		return nil, ErrNone()
	}
	return secret.Bytes(raw), nil
}

// ErrNone is for a search that found nothing.
func ErrNone() error {
	return busclient.Failed(fault.InvalidCode, "No ticket was found.", "Put the file with it on a USB stick, not in a folder, and plug that in.")
}
