// SPDX-License-Identifier: Apache-2.0

package attest_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/attest"
	"github.com/accountlock/accountlock/internal/tpm"
	"github.com/accountlock/accountlock/internal/tpm/tpmtest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// machine is a device with a TPM.
type machine struct {
	*apitest.Device

	chip *tpmtest.TPM
	keys tpm.Keys
	blob []byte
}

func newMachine(t *testing.T, s *apitest.Service, chip *tpmtest.TPM) *machine {
	t.Helper()
	m := &machine{Device: apitest.NewDevice(s.URL, apitest.Client(s.CA)), chip: chip, keys: tpm.Keys{Device: chip.Device()}}
	var err error
	m.blob, err = m.keys.NewKey()
	must(t, err)
	m.Key, err = m.keys.Signer(m.blob)
	must(t, err)
	return m
}

// name is how the account API names the TPM.
func (m *machine) name(t *testing.T) accountapi.Identity {
	t.Helper()
	value, err := tpm.Endorsement(m.chip.Device())
	must(t, err)
	return apitest.Identity(accountapi.Tpm, value)
}

func text(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// claim is what the device says of its TPM.
func (m *machine) claim(t *testing.T) accountapi.ChallengeRequest {
	t.Helper()
	ek, key, certificate, err := m.keys.Attest(m.blob)
	must(t, err)
	out := accountapi.ChallengeRequest{Key: accountapi.NewJWK(m.Key.Public()), EndorsementKey: text(ek), DeviceKey: text(key)}
	if certificate != nil {
		c := text(certificate)
		out.Certificate = &c
	}
	return out
}

// challenged asks for a challenge.
func (m *machine) challenged(t *testing.T, claim accountapi.ChallengeRequest) (accountapi.ChallengeResponse, string) {
	t.Helper()
	a := m.Post(t, "/v1/devices/challenge", claim)
	var out accountapi.ChallengeResponse
	if a.Status == 200 {
		must(t, json.Unmarshal(a.Body, &out))
	}
	return out, a.Code()
}

// answer answers a challenge by a key in the TPM.
func (m *machine) answer(c accountapi.ChallengeResponse) ([]byte, error) {
	credential, err := base64.RawURLEncoding.DecodeString(c.Credential)
	if err != nil {
		return nil, err
	}
	secret, err := base64.RawURLEncoding.DecodeString(c.Secret)
	if err != nil {
		return nil, err
	}
	return m.keys.Activate(m.blob, credential, secret)
}

func (m *machine) proof(t *testing.T) string {
	t.Helper()
	c, code := m.challenged(t, m.claim(t))
	if code != "" {
		t.Fatalf("no challenge: %s", code)
	}
	proof, err := m.answer(c)
	must(t, err)
	return text(proof)
}

// enrol enrols by these identities, with a proof or token or neither.
func enrol(t *testing.T, d *apitest.Device, proof, token string, ids ...accountapi.Identity) accountapi.EnrolResponse {
	t.Helper()
	r := accountapi.EnrolRequest{Key: accountapi.NewJWK(d.Key.Public()), Identities: ids}
	if proof != "" {
		r.Proof = &proof
	}
	if token != "" {
		r.EnrolmentToken = &token
	}
	a := d.Post(t, "/v1/devices", r)
	if a.Status != 200 {
		t.Fatalf("enrolling: %d %s", a.Status, a.Body)
	}
	var out accountapi.EnrolResponse
	must(t, json.Unmarshal(a.Body, &out))
	d.ID = out.DeviceId
	return out
}

func is(r accountapi.EnrolResponse) accountapi.EnrolResponseIdentity { return r.Identity }

func TestATPMProvesItselfByAnsweringAChallenge(t *testing.T) {
	s := apitest.Start(t)
	m := newMachine(t, s, tpmtest.Start(t))
	id := m.name(t)
	if got := enrol(t, m.Device, "", "", id); is(got) != accountapi.Unproven {
		t.Errorf("without a proof: %+v", got)
	}
	proof := m.proof(t)
	s.Clock.Advance(59 * time.Minute)
	first := enrol(t, m.Device, proof, "", id)
	if is(first) != accountapi.Proven {
		t.Errorf("with one: %+v", first)
	}
	if again := enrol(t, m.Device, "", "", id); is(again) != accountapi.Proven || again.DeviceId != first.DeviceId {
		t.Errorf("the same key later: %+v", again)
	}
	m.chip.Clear()
	cleared := newMachine(t, s, m.chip)
	if got := enrol(t, cleared.Device, cleared.proof(t), "", cleared.name(t)); is(got) != accountapi.Proven || got.DeviceId != first.DeviceId {
		t.Errorf("cleared, under a new key: %+v", got)
	}
}

func TestWhatDoesNotAnswerProvesNothing(t *testing.T) {
	s := apitest.Start(t)
	chip := tpmtest.Start(t)
	m, other, sibling := newMachine(t, s, chip), newMachine(t, s, tpmtest.Start(t)), newMachine(t, s, chip)
	c, _ := m.challenged(t, m.claim(t))
	if _, err := other.answer(c); err == nil {
		t.Error("another TPM answers")
	}
	if _, err := sibling.answer(c); err == nil {
		t.Error("it answers for another key")
	}
	proof := m.proof(t)
	for name, e := range map[string]struct {
		d     *machine
		proof string
		id    accountapi.Identity
	}{
		"a guess":                        {m, text(make([]byte, 32)), m.name(t)},
		"the answer of another key":      {sibling, proof, m.name(t)},
		"the answer of another TPM":      {other, proof, m.name(t)},
		"an answer for another TPM":      {m, proof, other.name(t)},
		"an answer for no TPM":           {m, proof, apitest.Identity(accountapi.Dmi, "a serial")},
		"another TPM's name and its own": {other, other.proof(t), m.name(t)},
	} {
		// Each is another device, so that none has a proof from before.
		if got := enrol(t, e.d.Device, e.proof, "", e.id); is(got) != accountapi.Unproven {
			t.Errorf("%s: %+v", name, got)
		}
	}
	s.Clock.Advance(2*time.Hour + time.Second)
	if got := enrol(t, m.Device, proof, "", m.name(t)); is(got) != accountapi.Unproven {
		t.Errorf("after two hours: %+v", got)
	}
}

func TestAChallengeIsForAKeyThatLiesInATPM(t *testing.T) {
	s := apitest.Start(t)
	m := newMachine(t, s, tpmtest.Start(t))
	good := m.claim(t)
	changed := func(of string, change func(*tpm2.TPMTPublic)) string {
		b, err := base64.RawURLEncoding.DecodeString(of)
		must(t, err)
		p, err := tpm2.Unmarshal[tpm2.TPMTPublic](b)
		must(t, err)
		change(p)
		return text(tpm2.Marshal(p))
	}
	for name, change := range map[string]func(*accountapi.ChallengeRequest){
		"a device key that may leave the TPM": func(r *accountapi.ChallengeRequest) {
			r.DeviceKey = changed(r.DeviceKey, func(p *tpm2.TPMTPublic) { p.ObjectAttributes.FixedTPM = false })
		},
		"one that was brought into it": func(r *accountapi.ChallengeRequest) {
			r.DeviceKey = changed(r.DeviceKey, func(p *tpm2.TPMTPublic) { p.ObjectAttributes.SensitiveDataOrigin = false })
		},
		"the endorsement key as the device's": func(r *accountapi.ChallengeRequest) { r.DeviceKey = r.EndorsementKey },
		"the device's as endorsement key":     func(r *accountapi.ChallengeRequest) { r.EndorsementKey = r.DeviceKey },
		"an endorsement key without a policy": func(r *accountapi.ChallengeRequest) {
			r.EndorsementKey = changed(r.EndorsementKey, func(p *tpm2.TPMTPublic) { p.AuthPolicy.Buffer = nil })
		},
		"a point that is on no curve": func(r *accountapi.ChallengeRequest) {
			r.EndorsementKey = changed(r.EndorsementKey, func(p *tpm2.TPMTPublic) {
				p.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{X: tpm2.TPM2BECCParameter{Buffer: make([]byte, 32)}, Y: tpm2.TPM2BECCParameter{Buffer: make([]byte, 32)}})
			})
		},
		"nothing":        func(r *accountapi.ChallengeRequest) { r.EndorsementKey = "" },
		"garbage":        func(r *accountapi.ChallengeRequest) { r.EndorsementKey = text(bytes.Repeat([]byte{0xff}, 700)) },
		"more":           func(r *accountapi.ChallengeRequest) { r.DeviceKey += "AAAA" },
		"what is padded": func(r *accountapi.ChallengeRequest) { r.DeviceKey += "=" },
	} {
		r := good
		change(&r)
		if _, code := m.challenged(t, r); code != string(fault.InvalidArgument) {
			t.Errorf("%s: %q", name, code)
		}
	}
	// A key in software names an object that holds another one.
	thief := apitest.NewDevice(s.URL, apitest.Client(s.CA))
	r := good
	r.Key = accountapi.NewJWK(thief.Key.Public())
	if a := thief.Post(t, "/v1/devices/challenge", r); a.Code() != string(fault.InvalidArgument) {
		t.Errorf("another key: %s", a.Body)
	}
}

