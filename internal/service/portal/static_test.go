// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"bytes"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/test/npm"
)

var update = flag.Bool("update", false, "copy ALTCHA's widget from test/node_modules")

// widget are the files of ALTCHA's that the portal serves, and where they are in its package.
var widget = map[string]string{
	"altcha.min.js": "dist/external/altcha.min.js",
	"altcha.css":    "dist/external/altcha.css",
	"sha.js":        "dist/workers/sha.js",
	"LICENSE.txt":   "LICENSE.txt",
}

func TestTheWidgetIsTheOneThatThePackageLockPins(t *testing.T) {
	from := filepath.Join(npm.Folder(t, "altcha"), "node_modules", "altcha")
	for name, source := range widget {
		want, err := os.ReadFile(filepath.Join(from, source))
		if err != nil {
			t.Fatal(err)
		}
		ours := filepath.Join("static", "altcha", name)
		if *update {
			if err := os.WriteFile(ours, want, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(ours)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the package holds (-update copies it)", ours)
		}
	}
}

func TestFilesAreServedWithTheirTypesAndNothingBesideThem(t *testing.T) {
	b := visit(t, apitest.Start(t))
	for path, want := range map[string]string{
		"/static/portal.css": "text/css", "/static/captcha.js": "text/javascript", "/static/icon.svg": "image/svg+xml",
		"/static/altcha/altcha.min.js": "text/javascript", "/static/altcha/sha.js": "text/javascript",
		"/static/altcha/altcha.css": "text/css", "/static/altcha/LICENSE.txt": "text/plain",
	} {
		if got := b.get(path); got.status != http.StatusOK || !strings.HasPrefix(got.header.Get("Content-Type"), want) || got.body == "" {
			t.Errorf("%s: %d %s", path, got.status, got.header.Get("Content-Type"))
		}
	}
	for _, path := range []string{"/static/", "/static/altcha", "/static/altcha/", "/static/altcha/none.js", "/static/%2e%2e/portal.go", "/static/altcha%2f..%2f..%2fportal.go"} {
		if got := b.get(path); got.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, got.status)
		}
	}
}
