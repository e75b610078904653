// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/config"
	"github.com/accountlock/accountlock/internal/gate"
	"github.com/accountlock/accountlock/internal/lock"
)

// recordFunc and markerFunc are a record store and a reset marker.
type (
	recordFunc func() (lock.Found, error)
	markerFunc func() ([]byte, error)
)

func (f recordFunc) Look() (lock.Found, error) { return f() }
func (f markerFunc) Read() ([]byte, error)     { return f() }

// finds returns a store in which that is found.
func finds(s lock.Store, r lock.Record, one bool, err error) gate.RecordReader {
	return says(lock.TPMUnused, s, r, one, err)
}

// says is finds with a TPM.
func says(tpm lock.TPM, s lock.Store, r lock.Record, one bool, err error) gate.RecordReader {
	return recordFunc(func() (lock.Found, error) { return lock.Found{Store: s, Record: r, OneCopy: one, TPM: tpm}, err })
}

func provisioned(change ...func(*config.Config)) config.Config {
	c := config.Default(nil)
	c.AccountAPI = config.AccountAPI{URL: "https://accounts.example.org", KeySet: "/keys.json"}
	for _, f := range change {
		f(&c)
	}
	return c
}

// run runs the program on parts that find what is given.
func run(t *testing.T, cfg config.Config, cfgErr error, store gate.RecordReader, marker gate.MarkerReader, args ...string) (out string, code int) {
	t.Helper()
	var b, e bytes.Buffer
	code = gate.Run(args, nil, &b, &e, gate.Parts{
		Config: func(string) (config.Config, error) { return cfg, cfgErr },
		Record: func(c config.Config) (gate.RecordReader, error) {
			if store == nil {
				return nil, errors.New("cannot open " + c.Record.Store)
			}
			return store, nil
		},
		Marker: func(string, string) gate.MarkerReader { return marker },
	})
	if e.Len() > 0 && code != gate.ExitUsage {
		t.Errorf("says on standard error: %s", e.String())
	}
	return b.String(), code
}

var noMarker = markerFunc(func() ([]byte, error) { return nil, nil })

func TestTheAnswerNamesTheStateOrTheReason(t *testing.T) {
	broken := errors.New("input/output error")
	link := lock.Record{Armed: true, Link: lock.Link{ID: "l-1"}}
	out := lock.Record{Link: lock.Link{ID: "l-1"}}
	lost := link
	lost.Lost = true
	offline := func(c *config.Config) { c.Policy.MissingRecord = lock.AllowOffline }
	for _, c := range []struct {
		name    string
		cfg     config.Config
		cfgErr  error
		store   gate.RecordReader
		marker  gate.MarkerReader
		want    string
		problem string
	}{
		{"not provisioned", config.Default(nil), nil, nil, nil, "open unlinked", ""},
		{"no configuration that can be read", config.Config{}, broken, nil, nil, "locked record-damaged", "input/output error"},
		{"a store that cannot be opened", provisioned(), nil, nil, noMarker, "locked record-damaged", "cannot open file:/persist"},
		{"a TPM is required, and there is none", provisioned(), nil, says(lock.TPMAbsent, lock.StoreValid, lock.Record{}, false, broken), noMarker, "locked record-damaged", "input/output error"},
		{"the TPM vouches for it", provisioned(), nil, says(lock.TPMVouches, lock.StoreValid, lock.Record{}, false, nil), noMarker, "open unlinked", ""},
		{"the TPM says that it is an older one", provisioned(), nil, says(lock.TPMRolledBack, lock.StoreValid, lock.Record{}, false, nil), noMarker, "locked record-damaged", ""},
		{"a TPM is required of a device without a lock", func() config.Config { c := config.Default(nil); c.TPM.Mode = config.TPMRequire; return c }(), nil, nil, nil, "open unlinked", ""},
		{"unlinked", provisioned(), nil, finds(lock.StoreValid, lock.Record{}, false, nil), noMarker, "open unlinked", ""},
		{"signed out", provisioned(), nil, finds(lock.StoreValid, out, false, nil), noMarker, "open signed-out", ""},
		{"reset", provisioned(), nil, finds(lock.StoreValid, link, false, nil), noMarker, "locked factory-reset", ""},
		{"lost", provisioned(), nil, finds(lock.StoreValid, lost, false, nil), noMarker, "locked lost", ""},
		{"blank", provisioned(), nil, finds(lock.StoreBlank, lock.Record{}, false, nil), noMarker, "locked record-missing", ""},
		{"blank, by policy allow-offline", provisioned(offline), nil, finds(lock.StoreBlank, lock.Record{}, false, nil), noMarker, "open unlinked", ""},
		{"damaged", provisioned(), nil, finds(lock.StoreDamaged, lock.Record{}, false, broken), noMarker, "locked record-damaged", "input/output error"},
		{"one copy, disarmed", provisioned(), nil, finds(lock.StoreValid, out, true, nil), noMarker, "locked record-damaged", ""},
		{"a marker that cannot be read", provisioned(), nil, finds(lock.StoreValid, link, false, nil), markerFunc(func() ([]byte, error) { return []byte("x"), broken }), "locked factory-reset", "input/output error"},
		{"a marker that cannot be read and is not needed", provisioned(), nil, finds(lock.StoreValid, out, false, nil), markerFunc(func() ([]byte, error) { return nil, broken }), "open signed-out", "input/output error"},
		{"wishes of /etc", provisioned(func(c *config.Config) {
			c.Warnings = []config.Warning{{File: "/etc/x", Key: "tpm.mode", Text: "not taken"}}
		}), nil,
			finds(lock.StoreValid, out, false, nil), noMarker, "open signed-out", "/etc/x: tpm.mode: not taken"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code := gate.ExitLocked
			if strings.HasPrefix(c.want, "open") {
				code = gate.ExitOpen
			}
			out, got := run(t, c.cfg, c.cfgErr, c.store, c.marker, "--decide")
			lines := strings.Split(out, "\n")
			if lines[0] != c.want || got != code {
				t.Errorf("exit %d after %q", got, out)
			}
			if len(lines) < 3 || lines[1] == "" || !strings.HasSuffix(out, "\n") {
				t.Errorf("no rule: %q", out)
			}
			if (c.problem != "") != strings.Contains(out, "\nproblem: ") || !strings.Contains(out, c.problem) {
				t.Errorf("the problem is not told: %q", out)
			}
			out, got = run(t, c.cfg, c.cfgErr, c.store, c.marker, "--decide", "--json")
			var v struct {
				Decision, Reason, State, Rule string
				Problems                      []string
			}
			if err := json.Unmarshal([]byte(out), &v); err != nil || v.Decision+" "+v.Reason != c.want || got != code || v.Rule != lines[1] || v.Problems == nil {
				t.Errorf("exit %d after %q, %v", got, out, err)
			}
			if strings.Count(out, "\n") != 1 || (v.Decision == "locked") != (v.State == "locked") {
				t.Errorf("got %q", out)
			}
		})
	}
}

