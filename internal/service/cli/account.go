// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
)

// AccountCommand returns the command `account` with its subcommands. open is called
// when one of them runs, and what it returns beside the service is called at
// the end. The errors of all of them are faults.
func AccountCommand(open func(ctx context.Context) (*account.Service, func() error, error)) *cobra.Command {
	c := &accountCommands{open: open}
	cmd := &cobra.Command{
		Use:   "account",
		Short: "Make, show, block and delete accounts",
		Args:  subcommands("accounts"),
		RunE:  noCommand,
	}
	cmd.PersistentFlags().BoolVar(&c.json, "json", false, "write JSON")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%s.", err) })
	cmd.AddCommand(c.add(), c.show(), c.block(), c.unblock(), c.delete())
	return cmd
}

type accountCommands struct {
	open func(ctx context.Context) (*account.Service, func() error, error)
	json bool
}

// with runs fn on an open service. What is no fault comes out as Internal, with its
// cause.
func (c *accountCommands) with(ctx context.Context, fn func(*account.Service) error) (err error) {
	s, closeAll, err := c.open(ctx)
	if err != nil {
		return fault.As(err)
	}
	defer func() {
		if err = errors.Join(err, closeAll()); err != nil {
			err = fault.As(err)
		}
	}()
	return fn(s)
}

// named runs fn on the account that identifier names.
func (c *accountCommands) named(ctx context.Context, identifier string, fn func(*account.Service, account.Account) error) error {
	return c.with(ctx, func(s *account.Service) error {
		a, err := s.Find(ctx, identifier)
		if err != nil {
			return err
		}
		return fn(s, a)
	})
}

