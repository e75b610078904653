// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/accountlock/accountlock/internal/config"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
)

const (
	vendor       = "usr/lib/accountlock/accountlockd.toml"
	local        = "etc/accountlock/accountlockd.toml"
	provisioning = "[account_api]\nurl = \"https://accounts.example.org\"\nkey_set = \"/usr/lib/accountlock/keys.json\"\n"
)

// tree returns a root with the files given.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		put(t, filepath.Join(root, name), text)
	}
	return root
}

func TestLaterFilesCount(t *testing.T) {
	idle := func(s string) string { return fmt.Sprintf("[daemon]\nidle_exit = %q\n", s) }
	root := tree(t, map[string]string{
		vendor:               idle("1s") + "check_in_interval = \"2m\"\n" + provisioning,
		vendor + ".d/a.toml": "[gate]\nmode = \"none\"\n" + idle("2s"),
		vendor + ".d/b.toml": idle("3s"),
		local:                idle("4s"),
		local + ".d/a.toml":  idle("5s"),
		local + ".d/z.toml":  idle("6s"),
		// None of these is a drop-in.
		local + ".d/zz.conf":        idle("7s"),
		local + ".d/.hidden.toml":   idle("8s"),
		local + ".d/sub/zz.toml":    idle("9s"),
		"etc/accountlock/zz.toml":   idle("9s"),
		"run/accountlock/zz.toml":   idle("9s"),
		"usr/lib/accountlockd.toml": idle("9s"),
	})
	c, err := config.LoadLayers(root, nil)
	must(t, err)
	if c.Daemon.IdleExit != 6*time.Second || c.Daemon.CheckInInterval != 2*time.Minute || c.Gate.Mode != config.GateNone {
		t.Errorf("got %+v, %+v", c.Daemon, c.Gate)
	}
	want := []string{vendor, vendor + ".d/a.toml", vendor + ".d/b.toml", local, local + ".d/a.toml", local + ".d/z.toml"}
	for i := range want {
		want[i] = filepath.Join(root, want[i])
	}
	if !slices.Equal(c.Sources, want) || len(c.Warnings) != 0 {
		t.Errorf("read %v, warns %v", c.Sources, c.Warnings)
	}
}

func TestNoFileAtAllIsNotProvisioned(t *testing.T) {
	c, err := config.LoadLayers(t.TempDir(), nil)
	if err != nil || c.Provisioned() || len(c.Sources) != 0 {
		t.Fatalf("got %+v, %v", c, err)
	}
}

func TestWithoutAVendorsServiceEtcMaySetEverything(t *testing.T) {
	c, err := config.LoadLayers(tree(t, map[string]string{vendor: "[gate]\nmode = \"systemd\"\n", local: everything}), nil)
	must(t, err)
	want, err := load(t, everything)
	must(t, err)
	c.Sources, want.Sources = nil, nil
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v", c)
	}
}

