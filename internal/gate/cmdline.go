// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// bootWords is what the boot was told on the command line about what to start.
type bootWords struct {
	// unit is the unit to boot in place of default.target; empty where none is named.
	unit string
	// units are all that are named as that one, whoever goes by it, and wants those to
	// start besides.
	units, wants []string
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
// SystemdOptions, and one makes it an initrd's (ENVIRONMENT.md of systemd). Generators go by
// their own environment, to which `systemd.setenv=` adds: what either names is held back, and
// PID 1's word counts for where to go on to. What cannot be read says nothing: the
// static drop-ins stand whatever was asked for.
func readBootWords(root string, container bool, getenv func(string) (string, bool)) bootWords {
	read := func(name string) string {
		text, _ := os.ReadFile(filepath.Join(root, name))
		return string(text)
	}
	line := ""
	if !container {
		line = read("proc/cmdline")
	}
	var args []string
	if all := strings.Split(read("proc/1/cmdline"), "\x00"); len(all) > 1 {
		args = all[1:]
	}
	environ := map[string]string{}
	for assignment := range strings.SplitSeq(read("proc/1/environ"), "\x00") {
		if name, value, ok := strings.Cut(assignment, "="); ok {
			environ[name] = value
		}
	}
	view := func(getenv func(string) (string, bool), args []string) bootWords {
		own, stands := getenv("SYSTEMD_PROC_CMDLINE")
		if !stands {
			own = line
		}
		options, _ := getenv("SYSTEMD_EFI_OPTIONS")
		initrd, _ := getenv("SYSTEMD_IN_INITRD")
		return parseBootWords(slices.Concat(splitWords(options), splitWords(own), args), isTrue(initrd))
	}
	b := view(func(name string) (string, bool) { value, ok := environ[name]; return value, ok }, args)
	// In a container systemd 252 splits the arguments again where they have blanks.
	generators := view(getenv, splitWords(strings.Join(args, " ")))
	b.units = append(b.units, generators.units...)
	b.wants = append(b.wants, generators.wants...)
	b.runs, b.masks = b.runs || generators.runs, b.masks || generators.masks
	return b
}

// isTrue reads a truth value as systemd does (parse_boolean()).
func isTrue(s string) bool {
	return slices.Contains([]string{"1", "yes", "y", "true", "t", "on"}, strings.ToLower(s))
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
// for systemd: in an initrd of those with `rd.` before them, elsewhere of those without.
func parseBootWords(words []string, initrd bool) bootWords {
	var b bootWords
	name := func(unit string, counts bool) {
		switch {
		case !unitName(unit):
			return
		case unit == defaultTarget || unit == bootTarget:
			unit = "" // these lead to the same place as no name
		default:
			b.units = append(b.units, unit)
		}
		if counts {
			b.unit = unit
		}
	}
	for i, word := range words {
		word, rd := strings.CutPrefix(word, "rd.")
		key, value, assigned := strings.Cut(word, "=")
		switch key {
		case "systemd.unit":
			name(value, rd == initrd)
		case "--unit", "--uni", "--un":
			// Options can be shortened (getopt_long(3)), down to where `--user` is another.
			if !assigned && i+1 < len(words) {
				value = words[i+1]
			}
			name(value, true)
		case "systemd.wants":
			if unit := mangled(value); unitName(unit) {
				b.wants = append(b.wants, unit)
			}
		case "systemd.run":
			b.runs = b.runs || value != ""
		case "systemd.mask":
			b.masks = b.masks || strings.HasPrefix(value, "accountlock")
		default:
			name(runlevels[word], rd == initrd)
		}
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
