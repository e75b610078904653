// SPDX-License-Identifier: Apache-2.0

// Package device owns what accountlock learns from the machine it runs on: the
// names that the hardware gives itself, the model, the boot and its clock, and
// the reset marker in the state directory.
//
// It must not know what any of that means for the lock, and sends nothing
// anywhere: an identity leaves it as a digest only.
package device

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/accountlock/accountlock/internal/lock"
)

// Machine is the machine that the program runs on. The zero Machine is the real
// one. Its methods do not change anything and may be called at any time, by
// several goroutines.
type Machine struct {
	// Root is the root of the filesystem that is read; empty is the real one.
	Root string
	// TPM returns the name that the TPM gives the machine, for the source `tpm`; nil
	// is a machine without one, and so is an error.
	TPM func() (string, error)
}

// The bounds on what is read from the kernel and sent to the account service.
const (
	maxValue = 256
	maxModel = 128
)

// Model returns what the machine calls itself, at most 128 bytes of UTF-8
// without control characters: the device tree's model or the product name of
// its firmware. Empty where it has no name.
func (m Machine) Model() string {
	for _, path := range []string{"proc/device-tree/model", "sys/class/dmi/id/product_name"} {
		v := m.value(path)
		if v == "" || placeholder(v) {
			continue
		}
		return printable(v, maxModel)
	}
	return ""
}

// Boot returns the time since the machine booted, suspend included, with the ID
// of that boot. The ID is empty where the kernel does not give one: a wait then
// counts from the boot's start, so none ends early.
func (m Machine) Boot() lock.Boot {
	b := lock.Boot{ID: m.value("proc/sys/kernel/random/boot_id")}
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) == nil {
		// fails locked: without a clock no time passes, and no wait ends.
		b.Since = time.Duration(ts.Nano())
	}
	return b
}

// value returns the first line of a short file below the root, without blanks
// and zero bytes around it; empty where the file is absent, not readable for
// this user, or longer than any name is.
func (m Machine) value(path string) string {
	f, err := os.OpenFile(filepath.Join("/", m.Root, path), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	b, err := io.ReadAll(io.LimitReader(f, maxValue+1))
	if err != nil {
		return ""
	}
	line, _, complete := strings.Cut(string(b), "\n")
	if !complete && len(b) > maxValue {
		return ""
	}
	return strings.Trim(line, " \t\r\x00")
}

// printable returns s without what is not printed, which the account API refuses, and without broken UTF-8, cut to at
// most n bytes at the end of a character.
func printable(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, s)
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
