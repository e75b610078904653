// SPDX-License-Identifier: Apache-2.0

package screen_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/accountlock/accountlock/internal/firstboot/pagetest"
	"github.com/accountlock/accountlock/internal/firstboot/screen"
	"github.com/accountlock/accountlock/internal/firstboot/session"
	"github.com/accountlock/accountlock/internal/i18n"
)

var update = flag.Bool("update", false, "write the golden files")

func options(tag string) screen.Options {
	return screen.Options{
		Session: session.New("unix:path=/nonexistent", tag, pagetest.Now), Lang: i18n.For(tag),
		Languages: i18n.Languages(), Now: pagetest.Now, CapsLock: func() bool { return false }, Blocks: true,
	}
}

func draw(t *testing.T, tag, name string, w, h int) *screen.Screen {
	t.Helper()
	return screen.NewScreen(t.Context(), options(tag), w, h, pagetest.Views()[name], nil)
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != got {
		t.Errorf("%s differs (go test -update writes it anew): %v\n%s", path, err, got)
	}
}

func TestEveryPageLooksAsItDid(t *testing.T) {
	for _, name := range pagetest.Names() {
		got := ansi.Strip(draw(t, "en", name, 80, 24).Draw())
		golden(t, name, trimmed(got))
	}
	golden(t, "wide-approve", trimmed(ansi.Strip(draw(t, "en", "approve", 132, 43).Draw())))
	golden(t, "chinese-home", trimmed(ansi.Strip(draw(t, "zh-Hans", "home", 80, 24).Draw())))
	golden(t, "german-refused", trimmed(ansi.Strip(draw(t, "de", "refused", 80, 24).Draw())))
	golden(t, "starting", trimmed(ansi.Strip(screen.NewScreen(t.Context(), options("en"), 80, 24, session.View{}, errors.New("x")).Draw())))
}

// trimmed drops the spaces at the ends of lines, which editors would drop too.
func trimmed(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

func TestNothingIsWiderOrHigherThanTheTerminal(t *testing.T) {
	for _, l := range i18n.Languages() {
		for _, name := range pagetest.Names() {
			for _, size := range [][2]int{{80, 24}, {100, 30}, {200, 60}} {
				lines := strings.Split(draw(t, l.Tag, name, size[0], size[1]).Draw(), "\n")
				if len(lines) > size[1] {
					t.Errorf("%s %s: %d lines of %d", l.Tag, name, len(lines), size[1])
				}
				for _, line := range lines {
					if w := ansi.StringWidth(line); w > size[0] {
						t.Errorf("%s %s: a line is %d wide of %d: %q", l.Tag, name, w, size[0], ansi.Strip(line))
					}
				}
			}
		}
	}
}

func key(code rune) tea.KeyPressMsg { return tea.KeyPressMsg{Code: code} }

func text(s string) []tea.KeyPressMsg {
	var out []tea.KeyPressMsg
	for _, r := range s {
		out = append(out, tea.KeyPressMsg{Code: r, Text: string(r)})
	}
	return out
}

func TestAPasswordIsShownOnWishAlone(t *testing.T) {
	s := draw(t, "en", "refused", 80, 24)
	s.Press(text("s3cret")...)
	if strings.Contains(s.Draw(), "s3cret") || !strings.Contains(s.Draw(), "******") {
		t.Fatalf("the password is not hidden:\n%s", s.Draw())
	}
	s.Press(key(tea.KeyDown), key(tea.KeyDown), key(tea.KeyEnter)) // Show what I type
	if !strings.Contains(s.Draw(), "s3cret") {
		t.Fatalf("the password is not shown:\n%s", s.Draw())
	}
}

func TestTypingIsEdited(t *testing.T) {
	s := draw(t, "en", "identify", 80, 24)
	s.Press(text("jame@exmple.org")...)
	for range 11 {
		s.Press(key(tea.KeyLeft))
	}
	s.Press(text("s")...)
	s.Press(key(tea.KeyHome), key(tea.KeyDelete))
	s.Press(text("J")...)
	s.Press(key(tea.KeyEnd), key(tea.KeyBackspace))
	if got := s.Typed("identifier"); got != "James@exmple.or" {
		t.Errorf("got %q", got)
	}
}

func TestCapsLockIsPointedOutAtAPassword(t *testing.T) {
	o := options("en")
	on := true
	o.CapsLock = func() bool { return on }
	s := screen.NewScreen(t.Context(), o, 80, 24, pagetest.Views()["refused"], nil)
	s.Press(text("A")...)
	if !strings.Contains(s.Draw(), "Caps lock is on.") {
		t.Errorf("not pointed out:\n%s", s.Draw())
	}
	on = false
	s.Press(text("a")...)
	if strings.Contains(s.Draw(), "Caps lock is on.") {
		t.Error("still pointed out")
	}
}

func TestASmallTerminalScrollsToWhatIsChosen(t *testing.T) {
	s := draw(t, "en", "confirm", 80, 24)
	s.Resize(40, 12)
	for range 2 {
		s.Press(key(tea.KeyDown))
	}
	if !strings.Contains(ansi.Strip(s.Draw()), "> Go on") {
		t.Errorf("what is chosen is out of sight:\n%s", s.Draw())
	}
}

func TestNoKeyEndsTheProgram(t *testing.T) {
	for _, name := range []string{"home", "refused", "approve", "working", "failed"} {
		s := draw(t, "en", name, 80, 24)
		for _, k := range []tea.KeyPressMsg{
			{Code: 'c', Mod: tea.ModCtrl}, {Code: 'z', Mod: tea.ModCtrl}, {Code: '\\', Mod: tea.ModCtrl}, {Code: 'd', Mod: tea.ModCtrl}, {Code: 'q', Text: "q"},
		} {
			if cmd := s.Command(k); cmd != nil {
				switch cmd().(type) {
				case tea.QuitMsg, tea.SuspendMsg, tea.InterruptMsg:
					t.Errorf("%s: %s ends it", name, k)
				}
			}
		}
	}
}
