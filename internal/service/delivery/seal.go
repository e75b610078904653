// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/accountlock/accountlock/internal/service/account"
)

// sealer keeps messages so that who has the database alone reads none: AES-256
// in GCM with a random nonce (NIST SP 800-38D), over the message's name.
type sealer struct{ aead cipher.AEAD }

func newSealer(secret []byte) (*sealer, error) {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("messages"))
	block, err := aes.NewCipher(h.Sum(nil))
	if err != nil {
		return nil, fmt.Errorf("cannot seal messages: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("cannot seal messages: %w", err)
	}
	return &sealer{aead}, nil
}

func (s *sealer) close(id string, m account.Message) (string, error) {
	plain, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("cannot seal a message: %w", err)
	}
	nonce := make([]byte, s.aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return "", fmt.Errorf("cannot seal a message: %w", err)
	}
	return base64.RawStdEncoding.EncodeToString(s.aead.Seal(nonce, nonce, plain, []byte(id))), nil
}

var errSealed = errors.New("it was sealed under another service secret, or is damaged")

func (s *sealer) open(id, sealed string) (m account.Message, err error) {
	b, err := base64.RawStdEncoding.DecodeString(sealed)
	if err != nil || len(b) < s.aead.NonceSize() {
		return m, errSealed
	}
	n := s.aead.NonceSize()
	plain, err := s.aead.Open(nil, b[:n], b[n:], []byte(id))
	if err != nil {
		return m, errSealed
	}
	return m, json.Unmarshal(plain, &m)
}
