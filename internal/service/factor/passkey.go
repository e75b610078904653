// SPDX-License-Identifier: Apache-2.0

package factor

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/accountlock/accountlock/internal/fault"
)

// relyingParty is the service as passkeys know it: the portal's host. It is nil where
// that is an IP address, which no passkey can be for (WebAuthn, 5.1.3, step 7).
func relyingParty(public string) (*webauthn.WebAuthn, error) {
	u, err := url.Parse(public)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("cannot use %q as the portal's address", public)
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		return nil, nil //nolint:nilnil // see above: it is how the absence is told
	}
	w, err := webauthn.New(&webauthn.Config{
		RPID: u.Hostname(), RPDisplayName: u.Hostname(), RPOrigins: []string{u.Scheme + "://" + u.Host},
		AttestationPreference: protocol.PreferNoAttestation,
		// Found by the browser without a name, and opened by a finger, a face or a PIN: so
		// it stands for the password and the second factor both.
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, UserVerification: protocol.VerificationRequired,
		},
		// Some password managers say more than they were asked.
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	})
	if err != nil {
		return nil, fmt.Errorf("cannot have passkeys for %s: %w", u.Hostname(), err)
	}
	return w, nil
}

// Passkeys reports whether there can be any.
func (s *Service) Passkeys() bool { return s.web != nil }

// Ceremony is what a browser is asked and what it sends back with its answer.
type Ceremony struct {
	// Options are for navigator.credentials (JSON, WebAuthn 5.1.8 and 5.1.9).
	Options any `json:"options"`
	// Offer goes back with the answer.
	Offer string `json:"offer"`
}

// person is an owner as the library asks for one.
type person struct {
	handle []byte
	name   string
	own    []webauthn.Credential
}

func (p person) WebAuthnID() []byte                         { return p.handle }
func (p person) WebAuthnName() string                       { return p.name }
func (p person) WebAuthnDisplayName() string                { return p.name }
func (p person) WebAuthnCredentials() []webauthn.Credential { return p.own }

// person reads an owner. The handle that authenticators keep tells nothing of who it is.
func (s *Service) person(ctx context.Context, owner, name string) (person, error) {
	p := person{handle: s.mac("handle", owner), name: name}
	err := s.DB.Read(ctx, func(tx *sql.Tx) error {
		p.own = nil
		rows, err := tx.QueryContext(ctx, `SELECT id, sealed FROM factors WHERE owner = $1 AND kind = 'passkey' ORDER BY created_at, id`, owner)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id, sealed string
			if err := rows.Scan(&id, &sealed); err != nil {
				return err
			}
			var c webauthn.Credential
			if err := s.open(id, sealed, &c); err != nil {
				return err
			}
			p.own = append(p.own, c)
		}
		return rows.Err()
	})
	return p, wrap("read passkeys", err)
}

func none() error {
	return fault.Newf(fault.InvalidArgument, "Passkeys are not to be had at this address.")
}

// OfferPasskey asks a browser for a new passkey. name is what the authenticator calls the
// account. Where passkeys cannot be, it is fault.InvalidArgument.
func (s *Service) OfferPasskey(ctx context.Context, owner, name string) (Ceremony, error) {
	if s.web == nil {
		return Ceremony{}, none()
	}
	p, err := s.person(ctx, owner, name)
	if err != nil {
		return Ceremony{}, err
	}
	var known []protocol.CredentialDescriptor
	for _, c := range p.own {
		known = append(known, c.Descriptor())
	}
	options, session, err := s.web.BeginRegistration(p, webauthn.WithExclusions(known))
	if err != nil {
		return Ceremony{}, fmt.Errorf("cannot offer a passkey: %w", err)
	}
	sealed, err := s.offered("passkey", offer{Owner: owner, Session: session})
	return Ceremony{Options: options.Response, Offer: sealed}, err
}

