// SPDX-License-Identifier: Apache-2.0

// Package mail hands e-mail over to an SMTP server (RFC 5321), as submission
// (RFC 6409) with STARTTLS (RFC 3207) or over implicit TLS (RFC 8314).
//
// It must not know why a mail is sent, nor try one twice: internal/service/delivery
// does.
package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	netmail "net/mail"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	gomail "github.com/wneessen/go-mail"

	"github.com/accountlock/accountlock/internal/secret"
	"github.com/accountlock/accountlock/internal/service/account"
)

// Security is how the connection is protected.
type Security string

// The ways. None is for a server on the same machine.
const (
	StartTLS    Security = "starttls"
	ImplicitTLS Security = "tls"
	None        Security = "none"
)

// Config says which server to hand mail to. Host, Port, Security, From and
// Timeout must be given.
type Config struct {
	Host     string
	Port     int
	Security Security
	// Roots verify the server's certificate; nil is the system's.
	Roots *x509.CertPool
	// Username, if any, and Password sign in at the server; never in the clear.
	Username string
	Password secret.Bytes
	// From is the sender, such as 'Accounts <accounts@example.org>'.
	From string
	// HELO is the name that this machine gives itself; its host name by default.
	HELO string
	// Timeout bounds one mail, from dialling to the end.
	Timeout time.Duration
	// Now is the time; time.Now by default.
	Now func() time.Time
}

// Sender hands over one mail at a time. It is safe for concurrent use.
type Sender struct {
	cfg    Config
	from   *netmail.Address
	domain string
}

// New checks the configuration. It does not dial.
func New(cfg Config) (*Sender, error) {
	from, err := netmail.ParseAddress(cfg.From)
	if err != nil {
		return nil, errors.New("cannot send mail from an address that is none")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	_, domain, _ := strings.Cut(from.Address, "@")
	s := &Sender{cfg: cfg, from: from, domain: domain}
	_, err = s.client()
	return s, err
}

func (s *Sender) client() (*gomail.Client, error) {
	options := []gomail.Option{
		gomail.WithPort(s.cfg.Port), gomail.WithTimeout(s.cfg.Timeout), gomail.WithoutNoop(),
		gomail.WithTLSConfig(&tls.Config{ServerName: s.cfg.Host, RootCAs: s.cfg.Roots, MinVersion: tls.VersionTLS12}),
	}
	switch s.cfg.Security {
	case StartTLS:
		// Mandatory: somebody in between who strips STARTTLS gets no mail.
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case ImplicitTLS:
		options = append(options, gomail.WithSSL())
	case None:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		return nil, fmt.Errorf("cannot protect mail by %q", s.cfg.Security)
	}
	if s.cfg.Username != "" {
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover),
			gomail.WithUsername(s.cfg.Username), gomail.WithPassword(string(s.cfg.Password.Reveal())))
	}
	if s.cfg.HELO != "" {
		options = append(options, gomail.WithHELO(s.cfg.HELO))
	}
	c, err := gomail.NewClient(s.cfg.Host, options...)
	if err != nil {
		return nil, fmt.Errorf("cannot use the mail server's configuration: %w", err)
	}
	return c, nil
}

// Carry hands one message over. id names it for good: sent twice after a crash,
// it has the same Message-ID, by which mailboxes drop the second. An error of
// type *backoff.PermanentError means that trying again is of no use. No error
// repeats the address or the text.
func (s *Sender) Carry(ctx context.Context, id string, m account.Message) error {
	msg, err := s.compose(id, m)
	if err != nil {
		return backoff.Permanent(err)
	}
	client, err := s.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	return outcome(client.DialAndSendWithContext(ctx, msg), msg)
}

func (s *Sender) compose(id string, m account.Message) (*gomail.Msg, error) {
	// fails closed: a line break would begin a header, or a command, of somebody
	// else's choice. The library encodes them too; this does not rely on it.
	if strings.ContainsAny(m.To+m.Subject+id, "\r\n\x00") {
		return nil, errors.New("cannot send a mail whose address or subject has a line break")
	}
	to, err := netmail.ParseAddress(m.To)
	if err != nil || to.Name != "" || to.Address != m.To {
		return nil, errors.New("cannot send a mail to an address that is none")
	}
	msg := gomail.NewMsg()
	msg.FromMailAddress(s.from)
	msg.ToMailAddress(to)
	msg.Subject(m.Subject)
	msg.SetDateWithValue(s.cfg.Now())
	msg.SetMessageIDWithValue(id + "@" + s.domain)
	// RFC 3834, 5: nobody's holiday notice answers it.
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	return msg, nil
}

// outcome tells what came of a mail, without what the server said: servers
// repeat addresses.
func outcome(err error, msg *gomail.Msg) error {
	if err == nil || msg.IsDelivered() {
		// A server that took the mail and then failed to say goodbye has it.
		return nil
	}
	var sent *gomail.SendError
	if !errors.As(err, &sent) {
		return fmt.Errorf("cannot reach the mail server: %w", err)
	}
	code := sent.ErrorCode()
	plain := fmt.Errorf("the mail server refused a mail with code %d %s", code, sent.EnhancedStatusCode())
	if code >= 500 && !sent.IsTemp() {
		return backoff.Permanent(plain)
	}
	return plain
}
