// SPDX-License-Identifier: Apache-2.0

package device_test

import (
	"crypto/sha256"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/accountlock/accountlock/internal/device"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// machine returns a machine whose files are those given.
func machine(t testing.TB, files map[string]string) device.Machine {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return device.Machine{Root: root}
}

// digest is the account API's Identity, from its description.
func digest(source, value string) device.Identity {
	sum := sha256.Sum256([]byte("accountlock-identity-v1\x00" + source + "\x00" + value))
	return device.Identity{Source: source, Digest: base64.RawURLEncoding.EncodeToString(sum[:])}
}

const (
	dt      = "proc/device-tree/serial-number"
	uuid    = "sys/class/dmi/id/product_uuid"
	product = "sys/class/dmi/id/product_serial"
	board   = "sys/class/dmi/id/board_serial"
	chassis = "sys/class/dmi/id/chassis_serial"
)

func TestAnIdentityIsTheDigestThatTheAccountAPIDescribes(t *testing.T) {
	got := machine(t, map[string]string{product: "PF1ABCDE\n"}).Identities([]string{"dmi"}, nil)
	// printf 'accountlock-identity-v1\0dmi\0PF1ABCDE' | openssl dgst -sha256 -binary | basenc --base64url
	want := device.Identity{Source: "dmi", Digest: "XeEJxt6Z3ugXhpSKm8oRjemftrnkAfDLGu3qrzc9g24"}
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %+v", got)
	}
}

func TestWhichSourcesAnswer(t *testing.T) {
	random := []byte("0123456789abcdef")
	all := map[string]string{
		dt: "10000000abcdef01\x00", uuid: "4C4C4544-0042-3510-8052-B9C04F4E4D32\n", product: "PF1ABCDE\n",
		board: "L1HF65E00X9\n", chassis: "PF1ABCDE\n", "factory/serial": "SN-0042\nsecond line\n",
	}
	for _, c := range []struct {
		name    string
		files   map[string]string
		sources []string
		random  []byte
		want    []device.Identity
	}{
		{"nothing is there", nil, []string{"tpm", "devicetree", "dmi", "record", "file:/factory/serial"}, nil, nil},
		{"no source is asked", all, nil, random, nil},
		{"the TPM gives no name yet", all, []string{"tpm"}, random, nil},
		{"a source that nobody knows", all, []string{"imei", "FILE:/factory/serial", ""}, random, nil},
		{"a device tree's serial ends with a zero byte", all, []string{"devicetree"}, nil, []device.Identity{digest("devicetree", "10000000abcdef01")}},
		{"each name of the firmware once, the UUID in lower case", all, []string{"dmi"}, nil, []device.Identity{
			digest("dmi", "4c4c4544-0042-3510-8052-b9c04f4e4d32"), digest("dmi", "PF1ABCDE"), digest("dmi", "L1HF65E00X9")}},
		{"the first line of a file", all, []string{"file:/factory/serial"}, nil, []device.Identity{digest("file", "SN-0042")}},
		{"the random one of the record", all, []string{"record"}, random, []device.Identity{digest("record", string(random))}},
		{"but not half of it", all, []string{"record"}, random[:15], nil},
		{"in the order asked, each once", all, []string{"record", "file:/factory/serial", "devicetree", "record"}, random, []device.Identity{
			digest("record", string(random)), digest("file", "SN-0042"), digest("devicetree", "10000000abcdef01")}},
		{"blanks and line ends around it", map[string]string{product: " \tPF1ABCDE \r\n"}, []string{"dmi"}, nil, []device.Identity{digest("dmi", "PF1ABCDE")}},
		{"blanks within it", map[string]string{product: "PF1 ABCDE\n"}, []string{"dmi"}, nil, []device.Identity{digest("dmi", "PF1 ABCDE")}},
		{"too short for a name", map[string]string{product: "AB1\n"}, []string{"dmi"}, nil, nil},
		{"too long for a name", map[string]string{product: strings.Repeat("A1", 200)}, []string{"dmi"}, nil, nil},
		{"long, but the first line is short", map[string]string{product: "PF1ABCDE\n" + strings.Repeat("A1", 400)}, []string{"dmi"}, nil, []device.Identity{digest("dmi", "PF1ABCDE")}},
		{"a name of 256 bytes", map[string]string{product: strings.Repeat("A1", 128)}, []string{"dmi"}, nil, []device.Identity{digest("dmi", strings.Repeat("A1", 128))}},
		{"empty", map[string]string{product: ""}, []string{"dmi"}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := machine(t, c.files).Identities(c.sources, c.random); !slices.Equal(got, c.want) {
				t.Errorf("got  %v\nwant %v", got, c.want)
			}
		})
	}
}

