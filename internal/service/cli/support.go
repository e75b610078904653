// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/staff"
)

// supportCommands are `support` and what is under it.
type supportCommands struct {
	at   *place
	env  Env
	json bool
}

func supportCommand(at *place, env Env) *cobra.Command {
	c := &supportCommands{at: at, env: env}
	cmd := &cobra.Command{
		Use:   "support",
		Short: "Work on support cases, approve of what staff do, read the audit trail",
		Args:  subcommands("support"),
		RunE:  noCommand,
	}
	cmd.PersistentFlags().BoolVar(&c.json, "json", false, "write JSON")
	cmd.AddCommand(c.cases(), c.approve(), c.staffCommand(), c.audit())
	return cmd
}

// with runs do with the service of the place.
func (c *supportCommands) with(ctx context.Context, do func(*service) error) (err error) {
	s, err := c.at.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.finish(ctx, c.env.Stderr)) }()
	return do(s)
}

// tell prints v as JSON, or what plain writes.
func (c *supportCommands) tell(cmd *cobra.Command, v any, plain func(io.Writer)) error {
	if c.json {
		return writeJSON(cmd.OutOrStdout(), v)
	}
	t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	plain(t)
	return t.Flush()
}

func at(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func (c *supportCommands) staffCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "staff",
		Short: "Add, list, disable and enable the members of staff",
		Args:  subcommands("staff"),
		RunE:  noCommand,
	}
	cmd.AddCommand(c.staffAdd(), c.staffList(), c.staffSet("disable", "Keep a member from doing anything, at once", true),
		c.staffSet("enable", "Let a disabled member in again", false))
	return cmd
}

func (c *supportCommands) staffAdd() *cobra.Command {
	var passwordFile, role string
	cmd := &cobra.Command{
		Use:   "add NAME --password-file FILE|- [--role agent|auditor]",
		Short: "Add a member of staff and show their second factor, once",
		Long: "Adds a member of staff and shows, this once, the address (otpauth://) from which their authenticator app takes\n" +
			"the second factor. Let them be the only one who sees it. A name is never given again.",
		Args: exactly(1, "one name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			password, err := newPassword(passwordFile, cmd.InOrStdin())
			if err != nil {
				return err
			}
			defer password.Wipe()
			return c.with(cmd.Context(), func(s *service) error { return c.addStaff(cmd, s, args[0], staff.Role(role), password) })
		},
	}
	cmd.Flags().StringVar(&passwordFile, "password-file", "", "read the password from this file, or from standard input if it is -; one line feed at its end is left out")
	cmd.Flags().StringVar(&role, "role", string(staff.Agent), "agent works on cases and approves; auditor reads alone")
	return cmd
}

func (c *supportCommands) addStaff(cmd *cobra.Command, s *service, name string, role staff.Role, password accountapi.Secret) error {
	m, uri, err := s.staff.Add(cmd.Context(), consoleActor, name, role, password)
	if err != nil {
		return err
	}
	shown := struct {
		staff.Member

		SecondFactor string `json:"second_factor"`
	}{m, uri}
	return c.tell(cmd, shown, func(w io.Writer) {
		fmt.Fprintf(w, "Name\t%s\nRole\t%s\nSecond factor\t%s\n", m.Name, m.Role, uri)
	})
}

func (c *supportCommands) staffList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the members of staff", Args: exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(s *service) error {
				all, err := s.staff.List(cmd.Context())
				if err != nil {
					return err
				}
				return c.tell(cmd, map[string]any{"staff": all}, func(w io.Writer) {
					for _, m := range all {
						state := ""
						if m.Disabled {
							state = "disabled"
						}
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", m.Name, m.Role, at(m.Created), state)
					}
				})
			})
		},
	}
}

func (c *supportCommands) staffSet(use, short string, disabled bool) *cobra.Command {
	return &cobra.Command{
		Use: use + " NAME", Short: short, Args: exactly(1, "one name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(s *service) error {
				m, err := s.staff.SetDisabled(cmd.Context(), consoleActor, args[0], disabled)
				if err != nil {
					return err
				}
				return c.tell(cmd, m, func(w io.Writer) { fmt.Fprintf(w, "Name\t%s\nDisabled\t%s\n", m.Name, yesNo(m.Disabled)) })
			})
		},
	}
}
