// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/text/language"

	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/calendar"
)

// text is one language of what is sent.
type text struct {
	tag language.Tag
	// begun: place, until, url, code; accountID: the account ID.
	subject, begun, begunSMS, accountID string
	codeSubject, code                   string
	remindSubject, remind               string
}

// texts are in the order in which they stand in for a language that is not there.
var texts = []text{
	{
		language.English,
		"Somebody wants to recover your account",
		"Somebody asked to recover your account (%s). If it was you, nothing needs to be done: come back after %s, or sooner where you have been signed in for some days, and a code is sent.\n\nIf it was not you, stop it: open %s, or type the code %s on the page 'Stop a recovery'. Nobody gets in before the wait is over, and nobody without a code sent to you.\n",
		"Somebody asked to recover your account. Not you? Stop it before %[2]s at %[3]s, code %[4]s",
		"\nThe account ID is %s.\n",
		"Your recovery code",
		"Your code is %s.\n\nIt lets you choose a new password and is good for ten minutes. Tell it to nobody: staff never ask for it.\n",
		"Your account ID",
		"Your account ID is %s.\n\nSomebody asked for it to be sent here. If that was not you, nothing needs to be done: it opens nothing without your password.\n",
	},
	{
		language.German,
		"Jemand möchte Ihr Konto wiederherstellen",
		"Jemand hat darum gebeten, Ihr Konto wiederherzustellen (%s). Waren Sie es, ist nichts zu tun: Kommen Sie nach %s wieder, oder früher dort, wo Sie seit einigen Tagen angemeldet sind; dann wird ein Code gesendet.\n\nWaren Sie es nicht, halten Sie es an: Öffnen Sie %s oder geben Sie den Code %s auf der Seite „Wiederherstellung anhalten“ ein. Niemand kommt hinein, bevor die Wartezeit vorbei ist, und niemand ohne einen Code, der an Sie geht.\n",
		"Jemand will Ihr Konto wiederherstellen. Nicht Sie? Halten Sie es bis %[2]s an: %[3]s, Code %[4]s",
		"\nDie Konto-ID lautet %s.\n",
		"Ihr Code zur Wiederherstellung",
		"Ihr Code lautet %s.\n\nMit ihm wählen Sie ein neues Passwort; er gilt zehn Minuten. Geben Sie ihn niemandem: Mitarbeiter fragen nie danach.\n",
		"Ihre Konto-ID",
		"Ihre Konto-ID lautet %s.\n\nJemand hat darum gebeten, sie hierher zu senden. Waren Sie es nicht, ist nichts zu tun: Ohne Ihr Passwort öffnet sie nichts.\n",
	},
}

var matcher = func() language.Matcher {
	tags := make([]language.Tag, len(texts))
	for i, t := range texts {
		tags[i] = t.tag
	}
	return language.NewMatcher(tags)
}()

func textFor(locale string) text {
	_, i := language.MatchStrings(matcher, locale)
	return texts[i]
}

// notice is what an owner is told at the beginning.
type notice struct {
	region, locale, place string
	accountID, code, url  string
	until                 time.Time
}

// message tells it at one address. The account ID stands in mail alone, or in an SMS
// where there is no other address: a screen that is locked shows what comes by SMS.
func (n notice) message(to account.Identifier, a account.Account) account.Message {
	t := textFor(n.locale)
	when := n.when()
	if to.Kind == account.KindPhone {
		body := fmt.Sprintf(t.begunSMS, n.place, when, n.url, n.code)
		if !hasEmail(a) {
			body += strings.TrimRight(fmt.Sprintf(t.accountID, n.accountID), "\n")
		}
		return account.Message{To: to.Address, Channel: account.ChannelSMS, Text: body}
	}
	return account.Message{
		To: to.Address, Channel: account.ChannelEmail, Subject: t.subject,
		Text: fmt.Sprintf(t.begun, n.place, when, n.url, n.code) + fmt.Sprintf(t.accountID, n.accountID),
	}
}

func (n notice) when() string {
	until := n.until
	if c, err := calendar.For(n.region); err == nil {
		until = c.Local(until)
	}
	return until.Format("2006-01-02 15:04 MST")
}

func codeMessage(to account.Identifier, a account.Account, code, locale string) account.Message {
	t := textFor(locale)
	body := fmt.Sprintf(t.code, code)
	if to.Kind == account.KindPhone {
		return account.Message{To: to.Address, Channel: account.ChannelSMS, Text: body}
	}
	return account.Message{To: to.Address, Channel: account.ChannelEmail, Subject: t.codeSubject, Text: body + fmt.Sprintf(t.accountID, a.ID)}
}

func hasEmail(a account.Account) bool {
	for _, id := range a.Identifiers {
		if id.Kind == account.KindEmail {
			return true
		}
	}
	return false
}