func TestWithoutALockNeitherStoreNorMarkerIsLookedAt(t *testing.T) {
	e, problems := gate.Evidence(config.Default(nil), nil, nil)
	if e.Provisioned || len(problems) != 0 || !lock.Decide(e).Status.Open() {
		t.Errorf("got %+v, %v", e, problems)
	}
}

func TestEvidenceIsWhatWasFound(t *testing.T) {
	r := lock.Record{DeviceID: "d", Armed: true}
	marker := markerFunc(func() ([]byte, error) { return []byte("m"), nil })
	e, problems := gate.Evidence(provisioned(), finds(lock.StoreValid, r, true, nil), marker)
	if !e.Provisioned || e.Store != lock.StoreValid || e.Record.DeviceID != "d" || !e.OneCopy || string(e.Marker) != "m" || e.Policy != lock.RequireOnline || problems != nil {
		t.Errorf("got %+v, %v", e, problems)
	}
	e, _ = gate.Evidence(provisioned(), says(lock.TPMBadMAC, lock.StoreValid, r, false, nil), marker)
	if e.TPM != lock.TPMBadMAC {
		t.Errorf("the TPM's word is lost: %+v", e)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		nil, {"--decide", "--gate"}, {"--gate", "--again"}, {"/run/normal", "/run/early"}, {"/1", "/2", "/3", "/4"}, {"--decide", "x"}, {"--json", "/1", "/2", "/3"},
		{"--gate", "--config", "/x"}, {"--again", "--json"}, {"--gate", "--no-reboot"}, {"--decide", "--no-reboot"}, {"--help"}, {"-h"}, {"--decide=maybe"},
		{"--decide=false"}, {"--decide", "--config"}, {"--decide", "--config", ""}, {"--decide", "--config="}, {"--json"}, {"--config", "x"}, {"-decide", "-x"},
	} {
		var out, errs bytes.Buffer
		code := gate.Run(args, nil, &out, &errs, gate.Parts{
			Config: func(string) (config.Config, error) { t.Errorf("%v: decides", args); return config.Config{}, nil },
		})
		if code != gate.ExitUsage || out.Len() != 0 || !strings.Contains(errs.String(), "usage: accountlock-gate --decide") || strings.Contains(errs.String(), "flag:") {
			t.Errorf("%v: exit %d, %q, %q", args, code, out.String(), errs.String())
		}
	}
}

func TestTheFileNamedIsTheOneThatIsRead(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{{[]string{"--decide"}, ""}, {[]string{"--decide", "--config", "/a"}, "/a"}, {[]string{"-config=/b", "-decide"}, "/b"}} {
		var asked []string
		code := gate.Run(c.args, nil, io.Discard, io.Discard, gate.Parts{Config: func(path string) (config.Config, error) {
			asked = append(asked, path)
			return config.Default(nil), nil
		}})
		if code != gate.ExitOpen || len(asked) != 1 || asked[0] != c.want {
			t.Errorf("%v: exit %d, read %q", c.args, code, asked)
		}
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestWhatCouldNotBeSaidIsNotOpen(t *testing.T) {
	var errs bytes.Buffer
	code := gate.Run([]string{"--decide"}, nil, fullDisk{}, &errs, gate.Parts{
		Config: func(string) (config.Config, error) { return config.Default(nil), nil },
	})
	if code != gate.ExitLocked || !strings.Contains(errs.String(), "no space left") {
		t.Errorf("exit %d, %q", code, errs.String())
	}
}
