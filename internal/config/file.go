// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/accountlock/accountlock/internal/lock"
)

// maxFile is the longest configuration file that is read, in bytes.
const maxFile = 64 << 10

// document is one file: a pointer for every key, nil where the file does not
// set it.
type document struct {
	AccountAPI struct {
		URL    *string   `toml:"url"`
		CAFile *string   `toml:"ca_file"`
		KeySet *string   `toml:"key_set"`
		Pins   *[]string `toml:"pins"`
	} `toml:"account_api"`
	Record struct {
		Store *string `toml:"store"`
	} `toml:"record"`
	State struct {
		Directory *string `toml:"directory"`
	} `toml:"state"`
	Runtime struct {
		Directory *string `toml:"directory"`
	} `toml:"runtime"`
	Device struct {
		Identity  *[]string `toml:"identity"`
		TokenFile *string   `toml:"enrolment_token_file"`
	} `toml:"device"`
	Policy struct {
		MissingRecord *lock.MissingPolicy `toml:"missing_record"`
	} `toml:"policy"`
	Authorization struct {
		Mode *string   `toml:"mode"`
		UIDs *[]uint32 `toml:"uids"`
	} `toml:"authorization"`
	TPM struct {
		Mode   *string `toml:"mode"`
		Device *string `toml:"device"`
	} `toml:"tpm"`
	Daemon struct {
		IdleExit        *duration `toml:"idle_exit"`
		CheckInInterval *duration `toml:"check_in_interval"`
	} `toml:"daemon"`
	Gate struct {
		Mode *string `toml:"mode"`
	} `toml:"gate"`
}

// duration is written as a string with a unit, such as "90s" or "1h30m". It is a
// struct since the TOML library would put a bare number into anything numeric,
// as nanoseconds.
type duration struct {
	value time.Duration
	// err is what is wrong with it, for validate to name the key.
	err error
	set bool
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		err = fmt.Errorf("%q is no duration such as \"30s\" or \"15m\"", text)
	}
	*d = duration{v, err, true}
	return nil
}

// in returns the place of the value; nil where the file does not set it.
func (d *duration) in() *time.Duration {
	if d == nil {
		return nil
	}
	return &d.value
}

// read returns the bytes of the file at path. Its error is an fs.ErrNotExist
// where there is no such file.
func read(path string) ([]byte, error) {
	// Not waiting: a FIFO in the place of a file must not hold the boot up.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("longer than %d bytes", maxFile)
	}
	return b, nil
}

// parse reads one file's text. Every key must be known, every value valid by
// itself.
func parse(text []byte) (document, error) {
	var d document
	// go-toml finds the place of an error by the text's address and capacity.
	dec := toml.NewDecoder(bytes.NewReader(slices.Clip(text))).DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return document{}, explain(err)
	}
	if err := exact(text); err != nil {
		return document{}, err
	}
	if err := d.validate(); err != nil {
		return document{}, err
	}
	return d, nil
}

// exact refuses what the TOML library takes for a known key whatever its case:
// `store` and `Store` in one file would be one key with two values.
func exact(text []byte) error {
	var p unstable.Parser
	p.Reset(text)
	for p.NextExpression() {
		if err := exactKeys(&p, p.Expression()); err != nil {
			return err
		}
	}
	return p.Error()
}

func exactKeys(p *unstable.Parser, n *unstable.Node) error {
	for it := n.Key(); it.Next(); {
		name := it.Node()
		if strings.Trim(string(name.Data), "abcdefghijklmnopqrstuvwxyz_") != "" {
			return fmt.Errorf("line %d: unknown key %s", p.Shape(name.Raw).Start.Line, name.Data)
		}
	}
	if n.Kind != unstable.KeyValue || n.Value().Kind != unstable.InlineTable {
		return nil
	}
	for it := n.Value().Children(); it.Next(); {
		if err := exactKeys(p, it.Node()); err != nil {
			return err
		}
	}
	return nil
}

// explain names the key and the line of what the TOML library refuses.
func explain(err error) error {
	var missing *toml.StrictMissingError
	if errors.As(err, &missing) {
		var all []error
		for i := range missing.Errors {
			e := &missing.Errors[i]
			line, _ := e.Position()
			all = append(all, fmt.Errorf("line %d: unknown key %s", line, strings.Join(e.Key(), ".")))
		}
		return errors.Join(all...)
	}
	var bad *toml.DecodeError
	if !errors.As(err, &bad) {
		return err
	}
	line, _ := bad.Position()
	text := strings.TrimPrefix(bad.Error(), "toml: ")
	if what, found := strings.CutPrefix(text, "cannot decode TOML "); found {
		// The rest of it names types of this program.
		what, _, _ = strings.Cut(what, " into ")
		text = "cannot be a TOML " + what
	}
	if key := bad.Key(); len(key) > 0 {
		return fmt.Errorf("line %d: %s: %s", line, strings.Join(key, "."), text)
	}
	return fmt.Errorf("line %d: %s", line, text)
}
