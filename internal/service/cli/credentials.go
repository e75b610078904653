// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/staff"
)

// credentials are how a member of staff proves at the console who they are.
type credentials struct{ name, passwordFile, codeFile string }

func (w *credentials) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&w.name, "staff", "", "the member of staff who does this")
	f.StringVar(&w.passwordFile, "password-file", "", "read their password from this file, or from standard input if it is -")
	f.StringVar(&w.codeFile, "code-file", "", "read a code of their second factor from this file, or from standard input if it is -")
}

// prove returns the member that the flags name.
func (w *credentials) prove(cmd *cobra.Command, s *service) (staff.Member, error) {
	switch {
	case w.name == "" || w.passwordFile == "" || w.codeFile == "":
		return staff.Member{}, usage("--staff, --password-file and --code-file must be given: who does this is noted. Secrets are never taken from the command line.")
	case w.passwordFile == "-" && w.codeFile == "-":
		return staff.Member{}, usage("Password and code cannot both come from standard input.")
	}
	password, err := readPassword(w.passwordFile, cmd.InOrStdin())
	if err != nil {
		return staff.Member{}, err
	}
	defer password.Wipe()
	code, err := readPassword(w.codeFile, cmd.InOrStdin())
	if err != nil {
		return staff.Member{}, err
	}
	defer code.Wipe()
	m, err := s.staff.Authenticate(cmd.Context(), staff.Proof{Name: w.name, Password: password, Code: code})
	if fault.CodeOf(err) == fault.InvalidCredentials {
		f := fault.As(err)
		f.Message, f.Remedy = "The name, the password or the code is wrong.", "A code is good once: wait for the next one."
	}
	return m, err
}
