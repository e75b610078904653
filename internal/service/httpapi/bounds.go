// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

// MaxBody bounds, in bytes, a request's body.
const MaxBody = 64 << 10

var (
	deviceIDPattern = regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}$`)
	tokenPattern    = regexp.MustCompile(`^[A-Za-z0-9_-]{16,64}$`)
	regionPattern   = regexp.MustCompile(`^([A-Z]{2})?$`)
)

// body is what each operation takes, by its name in the API's document; one that
// is not here takes none. decode reads it strictly and checks every bound that
// the document sets.
var bodies = map[string]func([]byte) (any, error){
	"EnrolDevice":     strict(checkEnrol),
	"ChallengeDevice": strict(checkChallenge),
	"StateDevice":     strict(checkStatement),
	"ReportEvents":    strict(checkEvents),
	"OpenCase":        strict(checkCase),
	"BeginFlow":       strict(checkBegin),
	"AnswerFlow":      strict(checkAnswer),
}

// strict returns a decoder of one JSON value of type T and nothing after it,
// without members that T does not have, that passes check. Its errors are
// fault.InvalidArgument and never quote the body.
func strict[T any](check func(*T) error) func([]byte) (any, error) {
	return func(b []byte) (any, error) {
		var v T
		if !utf8.Valid(b) {
			return nil, invalid("the body is not UTF-8")
		}
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&v); err != nil {
			return nil, invalid(describe(err))
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return nil, invalid("the body holds more than one JSON value")
		}
		if err := check(&v); err != nil {
			return nil, invalid(err.Error())
		}
		return &v, nil
	}
}

// describe says what is wrong with JSON without a piece of it: it may be a
// password.
func describe(err error) string {
	var typed *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &typed):
		return fmt.Sprintf("the body's member %q is of the wrong type", typed.Field)
	case errors.As(err, &syntax):
		return fmt.Sprintf("the body is not JSON at byte %d", syntax.Offset)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the body is not whole"
	default:
		return "the body has a member that is not known, or of the wrong type"
	}
}

func invalid(what string) error {
	return fault.Newf(fault.InvalidArgument, "The request is not as the account API says: %s.", what)
}

func checkEnrol(r *accountapi.EnrolRequest) error {
	if _, err := r.Key.DeviceKey(); err != nil {
		return errors.New("key is no JWK of Ed25519 or P-256")
	}
	if len(r.Identities) < 1 || len(r.Identities) > 16 {
		return errors.New("identities must be 1 to 16")
	}
	for _, id := range r.Identities {
		if !id.Source.Valid() {
			return errors.New("an identity has an unknown source")
		}
		if !isHash(id.Digest) {
			return errors.New("an identity's digest is not 32 bytes in base64url")
		}
	}
	if r.Proof != nil && !isHash(*r.Proof) {
		return errors.New("proof is not 32 bytes in base64url")
	}
	if r.Model != nil && strings.ContainsFunc(*r.Model, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return errors.New("model has characters that are not printed")
	}
	return cmp.Or(within("key.kid", r.Key.Kid, 64), within("model", r.Model, 128), within("enrolment_token", r.EnrolmentToken, 8192))
}

func checkChallenge(r *accountapi.ChallengeRequest) error {
	if _, err := r.Key.DeviceKey(); err != nil {
		return errors.New("key is no JWK of Ed25519 or P-256")
	}
	return cmp.Or(
		within("key.kid", r.Key.Kid, 64), encoded("endorsement_key", &r.EndorsementKey, 1024),
		encoded("device_key", &r.DeviceKey, 1024), encoded("certificate", r.Certificate, 8192))
}

// encoded returns an error for what is not base64url without padding, or longer.
func encoded(name string, s *string, limit int) error {
	if s == nil {
		return nil
	}
	if _, err := base64.RawURLEncoding.DecodeString(*s); err != nil {
		return fmt.Errorf("%s is not base64url without padding", name)
	}
	return within(name, s, limit)
}

func checkStatement(r *accountapi.StatementRequest) error {
	return cmp.Or(isNonce(r.Nonce), within("link_id", r.LinkId, 64))
}

func checkEvents(r *accountapi.EventsRequest) error {
	if len(r.Events) < 1 || len(r.Events) > 100 {
		return errors.New("events must be 1 to 100")
	}
	for _, e := range r.Events {
		if !e.Kind.Valid() {
			return errors.New("an event has an unknown kind")
		}
		if err := within("detail", e.Detail, 200); err != nil {
			return err
		}
	}
	return nil
}

var challengePattern = regexp.MustCompile(`^[0-9]{10}$`)

func checkCase(r *accountapi.CaseRequest) error {
	switch {
	case r.Challenge != nil && !challengePattern.MatchString(*r.Challenge):
		return errors.New("challenge is not ten digits")
	case r.Region != nil && !regionPattern.MatchString(*r.Region):
		return errors.New("region is not ISO 3166-1 alpha-2")
	}
	return within("locale", r.Locale, 35)
}

func checkBegin(r *accountapi.BeginRequest) error {
	switch {
	case !r.Kind.Valid():
		return errors.New("kind is not known")
	case !deviceIDPattern.MatchString(r.DeviceId):
		return errors.New("device_id is not a device ID")
	case r.Region != nil && !regionPattern.MatchString(*r.Region):
		return errors.New("region is not ISO 3166-1 alpha-2")
	}
	return cmp.Or(isNonce(r.Nonce), within("link_id", r.LinkId, 64), within("locale", r.Locale, 35))
}

func checkAnswer(r *accountapi.FlowAnswer) error {
	if !r.Step.Valid() {
		return errors.New("step is not known")
	}
	if r.Nonce != nil {
		if err := isNonce(*r.Nonce); err != nil {
			return err
		}
	}
	if r.OfflineKey != nil && !isHash(*r.OfflineKey) {
		return errors.New("offline_key is not 32 bytes in base64url")
	}
	return cmp.Or(
		within("identifier", r.Identifier, 254), within("captcha", r.Captcha, 4096),
		secretWithin("password", r.Password, 1024), secretWithin("code", r.Code, 64))
}

// within returns an error for a text of more than limit characters, or with a NUL,
// which PostgreSQL stores in no text. That it is UTF-8 is known of the whole body.
func within(name string, s *string, limit int) error {
	if s != nil && utf8.RuneCountInString(*s) > limit {
		return fmt.Errorf("%s is longer than %d characters", name, limit)
	}
	if s != nil && strings.ContainsRune(*s, 0) {
		return fmt.Errorf("%s has a NUL", name)
	}
	return nil
}

func secretWithin(name string, s *accountapi.Secret, limit int) error {
	if s != nil && utf8.RuneCount(*s) > limit {
		return fmt.Errorf("%s is longer than %d characters", name, limit)
	}
	return nil
}

func isNonce(s string) error {
	if !isHash(s) {
		return errors.New("nonce is not 32 bytes in base64url")
	}
	return nil
}

// isHash reports whether s is 32 bytes in base64url without padding.
func isHash(s string) bool {
	b, err := base64.RawURLEncoding.DecodeString(s)
	return err == nil && len(b) == 32
}
