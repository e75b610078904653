// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/httpapi"
)

func pointer(s string) *string { return &s }

func openCase(t *testing.T, d *apitest.Device, r accountapi.CaseRequest) (apitest.Answer, string) {
	t.Helper()
	a := d.Post(t, "/v1/devices/"+d.ID+"/cases", r)
	var out accountapi.CaseResponse
	if a.Status == 200 {
		if err := json.Unmarshal(a.Body, &out); err != nil {
			t.Fatal(err)
		}
	}
	return a, out.CaseNumber
}

func TestALockedDeviceAsksForACase(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	a, _ := openCase(t, d, accountapi.CaseRequest{})
	if a.Code() != string(fault.NotLinked) {
		t.Fatalf("of a device that nobody owns: %d %s", a.Status, a.Body)
	}
	s.Link(t, d, s.Owner)
	sent := len(s.Outbox(t))
	_, number := openCase(t, d, accountapi.CaseRequest{Challenge: pointer("0123456789"), Region: pointer("GB"), Locale: pointer("de")})
	_, again := openCase(t, d, accountapi.CaseRequest{Challenge: pointer("1111111111")})
	c, err := s.Cases.Get(t.Context(), number)
	if err != nil || again != number || c.DeviceID != d.ID || c.AccountID != s.Owner.ID || c.Challenge != "1111111111" || !c.Proven || c.Locale != "de" {
		t.Fatalf("%q %q %+v %v", number, again, c, err)
	}
	if told := s.Outbox(t); len(told) != sent+1 || !strings.Contains(told[sent], number) {
		t.Fatalf("the owner was told %q", told[sent:])
	}
	if err := s.Cases.Stop(t.Context(), number, s.Owner.ID, ""); err != nil {
		t.Fatal(err)
	}
	a, _ = openCase(t, d, accountapi.CaseRequest{})
	if a.Code() != string(fault.Declined) {
		t.Fatalf("after the owner stopped it: %d %s", a.Status, a.Body)
	}
	stranger := s.Device(t)
	if a := stranger.Post(t, "/v1/devices/"+d.ID+"/cases", accountapi.CaseRequest{}); a.Status != 404 && a.Status != 401 {
		t.Fatalf("another device's key: %d %s", a.Status, a.Body)
	}
	for _, bad := range []accountapi.CaseRequest{
		{Challenge: pointer("12")}, {Challenge: pointer("012345678x")}, {Region: pointer("Britain")}, {Locale: pointer(strings.Repeat("x", 36))},
	} {
		if a, _ := openCase(t, d, bad); a.Status != 400 && a.Status != 422 {
			t.Errorf("%+v: %d %s", bad, a.Status, a.Body)
		}
	}
}

func TestContactsComeByRegionAndLanguageAndNobodyIsLeftWithout(t *testing.T) {
	contact := func(region, language, label string) httpapi.Contact {
		return httpapi.Contact{Region: region, Language: language, SupportContact: accountapi.SupportContact{Kind: accountapi.Email, Label: label, Address: label}}
	}
	all := []httpapi.Contact{
		contact("", "", "world"), contact("", "es", "world-es"), contact("CH", "fr", "ch-fr"), contact("CH", "de", "ch-de"), contact("CH", "", "ch"), contact("US", "", "us"),
	}
	for _, c := range []struct{ region, locale, want string }{
		{"CH", "de-CH", "ch-de ch ch-fr world world-es"},
		{"CH", "fr", "ch-fr ch ch-de world world-es"},
		{"CH", "es", "ch ch-fr ch-de world-es world"},
		{"CH", "", "ch ch-fr ch-de world world-es"},
		{"US", "zh-Hans", "us world world-es"},
		{"BR", "es-419", "world-es world"},
		{"", "", "world world-es"},
	} {
		var got []string
		for _, s := range httpapi.ContactsFor(all, c.region, c.locale) {
			got = append(got, s.Label)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s %s: %v, want %s", c.region, c.locale, got, c.want)
		}
	}
}
