// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
)

func TestATicketOpensForItsChallengeOnce(t *testing.T) {
	w, d, _ := lockedWithCode(t)
	f, challenge := offline(t, d)
	for _, bad := range []string{"signed.0000000000.unlock", "forged." + challenge + ".unlock", "signed." + challenge + ".sign-out", "signed." + challenge + ".rehearsal", ".."} {
		if e := wantCode(t, code(f, bad), fault.GrantRefused); e.Counted {
			t.Fatalf("%s counted", bad)
		}
		if d.state().Open() {
			t.Fatalf("%s opened it", bad)
		}
	}
	wantCode(t, code(f, "a.b."+strings.Repeat("c", 4096)), fault.InvalidArgument)
	if w.record.Offline.Attempts.Failed != 0 || w.record.Offline.Challenge != challenge {
		t.Fatalf("what is no guess changed %+v", w.record.Offline)
	}
	ticket := "signed." + challenge + ".unlock"
	if err := code(f, ticket+"\n"); err != nil || d.state().State != lock.Linked {
		t.Fatalf("%v %s", err, d.state())
	}
	w.factoryReset()
	d = w.boot(t)
	f, _ = offline(t, d)
	wantCode(t, code(f, ticket), fault.GrantRefused)
}

func TestATicketIsTakenDuringALocalWait(t *testing.T) {
	// The wait is for guesses, and a signature is none.
	w, d, _ := lockedWithCode(t)
	f, challenge := offline(t, d)
	for i := range 5 {
		wantCode(t, code(f, w.wrongFor(t, challenge, i)), fault.InvalidCode)
	}
	if err := code(f, "signed."+f.View().Prompt.Challenge+".unlock"); err != nil || !d.state().Open() {
		t.Fatalf("%v %s", err, d.state())
	}
}

func TestATicketThatComesTooLateIsAnsweredWithAnotherChallenge(t *testing.T) {
	for name, late := range map[string]func(*testing.T, *world) (*daemon, *flow.Flow){
		"a day in one boot": func(t *testing.T, w *world) (*daemon, *flow.Flow) {
			d := w.boot(t)
			f, _ := offline(t, d)
			*d.since = 24*time.Hour + time.Second
			return d, f
		},
		"a day in a later boot": func(t *testing.T, w *world) (*daemon, *flow.Flow) {
			w.bootID = "another"
			d := w.boot(t)
			*d.since = 24*time.Hour + time.Second
			f, _ := offline(t, d)
			return d, f
		},
		"nine boots": func(t *testing.T, w *world) (d *daemon, f *flow.Flow) {
			for i := range 9 {
				w.bootID = fmt.Sprint("boot ", i)
				d = w.boot(t)
				f, _ = offline(t, d)
			}
			return d, f
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, d, _ := lockedWithCode(t)
			_, challenge := offline(t, d)
			d, f := late(t, w)
			if f.View().Prompt.Challenge != challenge {
				t.Fatal("time alone gave another challenge")
			}
			wantCode(t, code(f, "signed."+challenge+".unlock"), fault.CodeExpired)
			next := f.View().Prompt.Challenge
			if next == challenge || d.state().Open() {
				t.Fatalf("%s, %s", next, d.state())
			}
			if err := code(f, "signed."+next+".unlock"); err != nil || !d.state().Open() {
				t.Fatalf("%v %s", err, d.state())
			}
		})
	}
}

func TestATicketSurvivesAReboot(t *testing.T) {
	w, d, _ := lockedWithCode(t)
	_, challenge := offline(t, d)
	w.bootID = "the next morning"
	d = w.boot(t)
	*d.since = time.Hour
	f, again := offline(t, d)
	if again != challenge {
		t.Fatal("a reboot gave another challenge")
	}
	if err := code(f, "signed."+challenge+".unlock"); err != nil || !d.state().Open() {
		t.Fatalf("%v %s", err, d.state())
	}
}
