// SPDX-License-Identifier: Apache-2.0

// Package flow owns the conversations with a person (flows), the operations
// that they lead to, and the one place that changes the state of a running
// device. It decides by internal/lock and reaches everything outside by the
// small interfaces in this file.
//
// It must not know D-Bus, HTTP, SQLite or the form of the record on its
// medium, and draws time and randomness from what it is given.
package flow

import (
	"context"
	"crypto"
	"io"
	"time"

	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/secret"
)

// Credentials are what a device proves itself with at the account service.
type Credentials struct {
	ID string
	// Key is an Ed25519 key or, in a TPM, one of ECDSA on P-256.
	Key crypto.Signer
}

// Chip keeps the device's key where it cannot be read: in a TPM. Its errors are
// for the log; without one the key is the record's.
type Chip interface {
	// NewKey makes a key and returns the blob by which the chip finds it again.
	NewKey() (blob []byte, err error)
	// Signer returns the key in a blob. It asks the chip for each signature.
	Signer(blob []byte) (crypto.Signer, error)
}

// Attestor is a Chip that can prove which machine it is in.
type Attestor interface {
	// Attest returns what a challenge for the key in the blob is made from: the public
	// areas of the endorsement key and of the key, and the former's certificate.
	Attest(blob []byte) (endorsement, key, certificate []byte, err error)
	// Activate answers a challenge.
	Activate(blob, credential, secret []byte) ([]byte, error)
}

// Claim is what the account service makes a challenge from.
type Claim struct{ Endorsement, Key, Certificate []byte }

// Challenge is one that only the chip of its claim can answer.
type Challenge struct{ Credential, Secret []byte }

// Enrolment is what a device says of itself.
type Enrolment struct {
	Identities []Identity
	Model      string
	// Proof is the answer to a challenge, Token the vendor's word; either may be
	// empty.
	Proof []byte
	Token string
}

// Identity is one name that the hardware gives itself, as a digest.
type Identity struct {
	Source string
	Digest string
}

// Nonce is 32 random bytes, base64url without padding, that one signed word of
// the account service answers.
type Nonce string

// Grant is a verified grant: the account service signed it for this device
// and the nonce that was sent. What it is for is still to be compared.
type Grant struct {
	Purpose   string
	Link      lock.Link
	AccountID string
	Hint      string
	// Time is when it was signed and Lifetime how long it is good for.
	Time     int64
	Lifetime time.Duration
	// OfflineKey is what the offline codes of a new link are computed under, as
	// it was agreed with this grant; nil where the service gives none.
	OfflineKey secret.Bytes
}

// Remote is the step at which the account service's side of a flow stands.
type Remote struct {
	FlowID  string
	Step    string
	SentTo  string
	Captcha string
	Expires int64
	// Until is when a wait is over, in seconds since the epoch.
	Until int64
	// Approves: the service lets an unlock go on by approval; in the answer to Begin
	// alone.
	Approves bool
	// URI, by https, is where an owner approves, and URIComplete the same with the
	// UserCode in it; empty where the step brings no code.
	URI, URIComplete, UserCode string
	// Interval is how long to leave between two questions whether the owner has.
	Interval time.Duration
	// Grant is verified over the nonce of the request that it answers; nil
	// where the step brings none.
	Grant *Grant
	// Statement is verified likewise.
	Statement *lock.Statement
	// Receipt is a signed word for others to read (JWS), verified too.
	Receipt string
}

// Begin is what a flow at the account service starts with.
type Begin struct {
	Kind   lock.Kind
	LinkID string
	Locale string
	Region string
	Nonce  Nonce
	// Open says that the device is open.
	Open bool
}

// Answer is one answer to the account service.
type Answer struct {
	Step       string
	Identifier string
	UseHint    bool
	Password   secret.Bytes
	Code       secret.Bytes
	Captcha    string
	Confirm    bool
	Nonce      Nonce
	// Key is the idempotency key; empty is a fresh one.
	Key string
	// AgreeOffline asks for a key of offline codes with the grant.
	AgreeOffline bool
}

// Contact is one way to reach support.
type Contact struct{ Kind, Label, Address string }

