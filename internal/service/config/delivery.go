// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net"
	"net/http"
	"net/mail"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/service/delivery"
)

// Duration is a time.Duration written as "30s" or "1h30m".
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// SMTP is the server that mail is handed to.
type SMTP struct {
	// Host is its name; empty is none.
	Host string `toml:"host"`
	// Port is 587 by default, 465 with Security 'tls'.
	Port int `toml:"port"`
	// Security is 'starttls' (the default), 'tls' or, to this machine alone, 'none'.
	Security string `toml:"security"`
	Username string `toml:"username"`
	// PasswordFile holds the password; required with Username.
	PasswordFile string `toml:"password_file"`
	// From is the sender: an address, or 'Name <address>'.
	From string `toml:"from"`
	// CAFile holds the authorities of its certificate; empty is the system's.
	CAFile string `toml:"ca_file"`
	HELO   string `toml:"helo"`
	// Timeout bounds one mail; 20 seconds by default.
	Timeout Duration `toml:"timeout"`
}

// SMS is the gateway that SMS are handed to; see internal/service/sms for the
// templates.
type SMS struct {
	// URL is its address, a template; empty is no gateway.
	URL         string            `toml:"url"`
	Method      string            `toml:"method"`
	ContentType string            `toml:"content_type"`
	Body        string            `toml:"body"`
	Headers     map[string]string `toml:"headers"`
	// TokenFile holds what the templates call Token.
	TokenFile string `toml:"token_file"`
	// HMACKeyFile holds the key that signs requests, at least 32 bytes; empty signs none.
	HMACKeyFile string   `toml:"hmac_key_file"`
	CAFile      string   `toml:"ca_file"`
	Timeout     Duration `toml:"timeout"`
}

const (
	defaultCarryTime = Duration(20 * time.Second)
	minCarryTime     = Duration(time.Second)
	maxCarryTime     = Duration(delivery.CarryTime)
)

// deliveryDefaults fills in what the file leaves out.
func (c *Config) deliveryDefaults() {
	s := &c.Mail.SMTP
	if s.Security == "" {
		s.Security = "starttls"
	}
	if s.Port == 0 {
		s.Port = 587
		if s.Security == "tls" {
			s.Port = 465
		}
	}
	for _, d := range []*Duration{&s.Timeout, &c.SMS.Timeout} {
		if *d == 0 {
			*d = defaultCarryTime
		}
	}
}

// checkDelivery returns the first thing that is wrong with how mail and SMS leave.
func (c Config) checkDelivery() error {
	s := c.Mail.SMTP
	switch {
	case s.Host == "" && c.Mail.Outbox == "":
		return bad("mail.smtp.host must be given, or mail.outbox where nothing is to be sent")
	case s.Host != "" && c.Mail.Outbox != "":
		return bad("mail.outbox and mail.smtp exclude each other")
	case s.Host == "" && c.SMS.URL != "":
		return bad("sms needs mail.smtp: with mail.outbox nothing is sent")
	case s.Host == "":
		return nil
	}
	if err := s.check(); err != nil {
		return err
	}
	return c.SMS.check()
}

func (s SMTP) check() error {
	local := isLoopback(s.Host)
	_, fromErr := mail.ParseAddress(s.From)
	switch {
	case strings.ContainsAny(s.Host, " /:@") && !local:
		return bad("mail.smtp.host must be a name without a port")
	case s.Port < 1 || s.Port > 65535:
		return bad("mail.smtp.port must be 1 to 65535")
	case s.Security != "starttls" && s.Security != "tls" && s.Security != "none":
		return bad("mail.smtp.security must be starttls, tls or none")
	case s.Security == "none" && !local:
		return bad("mail.smtp.security may be none to this machine alone: mail holds codes")
	case s.Security == "none" && s.Username != "":
		return bad("mail.smtp.username needs starttls or tls")
	case (s.Username == "") != (s.PasswordFile == ""):
		return bad("mail.smtp.username and mail.smtp.password_file go together")
	case fromErr != nil:
		return bad("mail.smtp.from must be an address, or Name <address>")
	}
	return checkTimeout("mail.smtp.timeout", s.Timeout)
}

func (s SMS) check() error {
	if s.URL == "" {
		if s.Body != "" || len(s.Headers) > 0 || s.TokenFile != "" || s.HMACKeyFile != "" {
			return bad("sms.url must be given")
		}
		return nil
	}
	// The address is a template; scheme and host may not come out of it.
	base, _, _ := strings.Cut(s.URL, "{{")
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.User != nil || !strings.Contains(strings.TrimPrefix(base, u.Scheme+"://"), "/") ||
		(u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname()))) {
		return bad("sms.url must be https://host/…, or http to this machine alone")
	}
	if s.Method != "" && s.Method != http.MethodPost && s.Method != http.MethodPut && s.Method != http.MethodGet {
		return bad("sms.method must be POST, PUT or GET")
	}
	if s.Body == "" && s.Method != http.MethodGet {
		return bad("sms.body must be given")
	}
	return checkTimeout("sms.timeout", s.Timeout)
}

func checkTimeout(name string, d Duration) error {
	if d < minCarryTime || d > maxCarryTime {
		return bad(fmt.Sprintf("%s must be 1s to %s", name, time.Duration(maxCarryTime)))
	}
	return nil
}

func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	a, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && a.IsLoopback())
}
