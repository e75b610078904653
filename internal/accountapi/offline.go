// SPDX-License-Identifier: Apache-2.0

package accountapi

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// Agreement is how a device and the account service come to the key of a link's
// offline codes: X25519 (RFC 7748) between two keys made for this link alone, and
// HKDF-SHA256 (RFC 5869) over what they share. Only the two public keys are ever
// sent; the service's stands in its signed grant, so that nobody in between
// can put another one in its place.
type Agreement struct {
	DeviceID, LinkID string
	// Device and Service are the two public keys, base64url without padding.
	Device, Service string
}

const (
	offlineLabel   = "accountlock-offline-code-v1"
	offlineKeySize = 32
)

var errAgreement = errors.New("cannot agree on a key")

// TicketNonce is the nonce that a ticket answers: a grant fetched elsewhere for the
// ten digits of the challenge that a device shows, and carried there.
func TicketNonce(deviceID, challenge string) string {
	sum := sha256.Sum256([]byte("accountlock-ticket-v1\x00" + deviceID + "\x00" + challenge))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// OfflinePublic returns the public half of key as it is sent.
func OfflinePublic(key *ecdh.PrivateKey) string {
	return base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes())
}

// Key returns the 32 bytes that both sides come to. own is the private half of
// one of the two keys. It fails on a public key that is none, or that leads to
// a secret everybody knows.
func (a Agreement) Key(own *ecdh.PrivateKey) ([]byte, error) {
	peer := a.Service
	if OfflinePublic(own) == a.Service {
		peer = a.Device
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(peer)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAgreement, err)
	}
	public, err := ecdh.X25519().NewPublicKey(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAgreement, err)
	}
	shared, err := own.ECDH(public)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAgreement, err)
	}
	defer clear(shared)
	info := offlineLabel + "\x00" + a.DeviceID + "\x00" + a.LinkID + "\x00" + a.Device + "\x00" + a.Service
	return hkdf.Key(sha256.New, shared, nil, info, offlineKeySize)
}
