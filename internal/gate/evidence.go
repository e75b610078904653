// SPDX-License-Identifier: Apache-2.0

// Package gate owns the decision at boot as a program: gathering the evidence,
// asking internal/lock, and saying the answer, to whoever asks and to systemd. The
// daemon settles by the same evidence.
//
// It must not ask anybody but record, marker and configuration: it decides
// before there is a network, a bus or anyone to ask. It writes nothing but in its
// own folder under /run and, as a generator, in the one that it is given, and stays
// small, because every boot waits for it.
package gate

import (
	"path/filepath"

	"github.com/accountlock/accountlock/internal/config"
	"github.com/accountlock/accountlock/internal/lock"
)

// RecordReader is what the decision needs of the record store.
type RecordReader interface {
	// Look returns what reading the store found. The error says why it could not
	// be read, why nothing whole is there or what kept the TPM from vouching for it;
	// what was found says what that amounts to.
	Look() (lock.Found, error)
}

// MarkerReader is what the decision needs of the reset marker.
type MarkerReader interface {
	// Read returns the marker, nil where there is none. Any error means that
	// nobody can tell.
	Read() ([]byte, error)
}

// SpareDir is where the daemon leaves a reset marker that the state directory did
// not take (tmpfiles.d/accountlock.conf makes it).
func SpareDir(cfg config.Config) string { return filepath.Join(cfg.Runtime.Directory, "daemon") }

// Evidence gathers what lock.Decide needs. The evidence is good whatever the
// problems are: they say what went wrong on the way, for a person to read, and
// have already been taken as the design's decision table says.
func Evidence(cfg config.Config, store RecordReader, marker MarkerReader) (e lock.Evidence, problems []error) {
	e = lock.Evidence{Provisioned: cfg.Provisioned(), Policy: cfg.Policy.MissingRecord}
	if !e.Provisioned {
		return e, nil
	}
	found, err := store.Look()
	e.Store, e.Record, e.OneCopy, e.TPM = found.Store, found.Record, found.OneCopy, found.TPM
	if err != nil {
		problems = append(problems, err)
	}
	e.Marker, err = marker.Read()
	if err != nil {
		// fails locked: a marker that cannot be read vouches for nothing.
		e.Marker = nil
		problems = append(problems, err)
	}
	return e, problems
}