func (c *accountCommands) add() *cobra.Command {
	var n account.NewAccount
	var passwordFile string
	cmd := &cobra.Command{
		Use:   "add --password-file FILE|- [--email ADDRESS]... [--phone NUMBER]...",
		Short: "Make an account and show its account ID",
		Long: "Makes an account and shows its account ID, which is given once and never changes.\n" +
			"The addresses and numbers are taken to be the owner's: they are not verified.",
		Args: exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			password, err := newPassword(passwordFile, cmd.InOrStdin())
			if err != nil {
				return err
			}
			defer password.Wipe()
			n.Password = password
			return c.with(cmd.Context(), func(s *account.Service) error {
				a, err := s.Create(cmd.Context(), n)
				if err != nil {
					return err
				}
				return c.print(cmd.OutOrStdout(), a)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&passwordFile, "password-file", "", "read the password from this file, or from standard input if it is -; one line feed at its end is left out")
	f.StringArrayVar(&n.Emails, "email", nil, "an e-mail address of the owner; may be given more than once")
	f.StringArrayVar(&n.Phones, "phone", nil, "a phone number of the owner, with its country code; may be given more than once")
	f.BoolVar(&n.SecondFactor, "second-factor", false, "ask for a code after the password")
	return cmd
}

func (c *accountCommands) show() *cobra.Command {
	return &cobra.Command{
		Use:   "show IDENTIFIER",
		Short: "Show an account by account ID, e-mail address or phone number",
		Args:  exactly(1, "one identifier"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.named(cmd.Context(), args[0], func(_ *account.Service, a account.Account) error {
				return c.print(cmd.OutOrStdout(), a)
			})
		},
	}
}

func (c *accountCommands) block() *cobra.Command {
	var until string
	cmd := &cobra.Command{
		Use:   "block IDENTIFIER [--until TIME]",
		Short: "Keep an account from being used",
		Args:  exactly(1, "one identifier"),
		RunE: func(cmd *cobra.Command, args []string) error {
			end, err := parseTime(until)
			if err != nil {
				return err
			}
			return c.named(cmd.Context(), args[0], func(s *account.Service, a account.Account) error {
				a, err := s.Block(cmd.Context(), a.ID, end)
				if err != nil {
					return err
				}
				return c.print(cmd.OutOrStdout(), a)
			})
		},
	}
	cmd.Flags().StringVar(&until, "until", "", "when the block ends, as 2026-12-31 (UTC) or 2026-12-31T18:00:00+01:00; without it the block does not end by itself")
	return cmd
}

func (c *accountCommands) unblock() *cobra.Command {
	return &cobra.Command{
		Use:   "unblock IDENTIFIER",
		Short: "End the block of an account",
		Args:  exactly(1, "one identifier"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.named(cmd.Context(), args[0], func(s *account.Service, a account.Account) error {
				a, err := s.Unblock(cmd.Context(), a.ID)
				if err != nil {
					return err
				}
				return c.print(cmd.OutOrStdout(), a)
			})
		},
	}
}

func (c *accountCommands) delete() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete IDENTIFIER [--yes]",
		Short: "Delete an account for good",
		Long: "Delete an account for good, unless devices are locked to it: its owner deletes it in the portal, or two members of\n" +
			"staff release each in a case first. On a service of 'dev' (--data) it releases them; that is noted.\n" +
			"On a terminal it takes --yes; in a script the command itself is the consent.",
		Args: exactly(1, "one identifier"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.named(cmd.Context(), args[0], func(s *account.Service, a account.Account) error {
				if !yes && onTerminal(cmd.InOrStdin()) {
					return usage("Deleting account %s (%s) cannot be undone: say --yes.", a.ID, a.Hint())
				}
				if err := s.Delete(cmd.Context(), a.ID); err != nil {
					return err
				}
				a, err := s.Get(cmd.Context(), a.ID)
				if err != nil {
					return err
				}
				return c.print(cmd.OutOrStdout(), a)
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it, on a terminal too")
	return cmd
}

// onTerminal reports whether a person types what is read from in.
func onTerminal(in io.Reader) bool {
	f, ok := in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// exactly is cobra.ExactArgs with a fault for its error.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return usage("The command takes %s.", what)
		}
		return nil
	}
}

func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usage("--until %q is no time such as 2026-12-31 or 2026-12-31T18:00:00+01:00.", s)
}

// shown is an account in JSON: times in RFC 3339, left out where there are none.
type shown struct {
	AccountID    string     `json:"account_id"`
	Emails       []string   `json:"emails"`
	Phones       []string   `json:"phones"`
	SecondFactor bool       `json:"second_factor"`
	Blocked      bool       `json:"blocked"`
	BlockedUntil *time.Time `json:"blocked_until,omitempty"`
	Created      *time.Time `json:"created,omitempty"`
	Deleted      *time.Time `json:"deleted,omitempty"`
}

func (c *accountCommands) print(w io.Writer, a account.Account) error {
	out := shown{
		AccountID: a.ID, Emails: []string{}, Phones: []string{}, SecondFactor: a.SecondFactor,
		Blocked: a.Blocked, BlockedUntil: timeOrNil(a.BlockedUntil), Created: timeOrNil(a.Created), Deleted: timeOrNil(a.Deleted),
	}
	for _, id := range a.Identifiers {
		switch id.Kind {
		case account.KindEmail:
			out.Emails = append(out.Emails, id.Address)
		case account.KindPhone:
			out.Phones = append(out.Phones, id.Address)
		case account.KindAccountID:
		}
	}
	if c.json {
		return writeJSON(w, out)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"Account ID", out.AccountID},
		{"E-mail", strings.Join(out.Emails, ", ")},
		{"Phone", strings.Join(out.Phones, ", ")},
		{"Second factor", yesNo(out.SecondFactor)},
		{"Blocked", blockText(out)},
		{"Created", timeText(out.Created)},
		{"Deleted", timeText(out.Deleted)},
	} {
		if row[1] != "" {
			fmt.Fprintf(t, "%s\t%s\n", row[0], row[1])
		}
	}
	return t.Flush()
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func timeText(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format(time.RFC3339)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func blockText(s shown) string {
	if s.BlockedUntil != nil {
		return "until " + timeText(s.BlockedUntil)
	}
	return yesNo(s.Blocked)
}
