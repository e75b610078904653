// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

// maxPasswordFile bounds, in bytes, what is read for a password.
const maxPasswordFile = 4096

// readPassword returns what a file, a pipe, or standard input ('-') holds, without
// one line end behind it. The caller wipes it.
func readPassword(path string, stdin io.Reader) (p accountapi.Secret, err error) {
	r := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fault.Newf(fault.InvalidArgument, "The password file cannot be read: %s.", reason(err))
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return nil, fault.New(fault.Internal, fmt.Errorf("cannot look at the password file: %w", err))
		}
		// A pipe is what <(pass show …) gives.
		if m := info.Mode(); !m.IsRegular() && m.Type() != fs.ModeNamedPipe {
			return nil, usage("The password file is neither a file nor a pipe.")
		}
		r = f
	}
	// Room for all of it from the start: growing would leave copies behind.
	buf := make([]byte, maxPasswordFile+1)
	n, err := io.ReadFull(r, buf)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		clear(buf)
		return nil, fault.New(fault.Internal, fmt.Errorf("cannot read the password: %w", err))
	}
	if n > maxPasswordFile {
		clear(buf)
		return nil, usage("The password file holds more than %d bytes.", maxPasswordFile)
	}
	line, ended := bytes.CutSuffix(buf[:n], []byte("\n"))
	if ended {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	return line, nil
}

// newPassword is readPassword where there must be a file.
func newPassword(path string, stdin io.Reader) (accountapi.Secret, error) {
	if path == "" {
		return nil, usage("--password-file must be given: a password is never taken from the command line.")
	}
	return readPassword(path, stdin)
}

func reason(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
