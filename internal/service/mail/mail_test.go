// SPDX-License-Identifier: Apache-2.0

package mail_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/accountlock/accountlock/internal/secret"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/mail"
	"github.com/accountlock/accountlock/test/smtp"
)

func sender(t *testing.T, s *smtp.Server, change func(*mail.Config)) *mail.Sender {
	t.Helper()
	cfg := mail.Config{
		Host: "127.0.0.1", Port: s.Port, Security: mail.StartTLS, Roots: s.Roots(t),
		From: "Accounts <accounts@example.org>", HELO: "accounts.example.org", Timeout: time.Minute,
	}
	if change != nil {
		change(&cfg)
	}
	out, err := mail.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func signedIn(c *mail.Config) { c.Username, c.Password = smtp.User, secret.Bytes(smtp.Password) }

var message = account.Message{To: "jane@example.org", Channel: account.ChannelEmail, Subject: "Ihr Code für Zürich", Text: "Grüße: 123456\n"}

func TestMailIsHandedOverHoweverTheServerIsProtected(t *testing.T) {
	for _, mode := range []mail.Security{mail.StartTLS, mail.ImplicitTLS, mail.None} {
		t.Run(string(mode), func(t *testing.T) {
			server := smtp.Start(t, string(mode), mode != mail.None)
			s := sender(t, server, func(c *mail.Config) {
				c.Security = mode
				if mode != mail.None {
					signedIn(c)
				}
			})
			if err := s.Carry(t.Context(), "abc123", message); err != nil {
				t.Fatal(err)
			}
			got := server.Await(t, 1)[0]
			if got.TLS != (mode != mail.None) || got.User != (mode != mail.None) {
				t.Errorf("over TLS %v, signed in %v", got.TLS, got.User)
			}
			if got.From != "accounts@example.org" || len(got.To) != 1 || got.To[0] != "jane@example.org" {
				t.Errorf("from %s to %v", got.From, got.To)
			}
			header, body := read(t, got)
			subject, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject"))
			if err != nil || subject != message.Subject || header.Get("Message-ID") != "<abc123@example.org>" || body != message.Text {
				t.Errorf("header %v, body %q", header, body)
			}
		})
	}
}

func read(t *testing.T, m smtp.Mail) (netmail.Header, string) {
	t.Helper()
	p, err := netmail.ReadMessage(strings.NewReader(m.Data))
	if err != nil {
		t.Fatal(err)
	}
	if e := p.Header.Get("Content-Transfer-Encoding"); e != "quoted-printable" {
		t.Fatalf("the body is encoded as %q", e)
	}
	b, err := io.ReadAll(quotedprintable.NewReader(p.Body))
	if err != nil {
		t.Fatal(err)
	}
	return p.Header, string(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")))
}

func TestNobodyInsertsHeadersRecipientsOrMails(t *testing.T) {
	server := smtp.Start(t, "starttls", false)
	s := sender(t, server, nil)
	for name, m := range map[string]account.Message{
		"a header by the subject":      {To: "jane@example.org", Subject: "x\r\nBcc: mallory@example.org"},
		"a header by a bare line feed": {To: "jane@example.org", Subject: "x\nBcc: mallory@example.org"},
		"a command by the address":     {To: "jane@example.org>\r\nRCPT TO:<mallory@example.org"},
		"a second address":             {To: "jane@example.org, mallory@example.org"},
		"a name":                       {To: "Jane <jane@example.org>"},
		"a zero byte":                  {To: "jane@example.org", Subject: "x\x00y"},
	} {
		err := s.Carry(t.Context(), "id", m)
		var never *backoff.PermanentError
		if !errors.As(err, &never) {
			t.Errorf("%s: %v", name, err)
		}
	}
	smuggled := "Hello\n.\nMAIL FROM:<x@example.org>\nRCPT TO:<mallory@example.org>\nDATA\n.\n\r\n.\r\nMAIL FROM:<y@example.org>\r\n"
	if err := s.Carry(t.Context(), "id", account.Message{To: "jane@example.org", Subject: "x", Text: smuggled}); err != nil {
		t.Fatal(err)
	}
	mails := server.Await(t, 1)
	if len(mails) != 1 || len(mails[0].To) != 1 {
		t.Fatalf("%d mails, to %v", len(mails), mails[0].To)
	}
	if _, body := read(t, mails[0]); !strings.Contains(body, "RCPT TO:<mallory@example.org>") {
		t.Errorf("the text lost something: %q", body)
	}
}

func TestRefusalsAreToldApart(t *testing.T) {
	server := smtp.Start(t, "starttls", false)
	s := sender(t, server, nil)
	for to, forGood := range map[string]bool{"full@example.org": false, "gone@example.org": true} {
		err := s.Carry(t.Context(), "id", account.Message{To: to, Subject: "s", Text: "the code 123456"})
		var never *backoff.PermanentError
		if err == nil || errors.As(err, &never) != forGood {
			t.Errorf("%s: %v", to, err)
		}
		if err != nil && (strings.Contains(err.Error(), "example.org") || strings.Contains(err.Error(), "123456")) {
			t.Errorf("the error repeats address or text: %v", err)
		}
	}
}

func TestNothingIsSentToAServerThatCannotProveItselfOrHasNoTLS(t *testing.T) {
	plain, protected := smtp.Start(t, "none", false), smtp.Start(t, "starttls", true)
	for name, s := range map[string]*mail.Sender{
		"no STARTTLS":     sender(t, plain, nil),
		"unknown root":    sender(t, protected, func(c *mail.Config) { c.Roots = x509.NewCertPool(); signedIn(c) }),
		"wrong password":  sender(t, protected, func(c *mail.Config) { signedIn(c); c.Password = secret.Bytes("wrong password") }),
		"nobody signs in": sender(t, protected, nil),
	} {
		err := s.Carry(t.Context(), "id", message)
		if err == nil {
			t.Errorf("%s: it was sent", name)
			continue
		}
		if strings.Contains(err.Error(), "wrong password") {
			t.Errorf("%s: the error holds the password: %v", name, err)
		}
	}
	if n := len(plain.Mails(t)) + len(protected.Mails(t)); n != 0 {
		t.Errorf("%d mails came", n)
	}
}

func TestASilentServerIsGivenUpInTime(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s, err := mail.New(mail.Config{
		Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Security: mail.StartTLS, From: "a@example.org", Timeout: 300 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Carry(ctx, "id", message); err == nil || ctx.Err() != nil {
		t.Fatalf("got %v, %v", err, ctx.Err())
	}
}
