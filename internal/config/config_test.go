// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/accountlock/accountlock/internal/config"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
)

var update = flag.Bool("update", false, "write the golden files anew")

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, path, text string) string {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func load(t testing.TB, text string) (config.Config, error) {
	t.Helper()
	return config.Load(put(t, filepath.Join(t.TempDir(), "device.toml"), text), nil)
}

// everything sets every key to something else than its default.
const everything = `
[account_api]
url = "https://accounts.example.org:8443/base"
ca_file = "/etc/ssl/own.pem"
key_set = "/usr/lib/accountlock/keys.json"
pins = ["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]
[record]
store = "file:/factory/record"
[state]
directory = "/state"
[runtime]
directory = "/runtime"
[device]
identity = ["file:/factory/serial", "record"]
enrolment_token_file = "/factory/token"
[policy]
missing_record = "allow-offline"
[authorization]
mode = "uid"
uids = [0, 1000]
[tpm]
mode = "require"
device = "swtpm:/run/swtpm.sock"
[daemon]
idle_exit = "0s"
check_in_interval = "1h30m"
[gate]
mode = "none"
`

func TestEveryKeyIsRead(t *testing.T) {
	c, err := load(t, everything)
	must(t, err)
	c.Sources = nil
	want := config.Config{
		AccountAPI: config.AccountAPI{
			URL: "https://accounts.example.org:8443/base", CAFile: "/etc/ssl/own.pem", KeySet: "/usr/lib/accountlock/keys.json",
			Pins: []string{"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},
		},
		Record:        config.Record{Store: "file:/factory/record"},
		State:         config.State{Directory: "/state"},
		Runtime:       config.Runtime{Directory: "/runtime"},
		Device:        config.Device{Identity: []string{"file:/factory/serial", "record"}, TokenFile: "/factory/token"},
		Policy:        config.Policy{MissingRecord: lock.AllowOffline},
		Authorization: config.Authorization{Mode: config.AuthorizeUID, UIDs: []uint32{0, 1000}},
		TPM:           config.TPM{Mode: config.TPMRequire, Device: "swtpm:/run/swtpm.sock"},
		Daemon:        config.Daemon{IdleExit: 0, CheckInInterval: 90 * time.Minute},
		Gate:          config.Gate{Mode: config.GateNone},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v", c)
	}
	if !c.Provisioned() {
		t.Error("not provisioned")
	}
	// Should somebody add a key, it has to be set above too.
	unset(t, reflect.ValueOf(c), reflect.ValueOf(config.Default(nil)), "")
}

// unset reports the keys that still have their default.
func unset(t *testing.T, got, standard reflect.Value, name string) {
	t.Helper()
	for i := range got.NumField() {
		f := got.Type().Field(i)
		switch {
		case f.Type.Kind() == reflect.Struct:
			unset(t, got.Field(i), standard.Field(i), f.Name+".")
		case f.Name != "Sources" && f.Name != "Warnings" && reflect.DeepEqual(got.Field(i).Interface(), standard.Field(i).Interface()):
			t.Errorf("%s%s has its default", name, f.Name)
		}
	}
}

func TestTheDefaultsAreValidAndNotProvisioned(t *testing.T) {
	c, err := load(t, "")
	must(t, err)
	c.Sources = nil
	if !reflect.DeepEqual(c, config.Default(nil)) || c.Provisioned() {
		t.Errorf("got %+v", c)
	}
	want := map[string]string{
		"record": c.Record.Store, "state": c.State.Directory, "runtime": c.Runtime.Directory, "identity": strings.Join(c.Device.Identity, " "),
		"policy": string(c.Policy.MissingRecord), "authorization": c.Authorization.Mode, "uids": fmt.Sprint(c.Authorization.UIDs),
		"tpm": c.TPM.Mode + " " + c.TPM.Device, "daemon": c.Daemon.IdleExit.String() + " " + c.Daemon.CheckInInterval.String(), "gate": c.Gate.Mode,
	}
	if !reflect.DeepEqual(want, map[string]string{
		"record": "file:/persist/accountlock/record", "state": "/var/lib/accountlock", "runtime": "/run/accountlock", "identity": "tpm devicetree dmi record",
		"policy": "require-online", "authorization": "polkit", "uids": "[0]", "tpm": "auto /dev/tpmrm0", "daemon": "30s 15m0s", "gate": "systemd",
	}) {
		t.Errorf("the defaults are not those of cli.md: %v", want)
	}
}

func TestDirectoriesComeFromSystemdUnlessTheFileSaysOtherwise(t *testing.T) {
	path := put(t, filepath.Join(t.TempDir(), "c"), "[runtime]\ndirectory = \"/from/file\"\n")
	for _, c := range []struct{ name, variable, want string }{
		{"a directory", "/var/lib/x", "/var/lib/x"},
		{"the first of several", "/var/lib/x:/var/lib/y", "/var/lib/x"},
		{"none", "", "/var/lib/accountlock"},
		{"not an absolute one", "x:/y", "/var/lib/accountlock"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := config.Load(path, func(name string) (string, bool) {
				return c.variable, name == "STATE_DIRECTORY" || name == "RUNTIME_DIRECTORY"
			})
			must(t, err)
			if got.State.Directory != c.want || got.Runtime.Directory != "/from/file" {
				t.Errorf("got %s and %s", got.State.Directory, got.Runtime.Directory)
			}
		})
	}
}

// refusals are configurations that are wrong; what is said of each stands in the
// golden file.
var refusals = []struct{ name, text string }{
	{"unknown key", "[account_api]\n\nurll = \"https://a\"\n"},
	{"unknown section", "[acount_api]\nurl = \"https://a\"\n"},
	{"several unknown keys", "[record]\nstores = 1\n[gate]\nmodus = 2\n"},
	{"key in capitals", "[record]\nstore = \"file:/a\"\nSTORE = \"file:/b\"\n"},
	{"section in capitals", "[Record]\nstore = \"file:/a\"\n"},
	{"key in capitals in an inline table", "record = { Store = \"file:/a\" }\n"},
	{"key that only folds to a known one", "[record]\n\"\u017ftore\" = \"file:/a\"\n"},
	{"key twice", "[record]\nstore = \"file:/a\"\nstore = \"file:/b\"\n"},
	{"section twice", "[record]\nstore = \"file:/a\"\n[record]\n"},
	{"section as a list", "[[record]]\nstore = \"file:/a\"\n"},
	{"section as a value", "record = \"file:/a\"\n"},
	{"number for a string", "[account_api]\nurl = 3\n"},
	{"string for a list", "[account_api]\npins = \"sha256/\"\n"},
	{"list of mixed types", "[device]\nidentity = [\"dmi\", 3]\n"},
	{"broken syntax", "[record\nstore = \"file:/a\"\n"},
	{"no value", "[record]\nstore\n"},
	{"not UTF-8", "[record]\nstore = \"file:/\xff\"\n"},
	{"zero byte", "[record]\nstore = \"file:/a\\u0000b\"\n"},
	{"url without TLS", "[account_api]\nurl = \"http://accounts.example.org\"\nkey_set = \"/k\"\n"},
	{"url without a host", "[account_api]\nurl = \"https:///x\"\nkey_set = \"/k\"\n"},
	{"url without slashes", "[account_api]\nurl = \"https:accounts.example.org\"\nkey_set = \"/k\"\n"},
	{"url with a password", "[account_api]\nurl = \"https://a:hunter2@accounts.example.org\"\nkey_set = \"/k\"\n"},
	{"url with a query", "[account_api]\nurl = \"https://accounts.example.org/?\"\nkey_set = \"/k\"\n"},
	{"url with a fragment", "[account_api]\nurl = \"https://accounts.example.org/#\"\nkey_set = \"/k\"\n"},
	{"url that is none", "[account_api]\nurl = \"https://[::1\"\nkey_set = \"/k\"\n"},
	{"url that is too long", "[account_api]\nurl = \"https://" + strings.Repeat("a", 2048) + "\"\nkey_set = \"/k\"\n"},
	{"url without a key set", "[account_api]\nurl = \"https://accounts.example.org\"\n"},
	{"key set without a root", "[account_api]\nkey_set = \"keys.json\"\n"},
	{"empty path", "[account_api]\nca_file = \"\"\n"},
	{"pin of another hash", "[account_api]\npins = [\"sha1/AAAA\"]\n"},
	{"pin that is too short", "[account_api]\npins = [\"sha256/AAAA\"]\n"},
	{"pin in URL's base64", "[account_api]\npins = [\"sha256/_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"]\n"},
	{"too many pins", "[account_api]\npins = [" + strings.Repeat("\"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\",", 17) + "]\n"},
	{"store of an unknown scheme", "[record]\nstore = \"tape:/dev/st0\"\n"},
	{"store without a scheme", "[record]\nstore = \"/persist/record\"\n"},
	{"store at a relative path", "[record]\nstore = \"file:persist/record\"\n"},
	{"unknown identity", "[device]\nidentity = [\"dmi\", \"imei\"]\n"},
	{"identity at a relative path", "[device]\nidentity = [\"file:serial\"]\n"},
	{"no identity", "[device]\nidentity = []\n"},
	{"identity twice", "[device]\nidentity = [\"dmi\", \"dmi\"]\n"},
	{"unknown policy", "[policy]\nmissing_record = \"open\"\n"},
	{"unknown authorization", "[authorization]\nmode = \"anyone\"\n"},
	{"negative user", "[authorization]\nuids = [-1]\n"},
	{"nobody's user ID", "[authorization]\nuids = [4294967295]\n"},
	{"user beyond all", "[authorization]\nuids = [4294967296]\n"},
	{"unknown TPM mode", "[tpm]\nmode = \"maybe\"\n"},
	{"TPM at a relative path", "[tpm]\ndevice = \"swtpm:socket\"\n"},
	{"duration without a unit", "[daemon]\nidle_exit = \"30\"\n"},
	{"duration as a number", "[daemon]\nidle_exit = 30\n"},
	{"duration as a table", "[daemon.idle_exit]\n"},
	{"duration as a table with something in it", "[daemon.idle_exit]\nvalue = 3\n"},
	{"duration as a fraction", "[daemon]\nidle_exit = 1.5\n"},
	{"duration as a truth", "[daemon]\nidle_exit = true\n"},
	{"duration below nothing", "[daemon]\nidle_exit = \"-1s\"\n"},
	{"idle for too long", "[daemon]\nidle_exit = \"25h\"\n"},
	{"check-ins too often", "[daemon]\ncheck_in_interval = \"999ms\"\n"},
	{"check-ins too seldom", "[daemon]\ncheck_in_interval = \"169h\"\n"},
	{"unknown gate", "[gate]\nmode = \"maybe\"\n"},
	{"several mistakes", "[gate]\nmode = \"maybe\"\n[tpm]\nmode = \"maybe\"\n"},
	{"file that is too long", strings.Repeat("#", 64<<10+1)},
}

const golden = "testdata/refusals.golden"

func TestWhatIsWrongIsNamed(t *testing.T) {
	var b strings.Builder
	for _, r := range refusals {
		path := put(t, filepath.Join(t.TempDir(), "device.toml"), r.text)
		_, err := config.Load(path, nil)
		if fault.CodeOf(err) != fault.InvalidArgument {
			t.Errorf("%s: taken, or another fault: %v", r.name, err)
			continue
		}
		if !strings.Contains(fault.As(err).Message, path) {
			t.Errorf("%s: the file is not named: %q", r.name, fault.As(err).Message)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error quotes a password", r.name)
		}
		text := strings.ReplaceAll(fault.As(err).Err.Error(), path, "FILE")
		fmt.Fprintf(&b, "== %s\n%s\n", r.name, text)
	}
	if *update {
		must(t, os.WriteFile(golden, []byte(b.String()), 0o600))
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if b.String() != string(want) {
		t.Errorf("not as in %s:\n%s", golden, b.String())
	}
}

func TestAFileAtItsBoundsIsTaken(t *testing.T) {
	for name, text := range map[string]string{
		"64 KiB":             strings.Repeat("#", 64<<10),
		"stay for ever":      "[daemon]\nidle_exit = \"0\"\n",
		"a day, a second":    "[daemon]\nidle_exit = \"24h\"\ncheck_in_interval = \"1s\"\n",
		"a week":             "[daemon]\ncheck_in_interval = \"168h\"\n",
		"an empty url":       "[account_api]\nurl = \"\"\n",
		"an address":         "[account_api]\nurl = \"https://[::1]:8443\"\nkey_set = \"/k\"\n",
		"other stores":       "[record]\nstore = \"pdb:/dev/block/by-name/frp\"\n",
		"dotted keys":        "record.store = \"file:/a\"\n",
		"an inline table":    "record = { store = \"file:/a\" }\n",
		"nobody but polkit":  "[authorization]\nuids = []\n",
		"with a DOS newline": "[gate]\r\nmode = \"none\"\r\n",
	} {
		if _, err := load(t, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatIsNoReadableFileIsNamed(t *testing.T) {
	dir := t.TempDir()
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	for _, path := range []string{dir, filepath.Join(dir, "absent"), filepath.Join(dir, "fifo"), filepath.Join(dir, "loop"), "/dev/zero"} {
		_, err := config.Load(path, nil)
		if fault.CodeOf(err) != fault.InvalidArgument || strings.Count(err.Error(), path) < 2 {
			t.Errorf("%s: %v", path, err)
		}
	}
	// A link to a file is a file here: who names it answers for it.
	good := put(t, filepath.Join(dir, "good"), everything)
	must(t, os.Symlink(good, filepath.Join(dir, "link")))
	c, err := config.Load(filepath.Join(dir, "link"), nil)
	if err != nil || !slices.Equal(c.Sources, []string{filepath.Join(dir, "link")}) {
		t.Errorf("got %v, %v", c.Sources, err)
	}
}
