// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/conformance"
	"github.com/accountlock/accountlock/internal/service/files"
)

// maxGiven bounds, in bytes, the files that the command is given.
const maxGiven = 1 << 20

// given is what `conformance` was called with.
type given struct {
	url, ca, keySet, accounts, identifier, passwordFile string
	only                                                []string
	asJSON, down                                        bool
}

func conformanceCommand(env Env) *cobra.Command {
	var g given
	cmd := &cobra.Command{
		Use:   "conformance --url URL --ca FILE",
		Short: "Check an implementation of the account API against its document",
		Long: "Asks an account service, whoever made it, what docs/account-api.yaml says, and tells check by check what is\n" +
			"wrong. It enrols devices of its own (model `conformance`), sends nobody a code, and unlinks what it links.\n" +
			"Checks of links need a test account without a second factor: --identifier with --password-file, or\n" +
			"--accounts with a file in the form of demo.json, whose `other` is a second one. Where neither is given, a\n" +
			"demo.json and a key_set.json beside the CA file are used, as `accountlock-server dev` leaves them.\n" +
			"Exit code 0: all that was checked is right. What was skipped is told, with the reason.",
		Args: exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error { return conform(cmd, g, env) },
	}
	f := cmd.Flags()
	f.StringVar(&g.url, "url", "", "the service's address, https")
	f.StringVar(&g.ca, "ca", "", "the authority of its certificate, PEM; the system's by default")
	f.StringVar(&g.keySet, "key-set", "", "a `FILE` with what a device's image holds of the keys, as 'keys show' writes it")
	f.StringVar(&g.identifier, "identifier", "", "names the test account")
	f.StringVar(&g.passwordFile, "password-file", "", "file with its password; - is standard input")
	f.StringVar(&g.accounts, "accounts", "", "test accounts, in the form of demo.json")
	f.StringSliceVar(&g.only, "check", nil, "make this check alone; may be given again")
	f.BoolVar(&g.down, "down", false, "check what it answers while its database is stopped, and nothing else")
	f.BoolVar(&g.asJSON, "json", false, "write JSON")
	return cmd
}

func conform(cmd *cobra.Command, g given, env Env) error {
	if g.url == "" {
		return usage("--url must be given.")
	}
	cfg, err := g.config(env.Stdin)
	if err != nil {
		return err
	}
	defer wipeAccounts(cfg)
	report, err := conformance.Run(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	if g.asJSON {
		err = writeJSON(cmd.OutOrStdout(), report)
	} else {
		err = writeReport(cmd.OutOrStdout(), report)
	}
	if err == nil && report.Failed > 0 {
		err = errNotConforming
	}
	return err
}

// errNotConforming is the end of a command whose report says all.
var errNotConforming = errors.New("the service does not conform")

func (g given) config(stdin io.Reader) (conformance.Config, error) {
	cfg := conformance.Config{URL: g.url, Only: g.only, Down: g.down, Now: time.Now}
	if g.ca != "" {
		pem, err := readGiven(g.ca)
		if err != nil {
			return cfg, err
		}
		cfg.Roots = x509.NewCertPool()
		if !cfg.Roots.AppendCertsFromPEM(pem) {
			return cfg, usage("%s holds no certificate in PEM.", g.ca)
		}
	}
	if path, ok := g.beside(g.keySet, demoKeySet); ok {
		cfg.KeySet = &conformance.KeySet{}
		if err := readJSON(path, cfg.KeySet); err != nil {
			return cfg, err
		}
	}
	return cfg, g.testAccounts(&cfg, stdin)
}

func (g given) testAccounts(cfg *conformance.Config, stdin io.Reader) error {
	if (g.identifier == "") != (g.passwordFile == "") {
		return usage("--identifier and --password-file belong together.")
	}
	if g.identifier != "" {
		if g.accounts != "" {
			return usage("Give --accounts, or --identifier and --password-file, not both.")
		}
		password, err := readPassword(g.passwordFile, stdin)
		cfg.Owner = &conformance.Account{Identifier: g.identifier, Password: password}
		return err
	}
	path, ok := g.beside(g.accounts, demoAccounts)
	if !ok {
		return nil
	}
	var demo demoAccount
	if err := readJSON(path, &demo); err != nil {
		return err
	}
	cfg.Owner = demo.test()
	if demo.Other != nil {
		cfg.Other = demo.Other.test()
	}
	return nil
}

func (d demoAccount) test() *conformance.Account {
	return &conformance.Account{Identifier: cmp.Or(d.Email, d.AccountID, d.Phone), Password: accountapi.Secret(d.Password)}
}

// beside returns the file that was given or, where none was, the one of that name
// beside the CA file.
func (g given) beside(path, name string) (string, bool) {
	if path != "" {
		return path, true
	}
	if g.ca == "" {
		return "", false
	}
	path = filepath.Join(filepath.Dir(g.ca), name)
	_, err := files.Read(path, maxGiven)
	return path, err == nil
}

func readGiven(path string) ([]byte, error) {
	b, err := files.Read(path, maxGiven)
	if err != nil {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return nil, usage("%s cannot be read: %s.", path, err)
	}
	return b, nil
}

func readJSON(path string, into any) error {
	b, err := readGiven(path)
	if err != nil {
		return err
	}
	defer clear(b)
	if err := json.Unmarshal(b, into); err != nil {
		return usage("%s is not the JSON that is looked for there.", path) // the error may quote a password
	}
	return nil
}

func wipeAccounts(cfg conformance.Config) {
	for _, a := range []*conformance.Account{cfg.Owner, cfg.Other} {
		if a != nil {
			a.Password.Wipe()
		}
	}
}

// marks are what a line begins with.
var marks = map[conformance.Outcome]string{conformance.Passed: "ok  ", conformance.Failed: "FAIL", conformance.Skipped: "skip"}

func writeReport(w io.Writer, r conformance.Report) error {
	var err error
	line := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(w, format+"\n", args...)
		}
	}
	for _, c := range r.Checks {
		line("%s  %-18s %s", marks[c.Outcome], c.Name, c.Rule)
		switch c.Outcome {
		case conformance.Failed:
			line("      Wrong: %s.\n      See account-api.yaml, %s.", c.Found, c.Section)
		case conformance.Skipped:
			line("      Not checked: %s.", c.Found)
		case conformance.Passed:
		}
	}
	line("\n%s: %d passed, %d failed, %d skipped.", r.URL, r.Passed, r.Failed, r.Skipped)
	return err
}