// maker is who makes TPMs, and certifies them.
type maker struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

func newMaker(t *testing.T, from *maker) *maker {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	m := &maker{key: key}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: rand.Text()}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<34, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	if from == nil {
		from = &maker{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, from.certificate, key.Public(), from.key)
	must(t, err)
	m.certificate, err = x509.ParseCertificate(der)
	must(t, err)
	return m
}

func (m *maker) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.certificate.Raw})
}

// certify leaves, in a TPM, a certificate of its endorsement key, as makers do: with
// a critical name that crypto/x509 does not read, in an index that is too long.
func (m *maker) certify(t *testing.T, device *machine) {
	t.Helper()
	area, _, _, err := device.keys.Attest(device.blob)
	must(t, err)
	ek, err := tpm2.Unmarshal[tpm2.TPMTPublic](area)
	must(t, err)
	parms, err := ek.Parameters.ECCDetail()
	must(t, err)
	point, err := ek.Unique.ECC()
	must(t, err)
	key, err := tpm2.ECDSAPub(parms, point)
	must(t, err)
	directoryName := []byte{0x30, 0x04, 0xa4, 0x02, 0x30, 0x00} // an empty one
	name := pkix.Extension{Id: []int{2, 5, 29, 17}, Critical: true, Value: directoryName}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<34, 0), ExtraExtensions: []pkix.Extension{name},
	}, m.certificate, key, m.key)
	must(t, err)
	store(t, device.chip, append(der, make([]byte, 300)...))
}

