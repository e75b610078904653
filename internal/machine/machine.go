// SPDX-License-Identifier: Apache-2.0

// Package machine opens, for the gate and the daemon alike, what the
// configuration names on this machine: the record store, and the TPM that it is
// bound to. Both must look at the same, or what one opens the other locks.
//
// It must not decide anything, and asks nothing by itself.
package machine

import (
	"github.com/accountlock/accountlock/internal/config"
	"github.com/accountlock/accountlock/internal/record"
)

// Record returns the record store of `[record]`, bound to the TPM of `[tpm]`, which
// open opens: tpm.Open, or reader.Open for a program that only reads. It does no
// I/O; its errors are record.Open's.
func Record[T record.TPM](c config.Config, open func(device string) (T, error)) (*record.Store, error) {
	if c.TPM.Mode == config.TPMOff {
		return record.Open(c.Record.Store)
	}
	return record.Open(c.Record.Store, record.WithTPM(func() (record.TPM, error) {
		t, err := open(c.TPM.Device)
		if err != nil {
			return nil, err // not t, which is a nil in an interface
		}
		return t, nil
	}, c.TPM.Mode == config.TPMRequire))
}
