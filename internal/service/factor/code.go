// SPDX-License-Identifier: Apache-2.0

package factor

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/secret"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/totp"
)

const (
	// backupCodes is how many an owner has, backupLetters how many letters one: 50 bits.
	backupCodes   = 10
	backupLetters = 10
)

// NewApp is an authenticator app that is to be set up.
type NewApp struct {
	// Key is what is typed into the app, URI what its QR code holds.
	Key, URI string
	// Offer goes back to AddApp.
	Offer string
}

// OfferApp draws a key for an app. Nothing is kept: the owner has no app before AddApp.
// issuer and name are what the app calls the service and the account.
func (s *Service) OfferApp(owner, issuer, name string) (NewApp, error) {
	key, err := totp.NewKey()
	if err != nil {
		return NewApp{}, err
	}
	return s.newApp(issuer, name, offer{Owner: owner, Key: key})
}

// SameApp is the app of an offer once more, for a form that is shown again; it is good
// for no longer. Its errors are AddApp's.
func (s *Service) SameApp(owner, issuer, name, offered string) (NewApp, error) {
	o, err := s.take("app", owner, offered)
	if err != nil {
		return NewApp{}, err
	}
	return s.newApp(issuer, name, o)
}

func (s *Service) newApp(issuer, name string, o offer) (NewApp, error) {
	key := secret.Bytes(o.Key)
	defer key.Wipe()
	sealed, err := s.offered("app", o)
	return NewApp{Key: totp.Text(key), URI: totp.URI(issuer, name, key), Offer: sealed}, err
}

// AddApp sets up the app of an offer, which has shown that it has the key by a code. It
// returns the owner's backup codes with the first factor, nil otherwise. Errors are
// faults: Timeout (the offer is over, or was taken), InvalidCode, InvalidArgument (too many).
func (s *Service) AddApp(ctx context.Context, owner, offered, name string, code accountapi.Secret) ([]string, error) {
	o, err := s.take("app", owner, offered)
	if err != nil {
		return nil, err
	}
	defer clear(o.Key)
	digits, _ := account.CodeDigits(code)
	step, ok := totp.Match(o.Key, digits, s.Now(), 0)
	if !ok {
		return nil, fault.New(fault.InvalidCode, nil)
	}
	f := Factor{ID: newID(), Kind: App, Name: named(name, "Authenticator")}
	sealed, err := s.closed(f.ID, o.Key)
	if err != nil {
		return nil, err
	}
	var spare []string
	err = s.DB.Tx(ctx, func(tx *sql.Tx) (err error) {
		// Two apps with one key would take each code twice.
		err = s.spend(ctx, tx, base64.RawURLEncoding.EncodeToString(s.mac("app", string(o.Key))), o.Expires)
		if errors.Is(err, errSpent) {
			return over()
		}
		if err != nil {
			return err
		}
		spare, err = s.insert(ctx, tx, owner, f, sealed, "", step)
		return err
	})
	if err != nil {
		return nil, wrap("set up an app", err)
	}
	s.Tell(ctx, owner)
	return spare, nil
}

// Check takes a code of one of the owner's apps or a backup code; each is good once. Errors
// are faults: InvalidCode (counted, unless it can be neither), RateLimited.
func (s *Service) Check(ctx context.Context, owner string, typed accountapi.Secret) error {
	digits, isDigits := account.CodeDigits(typed)
	backup, isBackup := backupText(string(typed))
	if !isDigits && !isBackup {
		return fault.Newf(fault.InvalidCode, "A code of an app has six digits, a backup code ten letters and digits.")
	}
	// Kept beside the transaction: returning it from within would undo the count.
	var refusal error
	err := s.DB.Tx(ctx, func(tx *sql.Tx) error {
		refusal = nil
		wait, err := s.Limits.CodeWait(tx, owner)
		if err != nil {
			return err
		}
		if wait > 0 {
			f := fault.New(fault.RateLimited, nil)
			f.RetryAfter = wait
			refusal = f
			return nil
		}
		right := false
		if isDigits {
			right, err = s.useApp(ctx, tx, owner, digits)
		} else {
			right, err = s.useBackup(ctx, tx, owner, backup)
		}
		if err != nil || right {
			return err
		}
		f := fault.New(fault.InvalidCode, nil)
		f.Counted = true
		refusal = f
		return s.Limits.CodeWrong(tx, owner)
	})
	return errors.Join(wrap("look at a code", err), refusal)
}

