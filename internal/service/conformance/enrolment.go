// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

var deviceName = regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}$`)

func enrols(p *probe) {
	d, other := p.machine(), p.machine()
	if got := d.enrol().KeyStatus; got != accountapi.Active {
		p.failf("the key of a device that nobody knew is %q, not active", got)
	}
	other.enrol()
	if d.id == other.id {
		p.failf("two devices have the same ID")
	}
}

// enrolsAgain enrols the same hardware in every form in which it is the same.
func enrolsAgain(p *probe) {
	d := p.machine()
	tpm, file := identity(accountapi.Tpm, rand.Text()), identity(accountapi.File, rand.Text())
	first := d.enrol(tpm, file).DeviceId
	same := func(e *device, what string, ids ...accountapi.Identity) {
		if out := e.enrol(ids...); out.DeviceId != first {
			p.failf("%s got another device ID", what)
		} else if out.KeyStatus != accountapi.Active {
			p.failf("%s, whom nobody owns, got its key %s", what, out.KeyStatus)
		}
	}
	same(d, "the same hardware with the same key", tpm, file)
	same(d.rekeyed(), "the same hardware with another key", tpm, file)
	same(d.rekeyed(), "hardware that matches by one identity of three")
	conflict := p.machine()
	same(conflict, "hardware that matches by one identity and conflicts on another", tpm)
}

func keyOfAnother(p *probe) {
	d, other := p.machine(), p.machine()
	d.fresh()
	body := other.enrolment()
	b, err := json.Marshal(body)
	p.must(err, "encoding a request")
	d.unsigned(d.request(http.MethodPost, "/v1/devices", rand.Text(), b), "an enrolment that is signed by another key than the one in it")
}

func badEnrolments(p *probe) {
	for what, change := range map[string]func(*accountapi.EnrolRequest){
		"an enrolment without identities": func(e *accountapi.EnrolRequest) { e.Identities = []accountapi.Identity{} },
		"an enrolment with 17 identities": func(e *accountapi.EnrolRequest) {
			for len(e.Identities) < 17 {
				e.Identities = append(e.Identities, identity(accountapi.File, rand.Text()))
			}
		},
		"an identity of an unknown source":        func(e *accountapi.EnrolRequest) { e.Identities[0].Source = "guess" },
		"an identity whose digest is no SHA-256":  func(e *accountapi.EnrolRequest) { e.Identities[0].Digest = "c2hvcnQ" },
		"an enrolment whose model is 129 letters": func(e *accountapi.EnrolRequest) { m := strings.Repeat("m", 129); e.Model = &m },
	} {
		d := p.machine()
		e := d.enrolment()
		change(&e)
		p.want(d.post("/v1/devices", e), http.StatusBadRequest, fault.InvalidArgument, what)
	}
}

// keptOverReset is what a factory reset does to a linked device: the hardware comes
// back with a key that nobody knows.
func keptOverReset(p *probe) {
	d := p.device()
	link := p.link(d, p.cfg.Owner)
	reset := d.rekeyed()
	out := reset.enrol()
	switch {
	case out.DeviceId != d.id:
		p.failf("a linked device that comes with another key gets another ID, and is free")
	case out.KeyStatus != accountapi.Pending:
		p.failf("a linked device that comes with another key gets it %s, not pending", out.KeyStatus)
	}
	c := reset.states(accountapi.ClaimsStatusLinked, "to a pending key of a linked device")
	if c.Link == nil || c.Link.Id != link.Id || c.Link.Generation != link.Generation {
		p.failf("enrolling again changed the link, or the statement to a pending key does not name it")
	}
	if c.Hint != nil {
		p.failf("a pending key is told the account's hint")
	}
	for _, kind := range []accountapi.FlowKind{accountapi.FlowKindSignOut, accountapi.FlowKindUnlink, accountapi.FlowKindReset, accountapi.FlowKindLink} {
		a, _ := reset.ask(kind)
		p.refused(a, "the beginning of a "+string(kind)+" by a pending key")
	}
	events := accountapi.EventsRequest{Events: []accountapi.DeviceEvent{{Kind: accountapi.DeviceEventKindStarted, Time: p.now().Unix()}}}
	p.refused(reset.post("/v1/devices/"+d.id+"/events", events), "a report of events by a pending key")
	t := reset.begin(accountapi.FlowKindUnlock)
	t.signIn(p.cfg.Owner, accountapi.Done)
	t.grant(accountapi.ClaimsPurposeUnlock)
	if got := reset.enrol().KeyStatus; got != accountapi.Active {
		p.failf("after the owner's unlock the pending key is %s, not the device's", got)
	}
	p.linked = []*device{reset}
}

func reports(p *probe) {
	d := p.device()
	detail := "conformance"
	events := accountapi.EventsRequest{Events: []accountapi.DeviceEvent{
		{Kind: accountapi.DeviceEventKindStarted, Time: p.now().Unix(), Detail: &detail},
		{Kind: accountapi.DeviceEventKindLocked, Time: p.now().Unix()},
	}}
	a := d.post("/v1/devices/"+d.id+"/events", events)
	p.want(a, http.StatusNoContent, "", "a report of events")
	many := accountapi.EventsRequest{}
	for len(many.Events) < 101 {
		many.Events = append(many.Events, events.Events[1])
	}
	p.want(d.post("/v1/devices/"+d.id+"/events", many), http.StatusBadRequest, fault.InvalidArgument, "a report of 101 events")
}
