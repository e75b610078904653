// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/accountlock/accountlock/internal/fault"
)

// The places of the configuration below the root, and what a drop-in folder is
// called. The vendor's are part of the image, under verified boot.
const (
	vendorFile = "usr/lib/accountlock/accountlockd.toml"
	localFile  = "etc/accountlock/accountlockd.toml"
	dropIns    = ".d"
	maxDropIns = 64
)

// Warning is one wish of a file under /etc that was not granted.
type Warning struct {
	// File is the file, Key the key, such as `policy.missing_record`; empty
	// where the whole file was passed over.
	File, Key string
	// Text says why, as a sentence without a full stop.
	Text string
}

// String returns the warning in one line.
func (w Warning) String() string {
	if w.Key == "" {
		return w.File + ": " + w.Text
	}
	return w.File + ": " + w.Key + ": " + w.Text
}

// Load returns the defaults with one file over them, as `--config FILE` asks for.
// Whoever names the file answers for it: no other one is read. lookup is
// Default's. The error, a *fault.Error of code InvalidArgument, names the file,
// the key and where it can the line.
func Load(path string, lookup Lookup) (Config, error) {
	c := Default(lookup)
	text, err := read(path)
	if err != nil {
		return Config{}, refused(path, cause(err))
	}
	d, err := parse(text)
	if err != nil {
		return Config{}, refused(path, err)
	}
	d.over(&c)
	c.Sources = []string{path}
	if err := c.whole(); err != nil {
		return Config{}, refused(path, err)
	}
	return c, nil
}

// LoadLayers returns what stands in the files below root, the real root being
// "/": the defaults, then /usr/lib/accountlock/accountlockd.toml and the
// drop-ins accountlockd.toml.d/*.toml beside it in the order of their names, then
// the same under /etc. Without any file the device is not provisioned, and that
// is no error.
//
// Once the vendor's files name an account service, those under /etc can only add
// (see add): a value of theirs that would change or weaken the vendor's is passed
// over and told in Warnings, and so is a whole file that cannot be read or holds
// an error. So a mistake in /etc, or somebody's intent, neither opens the
// device, as it would if the vendor's word gave way, nor shuts it for good, as it
// would if nobody could start with that file there. `--check-config` makes an
// error of them.
//
// An error in the vendor's own files is an error here, and so is one under /etc
// where the vendor names no account service: the file that cannot be read may be
// the one that does, and 'not provisioned' is open. Whoever gets an error must
// fail locked. It is a *fault.Error of code InvalidArgument.
func LoadLayers(root string, lookup Lookup) (Config, error) {
	c := Default(lookup)
	for _, f := range layer(root, vendorFile) {
		d, err := f.document()
		if err != nil {
			return Config{}, refused(f.path, err)
		}
		d.over(&c)
		c.Sources = append(c.Sources, f.path)
	}
	if err := c.whole(); err != nil {
		return Config{}, refused(filepath.Join("/", root, vendorFile), err)
	}
	vendor, provisioned := c, c.Provisioned()
	for _, f := range layer(root, localFile) {
		d, err := f.document()
		switch {
		case err == nil && provisioned:
			c.Warnings = append(c.Warnings, d.add(&c, &vendor, f.path)...)
		case err == nil:
			d.over(&c)
		case provisioned:
			c.Warnings = append(c.Warnings, Warning{File: f.path, Text: "passed over: " + err.Error()})
			continue
		default:
			return Config{}, refused(f.path, err)
		}
		c.Sources = append(c.Sources, f.path)
	}
	if err := c.whole(); err != nil {
		return Config{}, refused(filepath.Join("/", root, localFile), err)
	}
	return c, nil
}

// source is one file of a layer, or the error that kept it from being read.
type source struct {
	path string
	text []byte
	err  error
}

func (s source) document() (document, error) {
	if s.err != nil {
		return document{}, cause(s.err)
	}
	return parse(s.text)
}

// layer returns the file and its drop-ins, in order, those that are absent left
// out. A folder that cannot be read stands for what may be in it.
func layer(root, name string) []source {
	var out []source
	take := func(path string) {
		text, err := read(path)
		if !errors.Is(err, fs.ErrNotExist) {
			out = append(out, source{path, text, err})
		}
	}
	main := filepath.Join("/", root, name)
	take(main)
	folder := main + dropIns
	entries, err := os.ReadDir(folder)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			out = append(out, source{path: folder, err: err})
		}
		return out
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return !strings.HasSuffix(e.Name(), ".toml") || strings.HasPrefix(e.Name(), ".")
	})
	if len(entries) > maxDropIns {
		return append(out, source{path: folder, err: fmt.Errorf("%d files, where at most %d are taken", len(entries), maxDropIns)})
	}
	for _, e := range entries {
		take(filepath.Join(folder, e.Name()))
	}
	return out
}

// whole checks what no file can be checked for alone.
func (c *Config) whole() error {
	if c.Provisioned() && c.AccountAPI.KeySet == "" {
		// fails locked: without keys no statement could ever be believed, and
		// nothing could be told from a forgery.
		return errors.New("account_api.key_set: required where account_api.url is set")
	}
	return nil
}

// cause takes the path out of an error that refused names it in.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("cannot %s it: %w", p.Op, p.Err)
	}
	return err
}

func refused(path string, err error) error {
	f := fault.Newf(fault.InvalidArgument, "The configuration %s is not valid.", path)
	f.Remedy = "Correct the file; accountlockd --check-config tells what is wrong with it."
	f.Err = fmt.Errorf("%s: %w", path, err)
	return f
}