// TestWhatEtcMayAdd: on a device that its vendor provisioned, one line under
// /etc, and whether it counts.
func TestWhatEtcMayAdd(t *testing.T) {
	const pin = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	const otherPin = "sha256/BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA="
	for _, c := range []struct {
		name, vendor, etc string
		taken             bool
	}{
		{"another service", "", `account_api.url = "https://evil.example.org"`, false},
		{"no service", "", `account_api.url = ""`, false},
		{"the same service", "", `account_api.url = "https://accounts.example.org"`, true},
		{"other keys", "", `account_api.key_set = "/etc/keys.json"`, false},
		{"a CA of its own", "", `account_api.ca_file = "/etc/ca.pem"`, true},
		{"another CA than the vendor's", `account_api.ca_file = "/usr/lib/ca.pem"`, `account_api.ca_file = "/etc/ca.pem"`, false},
		{"pins of its own", "", `account_api.pins = ["` + pin + `"]`, true},
		{"other pins than the vendor's", `account_api.pins = ["` + pin + `"]`, `account_api.pins = ["` + otherPin + `"]`, false},
		{"more pins than the vendor's", `account_api.pins = ["` + pin + `"]`, `account_api.pins = ["` + pin + `", "` + otherPin + `"]`, false},
		{"no pins instead of the vendor's", `account_api.pins = ["` + pin + `"]`, `account_api.pins = []`, false},
		{"another store than the default", "", `record.store = "file:/tmp/record"`, false},
		{"another store than the vendor's", `record.store = "file:/factory/record"`, `record.store = "file:/persist/accountlock/record"`, false},
		{"the default store", "", `record.store = "file:/persist/accountlock/record"`, true},
		{"a state directory that no reset wipes", "", `state.directory = "/persist/state"`, false},
		{"another runtime directory", "", `runtime.directory = "/run/other"`, true},
		{"more identities", "", `device.identity = ["file:/factory/serial", "tpm", "devicetree", "dmi", "record"]`, true},
		{"fewer identities", "", `device.identity = ["record"]`, false},
		{"other identities than the vendor's", `device.identity = ["dmi"]`, `device.identity = ["devicetree"]`, false},
		{"a weaker policy than the default", "", `policy.missing_record = "allow-offline"`, false},
		{"a weaker policy than the vendor's", `policy.missing_record = "require-online"`, `policy.missing_record = "allow-offline"`, false},
		{"a stricter policy than the vendor's", `policy.missing_record = "allow-offline"`, `policy.missing_record = "require-online"`, false},
		{"requiring a TPM", "", `tpm.mode = "require"`, true},
		{"no TPM", "", `tpm.mode = "off"`, false},
		{"requiring no TPM where the vendor does", `tpm.mode = "require"`, `tpm.mode = "auto"`, false},
		{"a TPM where the vendor wants none", `tpm.mode = "off"`, `tpm.mode = "require"`, false},
		{"another TPM", "", `tpm.device = "swtpm:/tmp/socket"`, false},
		{"other authorization", "", `authorization.mode = "uid"`, true},
		{"other users", "", `authorization.uids = [1000]`, true},
		{"other times", "", `daemon.check_in_interval = "1h"`, true},
		{"no gate", "", `gate.mode = "none"`, false},
	} {
		for _, where := range []string{local, local + ".d/x.toml"} {
			t.Run(c.name+" in "+filepath.Base(where), func(t *testing.T) {
				without, err := config.LoadLayers(tree(t, map[string]string{vendor: provisioning, vendor + ".d/v.toml": c.vendor}), nil)
				must(t, err)
				root := tree(t, map[string]string{vendor: provisioning, vendor + ".d/v.toml": c.vendor, where: c.etc})
				with, err := config.LoadLayers(root, nil)
				must(t, err)
				key, _, _ := strings.Cut(c.etc, " ")
				if c.taken != (len(with.Warnings) == 0) {
					t.Errorf("warns %v", with.Warnings)
				}
				if !c.taken && (with.Warnings[0].Key != key || with.Warnings[0].File != filepath.Join(root, where) || !strings.Contains(with.Warnings[0].String(), key)) {
					t.Errorf("the warning does not name %s: %v", key, with.Warnings)
				}
				with.Sources, without.Sources, with.Warnings = nil, nil, nil
				if !c.taken && !reflect.DeepEqual(with, without) {
					t.Errorf("not taken, and yet: %+v", with)
				}
				if c.taken && !strings.HasPrefix(c.name, "the ") && reflect.DeepEqual(with, without) {
					t.Error("taken, but nothing has changed")
				}
			})
		}
	}
}

func TestALaterFileUnderEtcMayTakeBackWhatAnEarlierOneAdded(t *testing.T) {
	c, err := config.LoadLayers(tree(t, map[string]string{
		vendor: provisioning, local: "[account_api]\nca_file = \"/etc/one.pem\"\n[tpm]\nmode = \"require\"\n",
		local + ".d/a.toml": "[account_api]\nca_file = \"/etc/two.pem\"\n[tpm]\nmode = \"auto\"\n",
	}), nil)
	must(t, err)
	if len(c.Warnings) != 0 || c.AccountAPI.CAFile != "/etc/two.pem" || c.TPM.Mode != config.TPMAuto {
		t.Errorf("got %+v, %+v, %v", c.AccountAPI, c.TPM, c.Warnings)
	}
}

