// SPDX-License-Identifier: Apache-2.0

// gen writes accountlockctl's manual pages and completions to packaging/. It
// runs in internal/ctl, from go generate.
package main

import (
	"log"
	"os"
	"path/filepath"

	"github.com/accountlock/accountlock/internal/ctl/manual"
)

func main() {
	files, err := manual.Files()
	if err != nil {
		log.Fatal(err)
	}
	for name, content := range files {
		path := filepath.Join("..", "..", "packaging", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // it is for everybody to read
			log.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil { //nolint:gosec // it is for everybody to read
			log.Fatal(err)
		}
	}
}