// AddPasskey sets up the passkey that a browser has made. It returns the owner's backup
// codes with the first factor, nil otherwise. Errors are faults: Timeout (the offer is
// over), InvalidCode (the answer does not hold), InvalidArgument (too many).
func (s *Service) AddPasskey(ctx context.Context, owner, offered, name string, answer []byte) ([]string, error) {
	if s.web == nil {
		return nil, none()
	}
	o, err := s.take("passkey", owner, offered)
	if err != nil {
		return nil, err
	}
	if o.Session == nil || len(answer) > maxAnswer {
		return nil, refused(nil)
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return nil, refused(err)
	}
	c, err := s.web.CreateCredential(person{handle: s.mac("handle", owner)}, *o.Session, parsed)
	if err != nil {
		return nil, refused(err)
	}
	// Nobody's make of authenticator is asked for, so nothing of it is kept.
	c.Attestation = webauthn.CredentialAttestation{}
	f := Factor{ID: newID(), Kind: Passkey, Name: named(name, "Passkey")}
	sealed, err := s.closed(f.ID, c)
	if err != nil {
		return nil, err
	}
	var spare []string
	err = s.DB.Tx(ctx, func(tx *sql.Tx) error {
		if err := s.spend(ctx, tx, o.Session.Challenge, o.Expires); err != nil {
			return err
		}
		var taken int64
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM factors WHERE credential = $1 AND credential <> ''`, credentialName(c.ID)).Scan(&taken); err != nil {
			return err
		}
		if taken > 0 {
			return refused(errors.New("the credential is known already"))
		}
		spare, err = s.insert(ctx, tx, owner, f, sealed, credentialName(c.ID), 0)
		return err
	})
	if err != nil {
		return nil, wrap("set up a passkey", err)
	}
	s.Tell(ctx, owner)
	return spare, nil
}

// AskPasskey asks a browser to sign with one of an owner's passkeys or, where owner is
// empty, with any that it has for this portal.
func (s *Service) AskPasskey(ctx context.Context, owner string) (Ceremony, error) {
	if s.web == nil {
		return Ceremony{}, none()
	}
	var (
		options *protocol.CredentialAssertion
		session *webauthn.SessionData
		err     error
	)
	if owner == "" {
		options, session, err = s.web.BeginDiscoverableLogin()
	} else {
		var p person
		if p, err = s.person(ctx, owner, ""); err != nil {
			return Ceremony{}, err
		}
		if len(p.own) == 0 {
			return Ceremony{}, fault.Newf(fault.InvalidArgument, "There is no such second factor any more.")
		}
		options, session, err = s.web.BeginLogin(p)
	}
	if err != nil {
		return Ceremony{}, fmt.Errorf("cannot ask for a passkey: %w", err)
	}
	sealed, err := s.offered("ask", offer{Owner: owner, Session: session})
	return Ceremony{Options: options.Response, Offer: sealed}, err
}

// CheckPasskey returns whose passkey has signed what AskPasskey asked of owner, who may be
// empty there and here. An answer is good once. Errors are faults: Timeout (it was
// asked too long ago), InvalidCode.
func (s *Service) CheckPasskey(ctx context.Context, owner, offered string, answer []byte) (string, error) {
	if s.web == nil {
		return "", none()
	}
	o, err := s.take("ask", owner, offered)
	if err != nil {
		return "", err
	}
	if o.Session == nil || len(answer) > maxAnswer {
		return "", refused(nil)
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return "", refused(err)
	}
	id, whose, err := s.find(ctx, parsed.RawID)
	if err != nil {
		return "", err
	}
	if owner != "" && whose != owner {
		return "", refused(errors.New("it is somebody else's"))
	}
	p, err := s.person(ctx, whose, "")
	if err != nil {
		return "", err
	}
	c, err := s.validate(p, o, parsed)
	if err != nil {
		return "", refused(err)
	}
	if c.Authenticator.CloneWarning {
		// fails closed: two authenticators count apart, and one of them is a copy.
		return "", refused(errors.New("the authenticator's counter went back"))
	}
	sealed, err := s.closed(id, c)
	if err != nil {
		return "", err
	}
	err = s.DB.Tx(ctx, func(tx *sql.Tx) error {
		if err := s.spend(ctx, tx, o.Session.Challenge, o.Expires); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE factors SET sealed = $1, used_at = $2 WHERE id = $3`, sealed, s.Now().UnixMilli(), id)
		return err
	})
	return whose, wrap("note that a passkey was used", err)
}

func (s *Service) validate(p person, o offer, parsed *protocol.ParsedCredentialAssertionData) (*webauthn.Credential, error) {
	if o.Owner != "" {
		return s.web.ValidateLogin(p, *o.Session, parsed)
	}
	_, c, err := s.web.ValidatePasskeyLogin(func([]byte, []byte) (webauthn.User, error) { return p, nil }, *o.Session, parsed)
	return c, err
}

// find returns the factor that has a credential, and whose it is.
func (s *Service) find(ctx context.Context, credential []byte) (id, owner string, err error) {
	err = s.DB.Read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT id, owner FROM factors WHERE credential = $1 AND credential <> ''`, credentialName(credential)).Scan(&id, &owner)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return "", "", refused(nil)
	}
	return id, owner, wrap("find a passkey", err)
}

// errSpent: an offer was taken before.
var errSpent = errors.New("the challenge was answered before")

// spend notes that an offer was taken, by what only it has, or refuses one that was
// before.
func (s *Service) spend(ctx context.Context, tx *sql.Tx, challenge string, expires int64) error {
	r, err := tx.ExecContext(ctx, `INSERT INTO factor_challenges (challenge, expires_at) VALUES ($1, $2) ON CONFLICT (challenge) DO NOTHING`,
		challenge, expires)
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return errors.Join(refused(errSpent), err)
	}
	return nil
}

// refused says no more to a person than that it did not work; why is for the log.
func refused(err error) error {
	f := fault.Newf(fault.InvalidCode, "The passkey was not accepted.")
	f.Remedy = "Try again, or prove in another way that it is you."
	f.Err = err
	return f
}

func credentialName(id []byte) string { return base64.RawURLEncoding.EncodeToString(id) }

// Parse reads what a browser sends back: the offer and the answer to it.
func Parse(body []byte) (offered string, answer []byte, err error) {
	var in struct {
		Offer  string          `json:"offer"`
		Answer json.RawMessage `json:"answer"`
	}
	if len(body) > 2*maxAnswer || json.Unmarshal(body, &in) != nil {
		return "", nil, refused(errors.New("the answer cannot be read"))
	}
	return in.Offer, in.Answer, nil
}