// mistakes are what may be wrong with a file as a whole.
var mistakes = map[string]func(t *testing.T, path string){
	"broken syntax": func(t *testing.T, path string) { put(t, path, "[daemon\n") },
	"unknown key":   func(t *testing.T, path string) { put(t, path, "[daemon]\nidel_exit = \"1s\"\n") },
	"bad value":     func(t *testing.T, path string) { put(t, path, "[daemon]\nidle_exit = \"forever\"\n") },
	"too long":      func(t *testing.T, path string) { put(t, path, strings.Repeat("#", 1<<17)) },
	"a folder":      func(t *testing.T, path string) { must(t, os.MkdirAll(path, 0o755)) },
	"a FIFO": func(t *testing.T, path string) {
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, unix.Mkfifo(path, 0o600))
	},
	"a link to itself": func(t *testing.T, path string) {
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.Symlink(path, path))
	},
	"its folder is a file": func(t *testing.T, path string) {
		put(t, filepath.Dir(path), "")
	},
}

func TestAMistakeUnderEtcIsPassedOverWhereTheVendorProvisioned(t *testing.T) {
	for name, make := range mistakes {
		for _, where := range []string{local, local + ".d/x.toml"} {
			t.Run(name+" in "+filepath.Base(where), func(t *testing.T) {
				root := tree(t, map[string]string{vendor: provisioning})
				make(t, filepath.Join(root, where))
				c, err := config.LoadLayers(root, nil)
				must(t, err)
				if len(c.Warnings) == 0 || !strings.HasPrefix(c.Warnings[0].File, filepath.Join(root, "etc")) || c.Warnings[0].Key != "" {
					t.Errorf("warns %v", c.Warnings)
				}
				c.Warnings, c.Sources = nil, nil
				want, err := config.LoadLayers(tree(t, map[string]string{vendor: provisioning}), nil)
				must(t, err)
				if want.Sources = nil; !reflect.DeepEqual(c, want) {
					t.Errorf("got %+v", c)
				}
			})
		}
	}
}

// Where the vendor names no service, the file with the mistake may be the one
// that does; where the mistake is the vendor's, so may that.
func TestAMistakeIsAnErrorWhereItMayHideTheService(t *testing.T) {
	for name, make := range mistakes {
		for _, where := range []string{local, local + ".d/x.toml", vendor, vendor + ".d/x.toml"} {
			t.Run(name+" in "+filepath.Base(where), func(t *testing.T) {
				files := map[string]string{}
				if strings.HasPrefix(where, "usr") && name != "its folder is a file" {
					files[filepath.Join(filepath.Dir(vendor), "accountlockd.toml")] = provisioning
				}
				if where == vendor {
					files = nil
				}
				root := tree(t, files)
				make(t, filepath.Join(root, where))
				c, err := config.LoadLayers(root, nil)
				if fault.CodeOf(err) != fault.InvalidArgument || c.Provisioned() {
					t.Errorf("got %v, %v", c.AccountAPI, err)
				}
			})
		}
	}
}

func TestAServiceWithoutItsKeysIsRefusedInTheLayerThatNamesIt(t *testing.T) {
	const url = "[account_api]\nurl = \"https://accounts.example.org\"\n"
	const keys = "[account_api]\nkey_set = \"/etc/keys.json\"\n"
	for name, files := range map[string]map[string]string{
		"the vendor's, and keys under /etc": {vendor: url, local: keys},
		"the vendor's alone":                {vendor: url},
		"under /etc":                        {local: url},
	} {
		if _, err := config.LoadLayers(tree(t, files), nil); fault.CodeOf(err) != fault.InvalidArgument {
			t.Errorf("%s: got %v", name, err)
		}
	}
	c, err := config.LoadLayers(tree(t, map[string]string{vendor: keys, local: url}), nil)
	if err != nil || !c.Provisioned() {
		t.Errorf("the vendor's keys, the service under /etc: %v", err)
	}
}

