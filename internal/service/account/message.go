// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/accountlock/accountlock/internal/service/letter"
)

// Channel is how a message goes.
type Channel string

// The channels.
const (
	ChannelEmail Channel = "email"
	ChannelSMS   Channel = "sms"
)

// Message is one mail or SMS.
type Message struct {
	// To is an e-mail address or a phone number in E.164.
	To      string
	Channel Channel
	// Subject is one line; an SMS has none.
	Subject string
	// Text is plain text in UTF-8, its lines ended by \n.
	Text string
	// Until is when the message is of no use any more, such as the end of a
	// code's life; zero is never.
	Until time.Time
}

// Notifier carries messages.
type Notifier interface {
	// Send hands a message over for delivery. Any error means that it may not
	// arrive; its text must not repeat the message's.
	Send(ctx context.Context, m Message) error
}

// NoticeKind is what an owner is told of.
type NoticeKind string

// What owners are told of.
const (
	NoticePassword  NoticeKind = "password"
	NoticeDeleted   NoticeKind = "deleted"
	NoticeLinked    NoticeKind = "linked"
	NoticeUnlocked  NoticeKind = "unlocked"
	NoticeSignedOut NoticeKind = "signed-out"
	NoticeUnlinked  NoticeKind = "unlinked"
	NoticeLost      NoticeKind = "lost"
	NoticeFound     NoticeKind = "found"
	// NoticeIdentifiers: an address or number was added or removed.
	NoticeIdentifiers NoticeKind = "identifiers"
	// NoticeFactors: an app, a passkey or backup codes were set up or removed.
	NoticeFactors NoticeKind = "factors"
	// NoticeSentCode: whether a code is sent and asked for after the password was changed.
	NoticeSentCode NoticeKind = "sent-code"
	// NoticeOfflineCode: a response for a device was given out.
	NoticeOfflineCode NoticeKind = "offline-code"
	// NoticeTicket: a ticket for a device was given out.
	NoticeTicket NoticeKind = "ticket"
	// NoticeApprovalAsked: a device asks to be opened from another one, and
	// NoticeApproved: it was.
	NoticeApprovalAsked NoticeKind = "approval-asked"
	NoticeApproved      NoticeKind = "approved"
	// NoticeReleased: two members of support have released a device.
	NoticeReleased NoticeKind = "released"
	// NoticeReset: a factory reset was allowed on a device.
	NoticeReset NoticeKind = "reset"
)

// notices are the sentences of each kind; {1} is the device.
var notices = map[NoticeKind]struct{ subject, text string }{
	NoticePassword:    {letter.Mark("Your password was changed"), letter.Mark("The password of your account was changed. A recovery of the account that was waiting is stopped.")},
	NoticeIdentifiers: {letter.Mark("Your addresses were changed"), letter.Mark("An e-mail address or phone number of your account was added or removed.")},
	NoticeFactors:     {letter.Mark("Your second factor was changed"), letter.Mark("An authenticator app, a passkey or the backup codes of your account were set up or removed.")},
	NoticeSentCode:    {letter.Mark("Your second factor was changed"), letter.Mark("The account asks for a code that is sent to you after the password, or no longer does.")},
	NoticeDeleted:     {letter.Mark("Your account was deleted"), letter.Mark("Your account was deleted, and every device of it released.")},
	NoticeLinked:      {letter.Mark("A device was linked to your account"), letter.Mark("The device {1} was linked to your account. After a reset it will ask for this account.")},
	NoticeUnlocked:    {letter.Mark("Your device was unlocked"), letter.Mark("The device {1} was unlocked with your password.")},
	NoticeSignedOut:   {letter.Mark("You signed out on a device"), letter.Mark("Your account was signed out on the device {1}. It no longer asks for your account after a reset.")},
	NoticeUnlinked:    {letter.Mark("A device was unlinked from your account"), letter.Mark("The device {1} was unlinked from your account and can be given away.")},
	NoticeLost:        {letter.Mark("Your device is marked lost"), letter.Mark("The device {1} was marked lost. It locks when it next asks the account service.")},
	NoticeFound:       {letter.Mark("Your device is no longer marked lost"), letter.Mark("The device {1} is no longer marked lost.")},
	NoticeOfflineCode: {letter.Mark("An offline code for your device was given out"), letter.Mark("A code that opens the device {1} without a network was given out. It fits the one challenge that the device showed.")},
	NoticeTicket:      {letter.Mark("A ticket for your device was given out"), letter.Mark("A ticket that opens the device {1} was given out. It fits the one challenge that the device showed, for a day.")},
	NoticeReleased:    {letter.Mark("Support released your device"), letter.Mark("Two members of support have released the device {1}: it no longer belongs to your account, and opens at its next contact.")},
	NoticeReset:       {letter.Mark("Your device is being reset"), letter.Mark("A factory reset of the device {1} was allowed with your password. After it the device does not ask for your account until it is linked again.")},

	NoticeApprovalAsked: {letter.Mark("Somebody asks to open your device"), letter.Mark("Somebody has the device {1} before them and asks you to open it from here. If the device is in your hands, approve it in the account portal, with the code that it shows. If it is not, approve nothing, and mark it lost there.")},
	NoticeApproved:      {letter.Mark("Your device was opened by your approval"), letter.Mark("The device {1} was opened because it was approved in the account portal.")},
}

