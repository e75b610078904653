// SPDX-License-Identifier: Apache-2.0

// Package files owns how the account service writes and reads the few files
// that it keeps beside its database: keys, certificates, the service secret. A
// reader finds the old file or the new one, whole, whenever the power fails.
package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Private is the mode of a file that holds a secret, Public of one that holds none.
const (
	Private fs.FileMode = 0o600
	Public  fs.FileMode = 0o644
)

// Write replaces the file at path: temporary file, flush, rename, flush of the
// folder.
func Write(path string, data []byte, mode fs.FileMode) error {
	return put(path, data, mode, os.Rename)
}

// Create is Write for a file that must not be there yet; otherwise its error is
// fs.ErrExist, and the file is left as it was.
func Create(path string, data []byte, mode fs.FileMode) error {
	return put(path, data, mode, func(temp, to string) error {
		// A link, unlike a rename, fails where the name is taken.
		err := os.Link(temp, to)
		return errors.Join(err, os.Remove(temp))
	})
}

func put(path string, data []byte, mode fs.FileMode, place func(temp, to string) error) error {
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	temp := f.Name()
	if err := errors.Join(fill(f, data, mode), f.Close()); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, errors.Join(err, os.Remove(temp)))
	}
	if err := place(temp, path); err != nil {
		_ = os.Remove(temp)
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return SyncFolder(folder)
}

func fill(f *os.File, data []byte, mode fs.FileMode) error {
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// SyncFolder flushes a folder, so that a name put there survives a power cut.
func SyncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("cannot flush the folder %s: %w", path, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("cannot flush the folder %s: %w", path, err)
	}
	return nil
}

// Read returns the content of a regular file of at most limit bytes; a file
// that is absent is fs.ErrNotExist.
func Read(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("cannot read %s: it is not a regular file", path)
	case info.Size() > limit:
		return nil, fmt.Errorf("cannot read %s: it is larger than %d bytes", path, limit)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("cannot read %s: it is larger than %d bytes", path, limit)
	}
	return data, nil
}

// Folder makes a folder, and its parents, that others may not enter.
func Folder(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("cannot make the folder %s: %w", path, err)
	}
	return nil
}