func TestTooManyDropInsAreRefused(t *testing.T) {
	files := map[string]string{}
	for i := range 65 {
		files[fmt.Sprintf("%s.d/%03d.toml", vendor, i)] = ""
	}
	if _, err := config.LoadLayers(tree(t, files), nil); fault.CodeOf(err) != fault.InvalidArgument {
		t.Errorf("got %v", err)
	}
	delete(files, vendor+".d/064.toml")
	if _, err := config.LoadLayers(tree(t, files), nil); err != nil {
		t.Errorf("64: %v", err)
	}
}

// Whatever stands under /etc, in whichever order, the lock is no weaker.
func TestNothingUnderEtcWeakensAVendorsLock(t *testing.T) {
	lines := strings.Split(`account_api.url = ""|account_api.url = "https://evil.example.org"|account_api.key_set = "/etc/k"|account_api.ca_file = "/etc/ca"
record.store = "file:/tmp/r"|state.directory = "/tmp"|device.identity = ["record"]|device.identity = ["tpm", "devicetree", "dmi", "record", "file:/x"]
policy.missing_record = "allow-offline"|tpm.mode = "off"|tpm.mode = "require"|tpm.device = "swtpm:/tmp/s"|gate.mode = "none"|daemon.idle_exit = "1s"|nonsense|nonsense = 1`, "|")
	var all []string
	for _, l := range lines {
		all = append(all, strings.Split(l, "\n")...)
	}
	root := tree(t, map[string]string{vendor: provisioning})
	want, err := config.LoadLayers(root, nil)
	must(t, err)
	rapid.Check(t, func(t *rapid.T) {
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		must(os.RemoveAll(filepath.Join(root, "etc")))
		must(os.MkdirAll(filepath.Join(root, local+".d"), 0o755))
		for _, name := range []string{local, local + ".d/a.toml", local + ".d/b.toml"} {
			text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(all), 0, 3).Draw(t, name), "\n")
			must(os.WriteFile(filepath.Join(root, name), []byte(text), 0o600))
		}
		c, err := config.LoadLayers(root, nil)
		must(err)
		notWeaker(t, c, want)
	})
}

// notWeaker fails unless c keeps what a vendor's configuration says.
func notWeaker(t interface{ Fatalf(string, ...any) }, c, vendors config.Config) {
	if c.AccountAPI.URL != vendors.AccountAPI.URL || c.AccountAPI.KeySet != vendors.AccountAPI.KeySet {
		t.Fatalf("the service is %+v", c.AccountAPI)
	}
	if c.Record != vendors.Record || c.State != vendors.State || c.Policy.MissingRecord != lock.RequireOnline || c.Gate != vendors.Gate {
		t.Fatalf("the lock is %+v, %+v, %+v, %+v", c.Record, c.State, c.Policy, c.Gate)
	}
	if c.TPM.Device != vendors.TPM.Device || c.TPM.Mode != config.TPMAuto && c.TPM.Mode != config.TPMRequire {
		t.Fatalf("the TPM is %+v", c.TPM)
	}
	for _, s := range vendors.Device.Identity {
		if !slices.Contains(c.Device.Identity, s) {
			t.Fatalf("the identity is %v", c.Device.Identity)
		}
	}
}

// The document's file for a vendor is all that it says it is.
func TestTheDocumentsFileForAVendorProvisions(t *testing.T) {
	raw, err := os.ReadFile("../../docs/configuration.md")
	must(t, err)
	_, rest, found := strings.Cut(string(raw), "```toml\n")
	text, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		t.Fatal("the document has no file")
	}
	c, err := config.LoadLayers(tree(t, map[string]string{vendor: text}), nil)
	must(t, err)
	if !c.Provisioned() || c.Record.Store != config.Default(nil).Record.Store {
		t.Errorf("it comes to %+v", c)
	}
}