func TestAPlaceholderIsNobodysName(t *testing.T) {
	for _, v := range []string{
		"To be filled by O.E.M.", "To Be Filled By O.E.M.", "to be filled by OEM", "Default string", "default string", "DEFAULT STRING", "None", "none",
		"(none)", "Not Specified", "Not Applicable", "Not Available", "N/A", "Unknown", "System Serial Number", "Base Board Serial Number",
		"Chassis Serial Number", "Serial Number", "0123456789", "123456789", "1234567890", "0123456789ABCDEF", "00000000", "0000-0000", "FFFFFFFF", "ffffffff",
		"xxxxxxxx", "XXXXXXXXXX", "........", "--------", "        ", "00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
		"ffffffff-ffff-ffff-ffff-ffffffffffff", "03000200-0400-0500-0006-000700080009", "00020003-0004-0005-0006-000700080009", "INVALID", "Empty", "OEM", "TBD",
		"Type2 - Board Serial Number", "123456781234567890abcddeefaabbcc",
	} {
		for _, path := range []string{uuid, product, dt} {
			if got := machine(t, map[string]string{path: v + "\n"}).Identities([]string{"dmi", "devicetree"}, nil); len(got) != 0 {
				t.Errorf("%q is taken for a name", v)
			}
		}
	}
	for _, v := range []string{"00000001", "FFFFFFFE", "0123456788", "Default-string-7", "10000000abcdef01", "none1"} {
		if got := machine(t, map[string]string{product: v}).Identities([]string{"dmi"}, nil); len(got) != 1 {
			t.Errorf("%q is taken for a placeholder", v)
		}
	}
}

func TestAtMostSixteenIdentitiesAreSent(t *testing.T) {
	files := map[string]string{}
	var sources []string
	for i := range 20 {
		name := "serial-" + string(rune('a'+i))
		files[name] = name
		sources = append(sources, "file:/"+name)
	}
	if got := machine(t, files).Identities(sources, nil); len(got) != 16 {
		t.Errorf("got %d", len(got))
	}
}

func TestASourceThatIsNoFileIsPassedOver(t *testing.T) {
	m := machine(t, map[string]string{"dir/x": ""})
	must(t, unix.Mkfifo(filepath.Join(m.Root, "fifo"), 0o600))
	if got := m.Identities([]string{"file:/dir", "file:/fifo", "file:/absent"}, nil); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	if got := (device.Machine{}).Identities([]string{"file:/dev/zero"}, nil); len(got) != 0 {
		t.Errorf("a device gives %v", got)
	}
}

func TestNothingThatIsReadMakesAnIdentityOfTheWrongForm(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "serial")
	rapid.Check(t, func(t *rapid.T) {
		if err := os.WriteFile(path, rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "content"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, id := range (device.Machine{Root: root}).Identities([]string{"file:/serial"}, nil) {
			if id.Source != "file" || len(id.Digest) != 43 {
				t.Fatalf("got %+v", id)
			}
		}
	})
}

