// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"net/http"
	"strings"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/i18n"
	"github.com/accountlock/accountlock/internal/service/device"
)

// maxEventsShown bounds the events on a device's page.
const maxEventsShown = 50

type deviceData struct {
	device.Details

	Events []device.Event
	// Message and Contact are what the form of a lost device holds.
	Message, Contact string
	// Challenge is what the device shows; Response and Ticket are the answers to it
	// that were asked for.
	Challenge, Response, Ticket string
}

func (p *Portal) devicesPage(w http.ResponseWriter, r *http.Request, s session) {
	all, err := p.Devices.Owned(s.AccountID).List(r.Context())
	if err != nil {
		p.fail(w, r, err)
		return
	}
	cases, err := p.Cases.Owned(r.Context(), s.AccountID)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.show(w, r, http.StatusOK, "devices", view{Title: i18n.Mark("Devices"), SignedIn: true, Cases: len(cases), Data: all})
}

func (p *Portal) devicePage(w http.ResponseWriter, r *http.Request, s session) {
	p.deviceWith(w, r, s, nil, nil)
}

// deviceWith shows a device's page with a refusal, or changed by with.
func (p *Portal) deviceWith(w http.ResponseWriter, r *http.Request, s session, refused error, with func(*deviceData)) {
	owned := p.Devices.Owned(s.AccountID)
	d, err := owned.Show(r.Context(), r.PathValue("device"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	events, err := owned.Events(r.Context(), d.DeviceID, maxEventsShown)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	data := deviceData{Details: d, Events: events, Message: d.Link.LostMessage, Contact: d.Link.LostContact}
	if with != nil {
		with(&data)
	}
	if refused != nil && r.PostForm.Has("message") {
		data.Message, data.Contact = r.PostForm.Get("message"), r.PostForm.Get("contact")
	}
	p.shown(w, r, "device", view{Title: i18n.Mark("Device"), SignedIn: true, Data: data}, refused)
}

// deviceDone sends the owner back to the device, or shows what was refused.
func (p *Portal) deviceDone(w http.ResponseWriter, r *http.Request, s session, err error, done string) {
	if err != nil {
		p.deviceWith(w, r, s, err, nil)
		return
	}
	p.Sent()
	to := "/devices/" + r.PathValue("device")
	if done == "device-unlinked" {
		to = "/devices"
	}
	redirect(w, r, to, done)
}

func (p *Portal) deviceSignOut(w http.ResponseWriter, r *http.Request, s session) {
	err := p.prove(r, s)
	if err == nil {
		_, err = p.Devices.Owned(s.AccountID).SignOut(r.Context(), r.PathValue("device"))
	}
	p.deviceDone(w, r, s, err, "device-signed-out")
}

func (p *Portal) deviceUnlink(w http.ResponseWriter, r *http.Request, s session) {
	var err error
	if r.PostForm.Get("sure") != "1" {
		err = fault.Newf(fault.InvalidArgument, "The box that says that you are sure is not ticked.")
	}
	if err == nil {
		err = p.prove(r, s)
	}
	if err == nil {
		_, err = p.Devices.Owned(s.AccountID).Release(r.Context(), r.PathValue("device"))
	}
	p.deviceDone(w, r, s, err, "device-unlinked")
}

// deviceLost asks for no password: an owner who has just lost a device may be at
// somebody else's computer in a hurry, and it takes nothing from them.
func (p *Portal) deviceLost(w http.ResponseWriter, r *http.Request, s session) {
	_, err := p.Devices.Owned(s.AccountID).Lose(r.Context(), r.PathValue("device"),
		strings.TrimSpace(r.PostForm.Get("message")), strings.TrimSpace(r.PostForm.Get("contact")))
	p.deviceDone(w, r, s, err, "device-lost")
}

func (p *Portal) deviceFound(w http.ResponseWriter, r *http.Request, s session) {
	err := p.prove(r, s)
	if err == nil {
		_, err = p.Devices.Owned(s.AccountID).Find(r.Context(), r.PathValue("device"))
	}
	p.deviceDone(w, r, s, err, "device-found")
}

// deviceAnswer answers the challenge of the owner's locked device, by a code to
// type or a ticket to carry there.
func (p *Portal) deviceAnswer(w http.ResponseWriter, r *http.Request, s session) {
	challenge := r.PostForm.Get("challenge")
	id, mine := r.PathValue("device"), p.Offline.Owned(s.AccountID)
	err := p.prove(r, s)
	var response, ticket string
	if err == nil {
		if r.PostForm.Get("as") == "ticket" {
			ticket, err = mine.Ticket(r.Context(), id, challenge)
		} else {
			response, err = mine.Respond(r.Context(), id, challenge)
		}
	}
	if err == nil {
		p.Sent()
	}
	p.deviceWith(w, r, s, err, func(d *deviceData) { d.Challenge, d.Response, d.Ticket = challenge, response, ticket })
}

// checkData is what the public page says of a device.
type checkData struct {
	DeviceID string
	// Answer is `locked` or `free`; empty is no question.
	Answer string
}

// check answers anybody who is about to buy a device, with 'locked' or 'free' and
// nothing else. A device that was never enrolled is free.
func (p *Portal) check(w http.ResponseWriter, r *http.Request) {
	typed := strings.ToUpper(strings.TrimSpace(r.URL.Query().Get("device")))
	v := view{Title: i18n.Mark("Check a device"), Data: checkData{DeviceID: typed}}
	if typed == "" {
		p.show(w, r, http.StatusOK, "check", v)
		return
	}
	// Whoever mistypes an ID must not read that the device is free, and buy it.
	id, ok := device.ParseID(typed)
	if !ok {
		p.again(w, r, "check", v, fault.Newf(fault.InvalidArgument, "This is no device ID."))
		return
	}
	bound, err := p.Devices.Bound(r.Context(), id)
	if err != nil {
		p.again(w, r, "check", v, err)
		return
	}
	answer := "free"
	if bound {
		answer = "locked"
	}
	v.Data = checkData{DeviceID: id, Answer: answer}
	p.show(w, r, http.StatusOK, "check", v)
}

func (p *Portal) help(w http.ResponseWriter, r *http.Request) {
	t := p.tongueOf(r)
	p.show(w, r, http.StatusOK, "help", view{Title: i18n.Mark("Help"), Data: p.Contacts(t.Region(), t.Lang())})
}
