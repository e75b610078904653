// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// bootWords is what PID 1 was told on its command line about what to start.
type bootWords struct {
	// unit is the unit to boot in place of default.target; empty where none is named.
	unit string
	// wants are units to start besides.
	wants []string
	// runs: a command is to be run in place of default.target (systemd-run-generator(8)).
	runs bool
	// masks: a unit of ours is to be masked.
	masks bool
}

// readBootWords reads PID 1's command line as systemd does: the kernel's, but in a
// container PID 1's own arguments alone (proc_cmdline(), kernel-command-line(7)).
// Arguments are looked at outside of a container too, since the kernel hands
// what follows `--` to PID 1. From the command line too the kernel fills PID 1's
// environment, where two variables stand in for it and for the UEFI variable
// SystemdOptions, and one makes it an initrd's (ENVIRONMENT.md of systemd). What cannot
// be read says nothing: the static drop-ins stand whatever was asked for.
func readBootWords(root string, container bool) bootWords {
	read := func(name string) string {
		text, _ := os.ReadFile(filepath.Join(root, name))
		return string(text)
	}
	line, options, initrd := "", "", false
	if !container {
		line = read("proc/cmdline")
	}
	for assignment := range strings.SplitSeq(read("proc/1/environ"), "\x00") {
		switch name, value, _ := strings.Cut(assignment, "="); name {
		case "SYSTEMD_PROC_CMDLINE":
			line = value
		case "SYSTEMD_EFI_OPTIONS":
			options = value
		case "SYSTEMD_IN_INITRD":
			initrd = true
		}
	}
	words := append(splitWords(options), splitWords(line)...)
	if args := strings.Split(read("proc/1/cmdline"), "\x00"); len(args) > 1 {
		words = append(words, args[1:]...)
	}
	if initrd {
		for i, word := range words {
			words[i] = strings.TrimPrefix(word, "rd.")
		}
	}
	return parseBootWords(words)
}

// splitWords splits at blanks outside of quotes, and drops the quotes.
func splitWords(text string) []string {
	var words []string
	var word strings.Builder
	var quote rune
	inside := false
	flush := func() {
		if inside {
			words = append(words, word.String())
		}
		word.Reset()
		inside = false
	}
	for _, r := range text {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, inside = r, true
		case quote == 0 && strings.ContainsRune(" \t\n\r", r):
			flush()
		default:
			word.WriteRune(r)
			inside = true
		}
	}
	flush()
	return words
}

// runlevels are the words by which PID 1 takes a target without `systemd.unit=`.
var runlevels = map[string]string{
	"emergency": "emergency.target", "-b": "emergency.target",
	"rescue": "rescue.target", "single": "rescue.target", "-s": "rescue.target", "s": "rescue.target", "S": "rescue.target", "1": "rescue.target",
	"2": "multi-user.target", "3": "multi-user.target", "4": "multi-user.target", "5": "graphical.target",
}

// parseBootWords finds the units that the words name; the last `unit` counts, as
// for systemd.
func parseBootWords(words []string) bootWords {
	var b bootWords
	for i, word := range words {
		key, value, assigned := strings.Cut(word, "=")
		switch key {
		case "systemd.unit", "--unit", "--uni", "--un":
			// Options can be shortened (getopt_long(3)), down to where `--user` is another.
			if !assigned && key[0] == '-' && i+1 < len(words) {
				value = words[i+1]
			}
			if unitName(value) {
				b.unit = value
			}
		case "systemd.wants":
			if unit := mangled(value); unitName(unit) && !slices.Contains(b.wants, unit) {
				b.wants = append(b.wants, unit)
			}
		case "systemd.run":
			b.runs = b.runs || value != ""
		case "systemd.mask":
			b.masks = b.masks || strings.HasPrefix(value, "accountlock")
		default:
			if target := runlevels[word]; target != "" {
				b.unit = target
			}
		}
	}
	// These lead to the same place as no name.
	if b.unit == defaultTarget || b.unit == bootTarget {
		b.unit = ""
	}
	return b
}

// unitTypes are what the name of a unit may end with (systemd.unit(5)).
var unitTypes = []string{".service", ".socket", ".target", ".device", ".mount", ".automount", ".swap", ".timer", ".path", ".slice", ".scope"}

// mangled is the unit that systemd takes a word of `systemd.wants=` for
// (unit_name_mangle(), as for systemctl): what may not stand in a name is escaped,
// and a name without a type is a service's. A path it takes for a mount or a device;
// these let nobody in, and are none here.
func mangled(word string) string {
	if word == "" || word[0] == '/' {
		return ""
	}
	var b strings.Builder
	for _, c := range []byte(word) {
		switch {
		case c == '/':
			b.WriteByte('-')
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', strings.IndexByte(`:-_.\@`, c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	if !slices.Contains(unitTypes, filepath.Ext(word)) {
		b.WriteString(".service")
	}
	return b.String()
}

// unitName reports whether s is the name of a unit, and no path.
func unitName(s string) bool {
	dot := strings.LastIndexByte(s, '.')
	return dot > 0 && dot < len(s)-1 && len(s) < 256 && !strings.ContainsAny(s, "/ \t\n\x00")
}
