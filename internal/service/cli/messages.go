// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/secret"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/config"
	"github.com/accountlock/accountlock/internal/service/delivery"
	"github.com/accountlock/accountlock/internal/service/files"
	"github.com/accountlock/accountlock/internal/service/mail"
	"github.com/accountlock/accountlock/internal/service/outbox"
	"github.com/accountlock/accountlock/internal/service/sms"
)

// maxCredential and maxRoots bound, in bytes, what a file may hold.
const (
	maxCredential = 4 << 10
	maxRoots      = 1 << 20
	minHMACKey    = 32
)

// messages returns how mail and SMS leave: by the queue in the database, or into
// the folder of development.
func (s *service) messages() (account.Notifier, error) {
	if s.cfg.Mail.SMTP.Host == "" {
		return outbox.New(outbox.Config{Dir: s.cfg.Mail.Outbox, Console: s.console})
	}
	carriers, err := carriersOf(s.cfg)
	if err != nil {
		return nil, err
	}
	s.queue, err = delivery.New(delivery.Config{DB: s.db, Secret: s.secret.Reveal(), Carriers: carriers, Now: time.Now, Log: s.log})
	return s.queue, err
}

// carriersOf opens the files that the configuration names for mail and SMS.
func carriersOf(cfg config.Config) (map[account.Channel]delivery.Carrier, error) {
	out := map[account.Channel]delivery.Carrier{}
	byMail, err := mailCarrier(cfg.Mail.SMTP)
	if err != nil {
		return nil, err
	}
	out[account.ChannelEmail] = byMail
	if cfg.SMS.URL == "" {
		return out, nil
	}
	bySMS, err := smsCarrier(cfg.SMS)
	if err != nil {
		return nil, err
	}
	out[account.ChannelSMS] = bySMS
	return out, nil
}

func mailCarrier(c config.SMTP) (*mail.Sender, error) {
	password, err := credential(c.PasswordFile)
	if err != nil {
		return nil, err
	}
	roots, err := rootsOf(c.CAFile)
	if err != nil {
		return nil, err
	}
	return mail.New(mail.Config{
		Host: c.Host, Port: c.Port, Security: mail.Security(c.Security), Roots: roots,
		Username: c.Username, Password: password, From: c.From, HELO: c.HELO, Timeout: time.Duration(c.Timeout),
	})
}

func smsCarrier(c config.SMS) (*sms.Sender, error) {
	token, err := credential(c.TokenFile)
	if err != nil {
		return nil, err
	}
	key, err := credential(c.HMACKeyFile)
	if err != nil {
		return nil, err
	}
	if c.HMACKeyFile != "" && len(key) < minHMACKey {
		return nil, misconfigured("sms.hmac_key_file holds fewer than %d bytes", minHMACKey)
	}
	roots, err := rootsOf(c.CAFile)
	if err != nil {
		return nil, err
	}
	out, err := sms.New(sms.Config{
		URL: c.URL, Body: c.Body, Headers: c.Headers, Method: c.Method, ContentType: c.ContentType,
		Token: token, Key: key, Roots: roots, Timeout: time.Duration(c.Timeout),
	})
	if err != nil {
		return nil, misconfigured("%s", err)
	}
	return out, nil
}

// credential returns what a file holds, without the line's end; nothing where no
// file is named.
func credential(path string) (secret.Bytes, error) {
	if path == "" {
		return nil, nil
	}
	b, err := files.Read(path, maxCredential)
	if err != nil {
		return nil, err
	}
	b = bytes.TrimRight(b, "\r\n")
	if len(b) == 0 {
		return nil, fmt.Errorf("cannot use %s: it is empty", path)
	}
	return b, nil
}

func rootsOf(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	b, err := files.Read(path, maxRoots)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, misconfigured("%s holds no certificate", path)
	}
	return pool, nil
}

func misconfigured(format string, args ...any) error {
	f := fault.Newf(fault.InvalidArgument, "The configuration cannot be used: %s.", fmt.Sprintf(format, args...))
	f.Remedy = "Correct the file; --check-config says when it is right."
	return f
}
