// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"golang.org/x/sys/unix"
)

//go:embed migrations/*.sql
var migrations embed.FS

// versionTable is where goose notes which migrations were applied.
const versionTable = "schema_version"

// ErrNewerSchema is the error of a database that a later version of the
// program has migrated: this one would not know what it means.
var ErrNewerSchema = errors.New("the database has the schema of a later version of this program")

// Migrate brings the schema up to date; on one that is, it does nothing. Each
// migration is a transaction of its own. Two processes may call it at once: the
// second waits. Its errors are ErrNewerSchema and what the database says.
func (db *DB) Migrate(ctx context.Context) (err error) {
	if db.path != "" {
		unlock, err := db.lockForMigration()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, unlock()) }()
	}
	p, err := db.provider()
	if err != nil {
		return err
	}
	if _, err := db.pending(ctx, p); err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("cannot migrate the database: %w", err)
	}
	return nil
}

// Pending reports whether Migrate has something to do. It returns
// ErrNewerSchema as Migrate does.
func (db *DB) Pending(ctx context.Context) (bool, error) {
	p, err := db.provider()
	if err != nil {
		return false, err
	}
	return db.pending(ctx, p)
}

func (db *DB) pending(ctx context.Context, p *goose.Provider) (bool, error) {
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return false, fmt.Errorf("cannot read the version of the schema: %w", err)
	}
	if current > target {
		return false, fmt.Errorf("%w: %d, this one knows %d", ErrNewerSchema, current, target)
	}
	return current < target, nil
}

func (db *DB) provider() (*goose.Provider, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("cannot read the migrations: %w", err)
	}
	dialect, options := goose.DialectSQLite3, []goose.ProviderOption{
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true),
	}
	if db.path == "" {
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return nil, fmt.Errorf("cannot lock the database for migration: %w", err)
		}
		dialect, options = goose.DialectPostgres, append(options, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(dialect, db.write, sub, options...)
	if err != nil {
		return nil, fmt.Errorf("cannot read the migrations: %w", err)
	}
	return p, nil
}

// lockForMigration keeps a second process from applying what this one applies.
// The file stays: removing it would let a third lock another file of its name.
func (db *DB) lockForMigration() (unlock func() error, err error) {
	f, err := os.OpenFile(db.path+"-migrate", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the database for migration: %w", err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot lock the database for migration: %w", err), f.Close())
	}
	return f.Close, nil // closing gives the lock up
}
