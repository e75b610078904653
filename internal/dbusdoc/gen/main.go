// SPDX-License-Identifier: Apache-2.0

// gen writes docs/dbus.md. It runs in internal/dbusdoc, from go generate.
package main

import (
	"log"
	"os"
	"path/filepath"

	"github.com/accountlock/accountlock/internal/ctl"
	"github.com/accountlock/accountlock/internal/dbusdoc"
)

func main() {
	text, err := dbusdoc.Render(ctl.ExitCode)
	if err != nil {
		log.Fatal(err)
	}
	path := filepath.Join("..", "..", "docs", "dbus.md")
	if err := os.WriteFile(path, text, 0o644); err != nil { //nolint:gosec // it is for everybody to read
		log.Fatal(err)
	}
}