// Conversation is the account service's side of a flow. Its errors are
// *fault.Error: what the service refused, or why it could not be asked
// (NetworkUnavailable, ServiceUnavailable, ServiceUntrusted, ClockWrong).
type Conversation interface {
	Begin(context.Context, Credentials, Begin) (Remote, error)
	Answer(context.Context, Credentials, string, Answer) (Remote, error)
	Resend(context.Context, Credentials, string) (Remote, error)
	End(context.Context, Credentials, string) error
}

// Registry is the account service's list of devices. Errors as Conversation.
type Registry interface {
	// Challenge returns what proves a claim; creds.ID is empty. InvalidArgument: the
	// service does not take it.
	Challenge(context.Context, Credentials, Claim) (Challenge, error)
	// Enrol returns the device ID, and whether its identity is proven; creds.ID is
	// empty.
	Enrol(context.Context, Credentials, Enrolment) (id string, proven bool, err error)
	// State returns the link as it stands, verified over the nonce.
	State(context.Context, Credentials, string, Nonce) (lock.Statement, error)
	// Report tells what happened, under a name by which it is noted once.
	Report(ctx context.Context, creds Credentials, batch string, events []Event) error
}

// Trust holds the newest key set of the account service that was verified.
type Trust interface {
	KeySet() lock.KeySet
}

// RecordStore writes the lock record. Its error is a StorageFailed.
type RecordStore interface {
	Write(r lock.Record, ownership bool) error
}

// MarkerStore keeps the reset marker. Its errors are StorageFailed.
type MarkerStore interface {
	Write(marker []byte) error
}

// Gate is told to decide again; it goes by its own reading, never by our word.
type Gate interface {
	Poke(context.Context) error
}

// Operation is a change of ownership in progress.
type Operation struct {
	// FlowID is the service's name for the flow: the key under which the
	// change is made once, however often it is asked for.
	FlowID string
	Kind   lock.Kind
	// LinkID is the link that it is about; empty in a link not yet reserved.
	LinkID string
}

// Journal notes operations before their first outside effect. Its errors are
// StorageFailed.
type Journal interface {
	Begin(context.Context, Operation) error
	// End closes an operation; outcome is `done` or `dropped`.
	End(ctx context.Context, flowID, outcome string) error
	Pending(context.Context) ([]Operation, error)
}

// Diary keeps, in the state directory, what a reset may wipe.
type Diary interface {
	// LastCheckIn in seconds since the epoch, 0 for never.
	LastCheckIn(context.Context) (int64, error)
	SetLastCheckIn(context.Context, int64) error
	// Note adds a line to the audit trail; it holds no secret.
	Note(ctx context.Context, event, detail string) error
	// WipeAccount removes what belongs to the account.
	WipeAccount(context.Context) error
}

// Clock tells the time since boot, and the wall clock's, for display alone.
type Clock interface {
	Boot() lock.Boot
	Now() time.Time
}

// Hardware names the device to the account service.
type Hardware interface {
	// Identities are all that answer; recordID is the record's own.
	Identities(recordID []byte) []Identity
	Model() string
	// Token is the vendor's word for the identities; empty where there is none.
	Token() string
}

// Observer hears of changes after they are made and on the medium. Its methods
// must not block and must not call back.
type Observer interface {
	StateChanged(old, now Snapshot)
	FlowChanged(*Flow)
	FlowFinished(*Flow, Outcome)
	FlowRemoved(*Flow)
}

// Ports are everything outside that the package reaches.
type Ports struct {
	Conversation Conversation
	Registry     Registry
	Tickets      Tickets
	Cases        Cases
	Trust        Trust
	Record       RecordStore
	Marker       MarkerStore
	Gate         Gate
	Resetter     Resetter
	Journal      Journal
	Diary        Diary
	Events       EventLog
	Clock        Clock
	// Time is shared with who checks certificates; nil is one of the keeper's own.
	Time     *Time
	Hardware Hardware
	// Chip may be nil.
	Chip Chip
	// Random is a source of cryptographic randomness.
	Random io.Reader
}