var (
	noticeEnd = letter.Mark("If this was not you, change your password and ask support.")
	// deletedEnd is for who has no password to change any more.
	deletedEnd = letter.Mark("If this was not you, ask support.")
)

// Notify tells the owner of an account what happened to it, at every e-mail
// address, or by SMS where there is none. device names the device, where one
// is concerned. Call it after the change was committed; the error is of messages that
// could not be sent, and of an unknown account as with Get.
func (s *Service) Notify(ctx context.Context, accountID string, kind NoticeKind, device string) error {
	a, err := s.Get(ctx, accountID)
	if err != nil {
		return err
	}
	return s.notify(ctx, a, kind, device)
}

// tell is Notify of an account's own change, which stands whether or not anybody
// hears of it.
func (s *Service) tell(ctx context.Context, a Account, kind NoticeKind) {
	if err := s.notify(context.WithoutCancel(ctx), a, kind, ""); err != nil {
		s.log.WarnContext(ctx, "cannot send a notice", "account", a.ID, "notice", string(kind), "error", err)
	}
}

func (s *Service) notify(ctx context.Context, a Account, kind NoticeKind, device string) error {
	n, ok := notices[kind]
	if !ok {
		return fmt.Errorf("cannot send a notice of kind %q", kind)
	}
	t := letter.For(a.Locale)
	end := noticeEnd
	if kind == NoticeDeleted {
		end = deletedEnd
	}
	text := t.T(n.text, device) + "\n\n" + t.T(end) + "\n"
	to := a.all(KindEmail)
	if len(to) == 0 {
		to = a.all(KindPhone)
	}
	var errs []error
	for _, id := range to {
		errs = append(errs, s.send(ctx, message(id, t.T(n.subject), text)))
	}
	return errors.Join(errs...)
}

func (a Account) all(k Kind) (out []Identifier) {
	for _, id := range a.Identifiers {
		if id.Kind == k {
			out = append(out, id)
		}
	}
	return out
}

func message(to Identifier, subject, text string) Message {
	if to.Kind == KindPhone {
		return Message{To: to.Address, Channel: ChannelSMS, Text: text}
	}
	return Message{To: to.Address, Channel: ChannelEmail, Subject: subject, Text: text}
}

func (s *Service) send(ctx context.Context, m Message) error {
	if s.notifier == nil {
		return errors.New("no way to send mail or SMS is configured")
	}
	return s.notifier.Send(ctx, m)
}

// What carries a code; {1} is the code.
var (
	codeSubject = letter.Mark("Your code")
	codeText    = letter.Mark("Your code is {1}.\n\nIt is good for ten minutes. Tell it to nobody: staff never ask for it.\n")
)

func codeMessage(to Identifier, code, locale string) Message {
	t := letter.For(locale)
	return message(to, t.T(codeSubject), t.T(codeText, code))
}