func store(t *testing.T, chip *tpmtest.TPM, b []byte) {
	t.Helper()
	const index tpm2.TPMHandle = 0x01c0000a
	owner := tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}
	chip.Do(func(tp transport.TPM) error {
		_, err := tpm2.NVDefineSpace{AuthHandle: owner, PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{
			NVIndex: index, NameAlg: tpm2.TPMAlgSHA256, DataSize: uint16(len(b)),
			Attributes: tpm2.TPMANV{OwnerWrite: true, OwnerRead: true, AuthRead: true, NoDA: true},
		})}.Execute(tp)
		if err != nil {
			return err
		}
		for at := 0; at < len(b); at += 512 {
			rsp, err := tpm2.NVReadPublic{NVIndex: index}.Execute(tp)
			if err != nil {
				return err
			}
			_, err = tpm2.NVWrite{
				AuthHandle: owner, NVIndex: tpm2.NamedHandle{Handle: index, Name: rsp.NVName},
				Data: tpm2.TPM2BMaxNVBuffer{Buffer: b[at:min(at+512, len(b))]}, Offset: uint16(at),
			}.Execute(tp)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// With makers named, an emulated TPM proves nothing.
func TestOnlyATPMOfAKnownMakerProvesItself(t *testing.T) {
	s := apitest.Start(t)
	root := newMaker(t, nil)
	between := newMaker(t, root)
	trusted, err := attest.Trust(append(root.pem(), between.pem()...), nil)
	must(t, err)
	*s.Attest = *attest.New(s.Secret, trusted, s.Clock.Now)
	for name, c := range map[string]struct {
		by    *maker
		twist func(*accountapi.ChallengeRequest)
		takes bool
	}{
		"by the maker":                   {root, nil, true},
		"by one in between":              {between, nil, true},
		"by nobody who is known":         {newMaker(t, nil), nil, false},
		"without a certificate":          {nil, nil, false},
		"with one that cannot be read":   {root, func(r *accountapi.ChallengeRequest) { c := text(make([]byte, 99)); r.Certificate = &c }, false},
		"with the maker's, of no TPM":    {root, func(r *accountapi.ChallengeRequest) { c := text(root.certificate.Raw); r.Certificate = &c }, false},
		"with one whose end is cut away": {root, func(r *accountapi.ChallengeRequest) { c := (*r.Certificate)[:200]; r.Certificate = &c }, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, s, tpmtest.Start(t))
			if c.by != nil {
				c.by.certify(t, m)
			}
			claim := m.claim(t)
			if c.twist != nil {
				c.twist(&claim)
			}
			if _, code := m.challenged(t, claim); (code == "") != c.takes {
				t.Errorf("got %q", code)
			}
			if c.takes && is(enrol(t, m.Device, m.proof(t), "", m.name(t))) != accountapi.Proven {
				t.Error("it is unproven")
			}
		})
	}
}