func TestTheModelIsWhatTheMachineCallsItself(t *testing.T) {
	const tree, dmi = "proc/device-tree/model", "sys/class/dmi/id/product_name"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"the device tree's", map[string]string{tree: "Raspberry Pi 4 Model B Rev 1.4\x00", dmi: "ThinkPad"}, "Raspberry Pi 4 Model B Rev 1.4"},
		{"the firmware's", map[string]string{dmi: "20XWCTO1WW\n"}, "20XWCTO1WW"},
		{"none", nil, ""},
		{"a placeholder", map[string]string{dmi: "To be filled by O.E.M.\n"}, ""},
		{"at most 128 bytes", map[string]string{dmi: strings.Repeat("a1", 100)}, strings.Repeat("a1", 64)},
		{"no half character", map[string]string{dmi: strings.Repeat("a", 127) + "é1"}, strings.Repeat("a", 127)},
		{"no control characters and no broken ones", map[string]string{dmi: "a\x1b[1mb\xffc\x7fd\n"}, "a[1mbcd"},
		{"nothing that turns text around", map[string]string{dmi: "Pixel\u00a0\u202ea7\n"}, "Pixela7"},
	} {
		if got := machine(t, c.files).Model(); got != c.want || !utf8.ValidString(got) {
			t.Errorf("%s: got %q", c.name, got)
		}
	}
}

func TestBootComesFromTheKernel(t *testing.T) {
	before := device.Machine{}.Boot()
	after := device.Machine{}.Boot()
	if len(before.ID) != 36 || before.ID != after.ID || before.Since <= 0 || after.Since < before.Since {
		t.Fatalf("got %+v, then %+v", before, after)
	}
	uptime, err := os.ReadFile("/proc/uptime")
	must(t, err)
	seconds, err := time.ParseDuration(strings.Fields(string(uptime))[0] + "s")
	must(t, err)
	if d := seconds - after.Since; d < -time.Minute || d > time.Minute {
		t.Errorf("the kernel says %s, Boot %s", seconds, after.Since)
	}
	if b := machine(t, map[string]string{"proc/sys/kernel/random/boot_id": "an-id\n"}).Boot(); b.ID != "an-id" {
		t.Errorf("got %+v", b)
	}
	if b := machine(t, nil).Boot(); b.ID != "" || b.Since <= 0 {
		t.Errorf("got %+v", b)
	}
}

func TestVerifiedBootIsWhatFirmwareOrKernelSay(t *testing.T) {
	const variable = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
	for _, c := range []struct {
		files map[string]string
		want  string
	}{
		{nil, "unknown"},
		{map[string]string{variable: "\x06\x00\x00\x00\x01"}, "on"},
		{map[string]string{variable: "\x06\x00\x00\x00\x00"}, "off"},
		{map[string]string{variable: "\x01"}, "unknown"},
		{map[string]string{"proc/cmdline": "quiet androidboot.verifiedbootstate=green\n"}, "on"},
		{map[string]string{"proc/cmdline": "androidboot.verifiedbootstate=orange"}, "off"},
		{map[string]string{"proc/cmdline": "xandroidboot.verifiedbootstate=green"}, "unknown"},
	} {
		if got := machine(t, c.files).VerifiedBoot(); got != c.want {
			t.Errorf("%q: %s", c.files, got)
		}
	}
}

func TestATPMNamesTheMachineWhereThereIsOne(t *testing.T) {
	m := device.Machine{Root: t.TempDir()}
	if got := m.Identities([]string{"tpm"}, nil); len(got) != 0 {
		t.Errorf("without one: %v", got)
	}
	m.TPM = func() (string, error) { return "000b01", nil }
	if got := m.Identities([]string{"tpm"}, nil); len(got) != 1 || got[0] != digest("tpm", "000b01") {
		t.Errorf("got %v", got)
	}
	m.TPM = func() (string, error) { return "half a name", os.ErrDeadlineExceeded }
	if got := m.Identities([]string{"tpm"}, nil); len(got) != 0 {
		t.Errorf("one that does not answer: %v", got)
	}
}