// useApp reports whether a code is of one of the owner's apps and was not used; then it
// is.
func (s *Service) useApp(ctx context.Context, tx *sql.Tx, owner, digits string) (bool, error) {
	apps, err := loadApps(ctx, tx, owner)
	if err != nil {
		return false, err
	}
	for _, a := range apps {
		var key []byte
		if err := s.open(a.id, a.sealed, &key); err != nil {
			return false, fmt.Errorf("cannot read an app's key: %w", err)
		}
		step, ok := totp.Match(key, digits, s.Now(), a.last)
		clear(key)
		if !ok {
			continue
		}
		_, err := tx.ExecContext(ctx, `UPDATE factors SET last_step = $1, used_at = $2 WHERE id = $3`, step, s.Now().UnixMilli(), a.id)
		return true, err
	}
	return false, nil
}

type appRow struct {
	id, sealed string
	last       int64
}

func loadApps(ctx context.Context, tx *sql.Tx, owner string) (out []appRow, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT id, sealed, last_step FROM factors WHERE owner = $1 AND kind = 'app' ORDER BY created_at, id`, owner)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var a appRow
		if err := rows.Scan(&a.id, &a.sealed, &a.last); err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, rows.Err()
}

func (s *Service) useBackup(ctx context.Context, tx *sql.Tx, owner, code string) (bool, error) {
	r, err := tx.ExecContext(ctx, `DELETE FROM backup_codes WHERE owner = $1 AND code_hash = $2`, owner, s.backupHash(owner, code))
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n > 0, err
}

// NewBackupCodes gives an owner other codes; those before are void. An owner without a
// factor has none: fault.InvalidArgument.
func (s *Service) NewBackupCodes(ctx context.Context, owner string) (codes []string, err error) {
	err = s.DB.Tx(ctx, func(tx *sql.Tx) error {
		var n int64
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM factors WHERE owner = $1`, owner).Scan(&n); err != nil {
			return err
		}
		if n == 0 {
			return fault.Newf(fault.InvalidArgument, "There is no such second factor any more.")
		}
		codes, err = s.drawCodes(ctx, tx, owner)
		return err
	})
	if err != nil {
		return nil, wrap("draw backup codes", err)
	}
	s.Tell(ctx, owner)
	return codes, nil
}

var letters = base32.StdEncoding.WithPadding(base32.NoPadding)

// drawCodes replaces an owner's backup codes.
func (s *Service) drawCodes(ctx context.Context, tx *sql.Tx, owner string) ([]string, error) {
	if _, err := tx.ExecContext(ctx, `DELETE FROM backup_codes WHERE owner = $1`, owner); err != nil {
		return nil, err
	}
	var out []string
	for range backupCodes {
		var raw [7]byte
		if _, err := rand.Read(raw[:]); err != nil {
			return nil, err
		}
		code := strings.ToLower(letters.EncodeToString(raw[:])[:backupLetters])
		if _, err := tx.ExecContext(ctx, `INSERT INTO backup_codes (owner, code_hash) VALUES ($1, $2)`, owner, s.backupHash(owner, code)); err != nil {
			return nil, err
		}
		out = append(out, code[:backupLetters/2]+"-"+code[backupLetters/2:])
	}
	return out, nil
}

// backupText reads a backup code as it was typed: case, spaces and dashes do not matter,
// nor 0 and 1 for O and I, which no code has.
func backupText(typed string) (string, bool) {
	if len(typed) > 64 {
		return "", false
	}
	code := strings.NewReplacer(" ", "", "-", "", "0", "o", "1", "i").Replace(strings.ToLower(typed))
	return code, len(code) == backupLetters && strings.Trim(code, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

func (s *Service) backupHash(owner, code string) string {
	return base64.RawURLEncoding.EncodeToString(s.mac("backup", owner, code))
}