func token(t *testing.T, key ed25519.PrivateKey, kind string, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key}, (&jose.SignerOptions{}).WithType(jose.ContentType(kind)))
	must(t, err)
	payload, err := json.Marshal(claims)
	must(t, err)
	jws, err := signer.Sign(payload)
	must(t, err)
	out, err := jws.CompactSerialize()
	must(t, err)
	return out
}

func TestAVendorsTokenProvesADeviceWithoutATPM(t *testing.T) {
	s := apitest.Start(t)
	public, key, err := ed25519.GenerateKey(nil)
	must(t, err)
	_, strangers, err := ed25519.GenerateKey(nil)
	must(t, err)
	der, err := x509.MarshalPKIXPublicKey(public)
	must(t, err)
	trusted, err := attest.Trust(nil, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	must(t, err)
	*s.Attest = *attest.New(s.Secret, trusted, s.Clock.Now)
	serial := apitest.Identity(accountapi.Dmi, "serial")
	names := []accountapi.Identity{serial, apitest.Identity(accountapi.Devicetree, "x")}
	const kind = attest.TokenType
	good := token(t, key, kind, map[string]any{"identities": names})
	for name, c := range map[string]struct {
		token string
		id    accountapi.Identity
		want  accountapi.EnrolResponseIdentity
	}{
		"the vendor's":            {good, serial, accountapi.Proven},
		"good for a while":        {token(t, key, kind, map[string]any{"identities": names, "exp": s.Clock.Now().Add(time.Hour).Unix()}), serial, accountapi.Proven},
		"run out":                 {token(t, key, kind, map[string]any{"identities": names, "exp": s.Clock.Now().Unix()}), serial, accountapi.Unproven},
		"of another device":       {good, apitest.Identity(accountapi.Dmi, "another serial"), accountapi.Unproven},
		"of another source":       {good, apitest.Identity(accountapi.File, "serial"), accountapi.Unproven},
		"by a stranger":           {token(t, strangers, kind, map[string]any{"identities": names}), serial, accountapi.Unproven},
		"of another kind":         {token(t, key, "accountlock-grant+jwt", map[string]any{"identities": names}), serial, accountapi.Unproven},
		"without any identity":    {token(t, key, kind, map[string]any{}), serial, accountapi.Unproven},
		"changed":                 {good[:len(good)-8] + "AAAAAAAA", serial, accountapi.Unproven},
		"garbage":                 {"a.b.c", serial, accountapi.Unproven},
		"with 'none' for a check": {"eyJhbGciOiJub25lIn0.e30.", serial, accountapi.Unproven},
	} {
		d := apitest.NewDevice(s.URL, apitest.Client(s.CA))
		if got := enrol(t, d, "", c.token, c.id); is(got) != c.want {
			t.Errorf("a token %s: %s", name, is(got))
		}
	}
}

func TestWhatCannotBeTrustedIsSaid(t *testing.T) {
	bad := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})
	for _, c := range [][2][]byte{{[]byte("x"), nil}, {bad, nil}, {nil, []byte("x")}, {nil, bad}} {
		if _, err := attest.Trust(c[0], c[1]); err == nil {
			t.Errorf("%q and %q are taken", c[0], c[1])
		}
	}
}
