// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"bytes"
	"errors"
	"slices"

	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/record"
)

// chip is the model of a TPM: what it keeps over a power cut is its seed and its
// counter, each operation on which is done or not done.
type chip struct {
	seed byte
	// defined: there is a counter; value is 0 until it was first advanced.
	defined, foreign bool
	value            uint64
	// highest is the highest value that any counter ever had.
	highest uint64
	// before is called before every operation that changes the counter, after after
	// it.
	before func(op string)
	after  func()
	// fail is the error of everything.
	fail error
	open int
}

func (c *chip) option(required bool) record.Option {
	return record.WithTPM(func() (record.TPM, error) {
		if c.fail != nil {
			return nil, c.fail
		}
		c.open++
		return c, nil
	}, required)
}

func (c *chip) Close() { c.open-- }

// op does what changes the counter.
func (c *chip) op(name string, do func()) {
	if c.before != nil {
		c.before(name)
	}
	do()
	if c.after != nil {
		c.after()
	}
}

func (c *chip) Counter() (uint64, error) {
	switch {
	case c.foreign:
		return 0, &lock.TPMError{Says: lock.TPMCounterForeign}
	case !c.defined:
		return 0, &lock.TPMError{Says: lock.TPMCounterAbsent}
	default:
		return c.value, nil
	}
}

func (c *chip) Arm() (uint64, error) {
	if c.foreign {
		c.op("nv-undefine", func() { c.foreign = false })
	}
	if !c.defined {
		c.op("nv-define", func() { c.defined, c.value = true, 0 })
	}
	if c.value == 0 {
		return c.Advance()
	}
	return c.value, nil
}

func (c *chip) Advance() (uint64, error) {
	if !c.defined {
		return 0, &lock.TPMError{Says: lock.TPMCounterAbsent}
	}
	c.op("nv-increment", func() {
		if c.value == 0 {
			c.value = c.highest
		}
		c.value++
		c.highest = max(c.highest, c.value)
	})
	return c.value, nil
}

func (c *chip) Seal(secret []byte) ([]byte, error) {
	out := []byte{c.seed}
	for _, b := range secret {
		out = append(out, b^c.seed)
	}
	return out, nil
}

func (c *chip) Unseal(blob []byte) ([]byte, error) {
	if len(blob) == 0 || blob[0] != c.seed {
		return nil, &lock.TPMError{Says: lock.TPMKeyLost}
	}
	out := bytes.Clone(blob[1:])
	for i := range out {
		out[i] ^= c.seed
	}
	return out, nil
}

// clear is what a TPM2_Clear does.
func (c *chip) clear() { c.seed++; c.defined, c.value = false, 0 }

// same returns a chip with what c keeps over a power cut; of none there is none.
func (c *chip) same() *chip {
	if c == nil {
		return nil
	}
	return &chip{seed: c.seed, defined: c.defined, foreign: c.foreign, value: c.value, highest: c.highest}
}

var errSilent = &lock.TPMError{Says: lock.TPMSilent, Err: errors.New("no answer")}

// device is a store on a disk, bound to a chip.
type device struct {
	disk  *record.Disk
	chip  *chip
	place place
}

func newDevice() *device { return newDeviceAt(inFile) }

func newDeviceAt(p place) *device { return &device{p.disk(), &chip{seed: 0x5a}, p} }

func (d *device) store() *record.Store { return d.place.on(d.disk, d.chip.option(false)) }

func (d *device) content() []byte { return slices.Clone(d.disk.Content(where)) }

// put puts a whole store in the place of the one there is.
func (d *device) put(content []byte) { d.disk.Put(where, slices.Clone(content)) }
