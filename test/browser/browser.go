// SPDX-License-Identifier: Apache-2.0

// Package browser drives pages in headless Chromium for tests: Debian's browser,
// playwright-core and axe-core from npm, never part of a program.
package browser

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/accountlock/accountlock/test/npm"
)

// Plan is a visit: a screen, and what a person does there.
type Plan struct {
	Width  int  `json:"width,omitempty"`
	Height int  `json:"height,omitempty"`
	Touch  bool `json:"touch,omitempty"`
	Dark   bool `json:"dark,omitempty"`
	// Locale is the browser's language; American English by default.
	Locale string `json:"locale,omitempty"`
	// JavaScript is on unless it is set to false.
	JavaScript *bool `json:"javaScript,omitempty"`
	// Host is the only one that the pages may ask; empty for any.
	Host string `json:"host,omitempty"`
	// IgnoreHTTPSErrors takes a certificate of a test's own.
	IgnoreHTTPSErrors bool `json:"ignoreHTTPSErrors,omitempty"`
	// Steps are the words of drive.mjs.
	Steps [][]any `json:"steps"`
}

// Need skips the test where there is no browser, and returns the folder of what drives
// one. A test that visits in a goroutine, which cannot skip it, calls this first.
func Need(t testing.TB) string {
	t.Helper()
	return npm.Folder(t, "/usr/bin/chromium", "playwright-core", "axe-core")
}

// Visit carries a plan out, and fails the test at the first step that is not
// possible. It skips the test where there is no browser.
func Visit(t testing.TB, p Plan) {
	t.Helper()
	dir := Need(t)
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 9*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, "node", filepath.Join(dir, "browser", "drive.mjs"), string(raw))
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
