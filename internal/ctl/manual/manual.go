// SPDX-License-Identifier: Apache-2.0

// Package manual makes accountlockctl's manual pages and completions out of its
// commands, so that neither can say something else than the program does.
//
// accountlockctl does not import it: what writes manuals stays out of devices.
package manual

import (
	"bytes"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/accountlock/accountlock/internal/ctl"
)

// Files returns every generated file by its path under packaging/.
func Files() (map[string][]byte, error) {
	out := map[string][]byte{}
	if err := pages(ctl.Command(), out); err != nil {
		return nil, err
	}
	root := ctl.Command()
	for name, write := range map[string]func(*bytes.Buffer) error{
		"bash/accountlockctl":      func(b *bytes.Buffer) error { return root.GenBashCompletionV2(b, true) },
		"zsh/_accountlockctl":      func(b *bytes.Buffer) error { return root.GenZshCompletion(b) },
		"fish/accountlockctl.fish": func(b *bytes.Buffer) error { return root.GenFishCompletion(b, true) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			return nil, fmt.Errorf("cannot make the completion %s: %w", name, err)
		}
		out[path.Join("completions", name)] = b.Bytes()
	}
	return out, nil
}

// pages makes the page of cmd and of every command below it.
func pages(cmd *cobra.Command, out map[string][]byte) error {
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && !c.IsAdditionalHelpTopicCommand() {
			if err := pages(c, out); err != nil {
				return err
			}
		}
	}
	var b bytes.Buffer
	// A page has no date: it would change without its text.
	header := &doc.GenManHeader{Section: "1", Date: &time.Time{}, Source: "accountlock", Manual: "accountlock"}
	if err := doc.GenMan(cmd, header, &b); err != nil {
		return fmt.Errorf("cannot make the manual of %s: %w", cmd.CommandPath(), err)
	}
	text := strings.Replace(b.String(), `"Jan 0001"`, `""`, 1)
	if !cmd.HasParent() {
		text = strings.Replace(text, ".SH SEE ALSO\n.PP\n", sections()+".SH SEE ALSO\n.PP\n\\fBaccountlockd(8)\\fP, ", 1)
		text = strings.Replace(text, ".SH SEE ALSO\n\\fB", sections()+".SH SEE ALSO\n\\fBaccountlockd(8)\\fP, \\fB", 1)
	}
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
	out["man/"+name+".1"] = []byte(".\\\" SPDX-License-Identifier: Apache-2.0\n" + text)
	return nil
}

// sections are what only the page of the whole program has.
func sections() string {
	var b strings.Builder
	b.WriteString(".SH EXIT STATUS\n")
	for _, m := range ctl.ExitMeanings() {
		fmt.Fprintf(&b, ".TP\n\\fB%d\\fP\n%s\n", m.Code, roff(m.Meaning))
	}
	b.WriteString(".SH ENVIRONMENT\n" +
		".TP\n\\fBDBUS_SYSTEM_BUS_ADDRESS\\fP\nthe bus to use in the place of the system bus\n" +
		".TP\n\\fBLC_ALL\\fP, \\fBLC_MESSAGES\\fP, \\fBLANG\\fP\nthe person's language, where \\fB\\-\\-locale\\fP does not say it\n")
	return b.String()
}

// roff turns a plain sentence with `code` in it into roff.
func roff(s string) string {
	s = strings.ReplaceAll(s, "-", `\-`)
	for strings.Count(s, "`") > 1 {
		s = strings.Replace(s, "`", `\fB`, 1)
		s = strings.Replace(s, "`", `\fP`, 1)
	}
	return s
}
