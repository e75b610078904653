// SPDX-License-Identifier: Apache-2.0

// Package offline owns the account service's part of the ways in that need no
// network at the device: the key of a link's offline codes, and the response or
// the ticket for the challenge that a locked device shows.
//
// It must not decide who may ask: its callers, the console command, the
// portal's page and a case of support, have found that out before.
package offline

import (
	"context"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/ocra"
	"github.com/accountlock/accountlock/internal/secret"
	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/seal"
)

// DB runs transactions, as *store.DB does: fn may run more than once.
type DB interface {
	Tx(ctx context.Context, fn func(*sql.Tx) error) error
}

// Service keeps the keys of offline codes and answers challenges. It is safe for
// concurrent use and keeps nothing between calls.
type Service struct {
	db      DB
	devices *device.Registry
	seal    cipher.AEAD
	// owner, if set, is the account whose devices alone are answered for.
	owner  string
	signer Signer
	now    func() time.Time
}

// New returns a Service over db. Keys are stored under a key of their own that is
// made from the service secret: who has the database alone answers no challenge.
// Changing the secret ends the offline codes of every link made before. now tells
// the time.
func New(db DB, devices *device.Registry, serviceSecret secret.Bytes, signer Signer, now func() time.Time) (*Service, error) {
	box, err := seal.New(serviceSecret, "accountlock-offline-keys-v1")
	if err != nil {
		return nil, err
	}
	return &Service{db: db, devices: devices, seal: box, signer: signer, now: now}, nil
}

// Agree makes, within the transaction that reserves a link, the key of its
// offline codes with the public key that the device sent, and returns the
// service's own public key for the grant. A key that is none is
// fault.InvalidArgument.
func (s *Service) Agree(ctx context.Context, tx *sql.Tx, l device.Link, public string) (string, error) {
	own, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return "", fmt.Errorf("cannot make a key: %w", err)
	}
	a := accountapi.Agreement{DeviceID: l.DeviceID, LinkID: l.ID, Device: public, Service: accountapi.OfflinePublic(own)}
	key, err := a.Key(own)
	if err != nil {
		f := fault.Newf(fault.InvalidArgument, "The offline_key is no public X25519 key.")
		f.Err = err
		return "", f
	}
	defer clear(key)
	box := s.seal.Seal(nil, nil, key, []byte(l.ID)) //nolint:gosec // NewGCMWithRandomNonce draws the nonce itself
	sealed := base64.RawStdEncoding.EncodeToString(box)
	if err := device.SetOfflineKey(ctx, tx, l.ID, sealed); err != nil {
		return "", err
	}
	return a.Service, nil
}

// Respond returns what answers the challenge that a device shows, notes it in the
// device's list of events and tells the owner. The same challenge has the same
// response, however often it is asked for. Faults: InvalidArgument for what is no
// challenge, DeviceUnknown, NotLinked for a device that nobody owns or whose
// link has no key, Declined while it is marked lost.
func (s *Service) Respond(ctx context.Context, deviceID, challenge string) (string, error) {
	return s.alone(ctx, s.RespondIn, deviceID, challenge)
}

// alone runs one of the answers in a transaction of its own.
func (s *Service) alone(ctx context.Context, do func(context.Context, *sql.Tx, string, string) (string, error), deviceID, challenge string) (string, error) {
	var answer string
	err := s.db.Tx(ctx, func(tx *sql.Tx) (err error) {
		answer, err = do(ctx, tx, deviceID, challenge)
		return err
	})
	if err != nil {
		return "", err
	}
	return answer, nil
}

// RespondIn is Respond within a transaction.
func (s *Service) RespondIn(ctx context.Context, tx *sql.Tx, deviceID, challenge string) (string, error) {
	question, err := Challenge(challenge)
	if err != nil {
		return "", err
	}
	l, err := s.opened(ctx, tx, deviceID)
	if err != nil {
		return "", err
	}
	key, err := s.key(ctx, tx, l)
	if err != nil {
		return "", err
	}
	defer clear(key)
	response, err := ocra.OfflineCode.Response(key, ocra.Input{Question: question})
	if err != nil {
		return "", fmt.Errorf("cannot answer a challenge: %w", err)
	}
	return response, s.devices.Tell(ctx, tx, l, "offline-code", device.NoticeOfflineCode)
}

// Challenge returns a challenge as a person read it out, without what stands
// between its digits, or fault.InvalidArgument.
func Challenge(typed string) (string, error) {
	digits := strings.NewReplacer(" ", "", "-", "").Replace(typed)
	if len(digits) != ocra.OfflineQuestion || strings.Trim(digits, "0123456789") != "" {
		return "", fault.Newf(fault.InvalidArgument, "A challenge has %d digits; this is none.", ocra.OfflineQuestion)
	}
	return digits, nil
}

// Owned is the service for one account: a device of another is to it as one that
// is not there, fault.DeviceUnknown.
func (s *Service) Owned(accountID string) *Service {
	out := *s
	out.owner = accountID
	return &out
}

// opened returns the link of a device that its owner may open from afar.
func (s *Service) opened(ctx context.Context, tx *sql.Tx, deviceID string) (device.Link, error) {
	l, err := device.NewestLink(ctx, tx, deviceID)
	if err != nil {
		return device.Link{}, err
	}
	if s.owner != "" && l.AccountID != s.owner {
		// fails locked: nobody opens, or finds out about, somebody else's device.
		return device.Link{}, fault.New(fault.DeviceUnknown, nil)
	}
	return l, l.OpensFromAfar()
}

func (s *Service) key(ctx context.Context, tx *sql.Tx, l device.Link) ([]byte, error) {
	stored, err := device.OfflineKey(ctx, tx, l.ID)
	if err != nil {
		return nil, err
	}
	if stored == "" {
		f := fault.Newf(fault.NotLinked, "No key for offline codes was agreed when this device was linked.")
		f.Remedy = "Use another way in; a new link brings a key."
		return nil, f
	}
	raw, err := base64.RawStdEncoding.DecodeString(stored)
	if err != nil {
		return nil, fmt.Errorf("cannot read a link's offline key: %w", err)
	}
	key, err := s.seal.Open(nil, nil, raw, []byte(l.ID))
	if err != nil {
		return nil, fmt.Errorf("cannot open a link's offline key: %w", errors.Join(errSecret, err))
	}
	return key, nil
}

var errSecret = errors.New("it was stored under another service secret")
