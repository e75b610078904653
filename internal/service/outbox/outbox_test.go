// SPDX-License-Identifier: Apache-2.0

package outbox_test

import (
	"bytes"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/outbox"
)

var noon = time.Date(2026, 7, 31, 12, 0, 0, 0, time.UTC)

func newOutbox(t *testing.T, console *bytes.Buffer) (*outbox.Outbox, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "outbox")
	cfg := outbox.Config{Dir: dir, Now: func() time.Time { return noon }}
	if console != nil {
		cfg.Console = console
	}
	o, err := outbox.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return o, dir
}

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestMessageIsOneFileThatOnlyItsOwnerReads(t *testing.T) {
	var console bytes.Buffer
	o, dir := newOutbox(t, &console)
	m := account.Message{To: "jane@example.org", Channel: account.ChannelEmail, Subject: "Your code", Text: "Your code is 123456.\n"}
	if err := o.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	files := names(t, dir)
	if len(files) != 1 || !strings.HasPrefix(files[0], "20260731T120000.000000000Z-email-") {
		t.Fatalf("files %q", files)
	}
	path := filepath.Join(dir, files[0])
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "To: jane@example.org\nChannel: email\nSubject: Your code\nDate: 2026-07-31T12:00:00Z\n\nYour code is 123456.\n"
	if string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !strings.Contains(console.String(), want) {
		t.Errorf("the console shows %q", console.String())
	}
	for p, mode := range map[string]os.FileMode{path: 0o600, dir: 0o700} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v (%v)", p, info.Mode(), err)
		}
	}
}

func TestSMSHasNoSubject(t *testing.T) {
	o, dir := newOutbox(t, nil)
	if err := o.Send(t.Context(), account.Message{To: "+4915155501042", Channel: account.ChannelSMS, Text: "hello"}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, names(t, dir)[0]))
	if want := "To: +4915155501042\nChannel: sms\nDate: 2026-07-31T12:00:00Z\n\nhello\n"; err != nil || string(got) != want {
		t.Fatalf("got %q, want %q (%v)", got, want, err)
	}
}

func TestMessagesOfOneInstantSortAsTheyWereSent(t *testing.T) {
	o, dir := newOutbox(t, nil)
	for _, text := range []string{"a", "b", "c", "d"} {
		if err := o.Send(t.Context(), account.Message{To: "x@example.org", Channel: account.ChannelEmail, Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	var order string
	files := names(t, dir)
	sort.Strings(files)
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			t.Fatal(err)
		}
		order += strings.TrimSpace(string(b[bytes.Index(b, []byte("\n\n")):]))
	}
	if order != "abcd" {
		t.Fatalf("order %q", order)
	}
}

func TestConcurrentMessagesAreAllThereAndWhole(t *testing.T) {
	o, dir := newOutbox(t, nil)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := o.Send(t.Context(), account.Message{To: "x@example.org", Channel: account.ChannelEmail, Text: "t"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	files := names(t, dir)
	if len(files) != 50 || strings.Contains(strings.Join(files, " "), ".part") {
		t.Fatalf("%d files: %q", len(files), files)
	}
}

func TestLineBreakInAFieldIsRefused(t *testing.T) {
	o, dir := newOutbox(t, nil)
	for _, m := range []account.Message{
		{To: "x@example.org\nBcc: y@example.org", Channel: account.ChannelEmail},
		{To: "x@example.org", Channel: account.ChannelEmail, Subject: "a\r\nb"},
	} {
		if err := o.Send(t.Context(), m); err == nil {
			t.Errorf("%q was written", m)
		}
	}
	if files := names(t, dir); len(files) != 0 {
		t.Fatalf("files %q", files)
	}
}

func TestFolderThatCannotBeWrittenIsAnError(t *testing.T) {
	o, dir := newOutbox(t, nil)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := o.Send(t.Context(), account.Message{To: "x@example.org", Channel: account.ChannelEmail}); err == nil {
		t.Fatal("no error")
	}
}
