// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"time"

	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/calendar"
	"github.com/accountlock/accountlock/internal/service/letter"
)

// What is sent.
var (
	begunSubject = letter.Mark("Somebody wants to recover your account")
	// {1} is the place, {2} until when the wait is, {3} the address to stop it, {4} its
	// code.
	begunText   = letter.Mark("Somebody asked to recover your account ({1}). If it was you, nothing needs to be done: come back after {2}, or sooner where you have been signed in for some days, and a code is sent.\n\nIf it was not you, stop it: open {3}, or type the code {4} on the page 'Stop a recovery'. Nobody gets in before the wait is over, and nobody without a code sent to you.\n")
	begunSMS    = letter.Mark("Somebody asked to recover your account. Not you? Stop it before {2} at {3}, code {4}")
	accountIDIs = letter.Mark("The account ID is {1}.")
	codeSubject = letter.Mark("Your recovery code")
	codeText    = letter.Mark("Your code is {1}.\n\nIt lets you choose a new password and is good for ten minutes. Tell it to nobody: staff never ask for it.\n")
	remindTitle = letter.Mark("Your account ID")
	remindText  = letter.Mark("Your account ID is {1}.\n\nSomebody asked for it to be sent here. If that was not you, nothing needs to be done: it opens nothing without your password.\n")
)

// notice is what an owner is told at the beginning.
type notice struct {
	region, locale       string
	place                Place
	accountID, code, url string
	until                time.Time
}

// message tells it at one address. The account ID stands in mail alone, or in an SMS
// where there is no other address: a screen that is locked shows what comes by SMS.
func (n notice) message(to account.Identifier, a account.Account) account.Message {
	t := letter.For(a.Locale, n.locale)
	values := []string{n.place.words(t), t.Moment(n.local()), n.url, n.code}
	if to.Kind == account.KindPhone {
		body := t.T(begunSMS, values...)
		if !hasEmail(a) {
			body += "\n" + t.T(accountIDIs, n.accountID)
		}
		return account.Message{To: to.Address, Channel: account.ChannelSMS, Text: body}
	}
	return account.Message{
		To: to.Address, Channel: account.ChannelEmail, Subject: t.T(begunSubject),
		Text: t.T(begunText, values...) + "\n" + t.T(accountIDIs, n.accountID) + "\n",
	}
}

// local is the end of the wait in the region's zone, UTC where there is none.
func (n notice) local() time.Time {
	if c, err := calendar.For(n.region); err == nil {
		return c.Local(n.until)
	}
	return n.until.UTC()
}

func codeMessage(to account.Identifier, a account.Account, code, locale string) account.Message {
	t := letter.For(locale)
	body := t.T(codeText, code)
	if to.Kind == account.KindPhone {
		return account.Message{To: to.Address, Channel: account.ChannelSMS, Text: body}
	}
	return account.Message{To: to.Address, Channel: account.ChannelEmail, Subject: t.T(codeSubject), Text: body + "\n" + t.T(accountIDIs, a.ID) + "\n"}
}

func hasEmail(a account.Account) bool {
	for _, id := range a.Identifiers {
		if id.Kind == account.KindEmail {
			return true
		}
	}
	return false
}
