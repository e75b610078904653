// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// NewSmallContainer is NewContainer with a disk of that size, as for mount(8), for
// everything but /persist. It can be filled.
func NewSmallContainer(t testing.TB, size string) *Container {
	t.Helper()
	c := newContainerOn(t, true, size)
	c.Provision("")
	return c
}

// ReadOnly has the next boots mount all but /persist, and but /var if that is to stay
// writable, so that nobody can write to it. The device must be off.
func (c *Container) ReadOnly(butVar bool) {
	c.t.Helper()
	c.readOnly = []string{"--read-only"}
	if !butVar {
		return
	}
	// nspawn makes what it mounts from the tree read-only along with it; not this.
	if err := os.Mkdir(c.path("var"), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := unix.Mount(c.Root("var"), c.path("var"), "", unix.MS_BIND, ""); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		c.Cut()
		_ = unix.Unmount(c.path("var"), unix.MNT_DETACH)
	})
	c.readOnly = append(c.readOnly, "--bind="+c.path("var")+":/var")
}

// Fill fills the disk of a small device that is off, until it has no room for a
// single byte, or empties it again.
func (c *Container) Fill(full bool) {
	c.t.Helper()
	filler := c.Root("var/filler")
	if !full {
		if err := os.Remove(filler); err != nil {
			c.t.Fatal(err)
		}
		return
	}
	f, err := os.Create(filler)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		c.t.Fatal(err)
	}
}
