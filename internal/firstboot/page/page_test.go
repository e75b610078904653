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
