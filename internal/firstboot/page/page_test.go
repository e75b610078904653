// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/firstboot/page"
	"github.com/accountlock/accountlock/internal/firstboot/pagetest"
	"github.com/accountlock/accountlock/internal/i18n"
)

func fact(p page.Page, label string) string {
	for _, f := range p.Facts {
		if f.Label == label {
			return f.Value
		}
	}
	return ""
}

func TestWhoReadsAChallengeOutHasTheDeviceIDBesideIt(t *testing.T) {
	v := pagetest.Views()["offline"]
	p := page.Step(i18n.For("en"), v.Flow, v.State.DeviceID, pagetest.Now())
	if fact(p, "Challenge") == "" || fact(p, "Device ID") != v.State.DeviceID {
		t.Errorf("got %+v", p.Facts)
	}
	if p := page.Step(i18n.For("en"), pagetest.Views()["identify"].Flow, v.State.DeviceID, pagetest.Now()); fact(p, "Device ID") != "" {
		t.Errorf("where nobody asks for it: %+v", p.Facts)
	}
}

func TestADiagnosisIsForTheOwnerAndNotForAThief(t *testing.T) {
	p := page.Diagnosis(i18n.For("en"), []page.Check{
		{Name: "tier", Result: "warning", Message: "Tier 0: the record is bound to no TPM."},
		{Name: "account service", Result: "failed", Message: "x", URL: "http://login.example/"},
	})
	if len(p.Facts) != 1 || p.QR != "http://login.example/" || !strings.Contains(strings.Join(p.Text, " "), "http://login.example/") {
		t.Errorf("got %+v", p)
	}
}

func TestSupportSaysWhereAChallengeIsFound(t *testing.T) {
	say := i18n.For("en")
	if p := page.Support(say, nil, "ABCD", ""); !strings.Contains(strings.Join(p.Text, " "), "shows one") {
		t.Errorf("got %+v", p)
	}
	if p := page.Support(say, nil, "ABCD", "1234567890"); fact(p, "Challenge") != "1234567890" || strings.Contains(strings.Join(p.Text, " "), "shows one") {
		t.Errorf("got %+v", p)
	}
}

func TestTheFirstPageSaysWhichWayWaits(t *testing.T) {
	v := pagetest.Views()["limited"]
	p := page.Home(i18n.For("en"), v.State, v.Flow, v.At)
	for _, w := range p.Ways {
		if got, want := strings.HasSuffix(w.Label, "(waits until 09:34)"), w.ID == page.WayPassword; got != want {
			t.Errorf("%s: %q", w.ID, w.Label)
		}
	}
	if got := p.Waiting(i18n.For("en"), v.At); !strings.Contains(got, "4:35") || !strings.Contains(got, "the others do not wait") {
		t.Errorf("it says %q", got)
	}
	// Where that way is gone, its own wait is counted down, and not on another one.
	v.Flow.Step = "password"
	if p := page.Step(i18n.For("en"), v.Flow, "", v.At); !strings.HasPrefix(p.Waiting(i18n.For("en"), v.At), "The next attempt is taken in 4:35") {
		t.Errorf("at the password: %q", p.Waiting(i18n.For("en"), v.At))
	}
	v.Flow.Step = "recovery-code"
	if p := page.Step(i18n.For("en"), v.Flow, "", v.At); p.Waiting(i18n.For("en"), v.At) != "" {
		t.Errorf("at the recovery code: %q", p.Waiting(i18n.For("en"), v.At))
	}
}
