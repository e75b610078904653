// SPDX-License-Identifier: Apache-2.0

package line_test

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"github.com/accountlock/accountlock/internal/firstboot/line"
	"github.com/accountlock/accountlock/internal/firstboot/page"
	"github.com/accountlock/accountlock/internal/firstboot/pagetest"
	"github.com/accountlock/accountlock/internal/i18n"
	"github.com/accountlock/accountlock/internal/secret"
)

var update = flag.Bool("update", false, "write the golden files")

// paper is a terminal with nobody at it.
type paper struct{ width int }

func (paper) ReadLine(context.Context, string) (secret.Bytes, error)   { return nil, io.EOF }
func (paper) ReadSecret(context.Context, string) (secret.Bytes, error) { return nil, io.EOF }
func (paper) CapsLock() bool                                           { return false }
func (p paper) Width() int                                             { return p.width }
func (paper) Gone() bool                                               { return true }

func render(tag, name string, width int, pictures bool) string {
	m := &line.Mode{Term: paper{width}, Lang: i18n.For(tag), Now: pagetest.Now, QR: pictures}
	v := pagetest.Views()[name]
	if v.Home {
		return m.Render(page.Home(m.Lang, v.State, v.Flow, v.At))
	}
	return m.Render(page.Step(m.Lang, v.Flow, v.State.DeviceID, pagetest.Now()))
}

func TestEveryPageReadsAsItDid(t *testing.T) {
	var all bytes.Buffer
	for _, name := range pagetest.Names() {
		all.WriteString("#### " + name + render("en", name, 80, false))
	}
	path := filepath.Join("testdata", "pages.golden")
	if *update {
		if err := os.WriteFile(path, all.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(want, all.Bytes()) {
		t.Errorf("%s differs (go test -update writes it anew): %v\n%s", path, err, all.String())
	}
}

func TestAScreenReaderGetsWordsAlone(t *testing.T) {
	for _, l := range i18n.Languages() {
		for _, name := range pagetest.Names() {
			if s := render(l.Tag, name, 80, false); strings.ContainsAny(s, "█▀▄─░\x1b\r\t") {
				t.Errorf("%s %s is drawn:\n%s", l.Tag, name, s)
			}
		}
	}
	if !strings.Contains(render("en", "approve", 80, true), "█") {
		t.Error("others get no code to scan")
	}
}

func TestNoLineIsWiderThanTheTerminal(t *testing.T) {
	for _, l := range i18n.Languages() {
		for _, name := range pagetest.Names() {
			for text := range strings.SplitSeq(render(l.Tag, name, 60, false), "\n") {
				if w := ansi.StringWidth(text); w > 60 {
					t.Errorf("%s %s: %d wide: %q", l.Tag, name, w, text)
				}
			}
		}
	}
}
