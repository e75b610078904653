// SPDX-License-Identifier: Apache-2.0

package ctl

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/accountlock/accountlock/internal/busclient"
	"github.com/accountlock/accountlock/internal/console"
)

func (a *app) statusCommand() *cobra.Command {
	return a.reading("status", "Show the state of the lock",
		`Shows whether the device is linked, signed out, unlinked or locked, and why.

With --json it prints the properties of the D-Bus interface: {"version", "device_id", "state",
"lock_reason", "account_hint", "lost_message": {"message", "contact"}, "retry_after" (seconds),
"connectivity", "last_check_in" (seconds since the epoch, 0 is never)}. 'lost_message' is {}
unless the device is lost.`,
		func(ctx context.Context, c *busclient.Client) error {
			s, err := c.State(ctx)
			if err != nil {
				return err
			}
			return a.answer(s, func() { a.showStatus(s) })
		})
}

func (a *app) showStatus(s busclient.State) {
	rows := [][2]string{
		{"State", status(s.State, s.LockReason)},
		{"Account", s.AccountHint},
		{"Message", s.LostMessage["message"]},
		{"Contact", s.LostMessage["contact"]},
		{"Next attempt", nextAttempt(s.RetryAfter)},
		{"Connection", s.Connectivity},
		{"Last check-in", a.moment(s.LastCheckIn, "never")},
		{"Device ID", s.DeviceID},
		{"accountlockd", s.Version},
	}
	for _, r := range rows {
		if r[1] != "" {
			a.printf("%-14s  %s\n", r[0]+":", console.Clean(r[1]))
		}
	}
}

// nextAttempt says when the next attempt is taken; empty for now.
func nextAttempt(seconds uint32) string {
	if seconds == 0 {
		return ""
	}
	return "in " + (time.Duration(seconds) * time.Second).String()
}

// moment shows seconds since the epoch in the person's own time.
func (a *app) moment(seconds uint64, zero string) string {
	if seconds == 0 || seconds > 1<<40 {
		return zero
	}
	return time.Unix(int64(seconds), 0).In(a.env.Now().Location()).Format("2006-01-02 15:04:05 MST")
}

func (a *app) accountCommand() *cobra.Command {
	type account struct {
		AccountID   string   `json:"account_id"`
		Identifiers []string `json:"identifiers"`
		SignedIn    uint64   `json:"signed_in"`
		LinkID      string   `json:"link_id"`
	}
	return a.reading("account", "Show the account of this device",
		`Shows the account that is linked to this device, or was signed out of it.

With --json: {"account_id", "identifiers" (masked), "signed_in" (seconds since the epoch, 0
when signed out), "link_id"}.`,
		func(ctx context.Context, c *busclient.Client) error {
			var props variants
			if err := c.Manager(ctx, "GetAccount", []any{&props}); err != nil {
				return err
			}
			acc := account{Identifiers: []string{}}
			err := busclient.StoreAll(props, map[string]any{
				"account-id": &acc.AccountID, "identifiers": &acc.Identifiers,
				"signed-in": &acc.SignedIn, "link-id": &acc.LinkID,
			})
			if err != nil {
				return err
			}
			return a.answer(acc, func() {
				a.printf("Account ID:  %s\n", console.Clean(acc.AccountID))
				for _, id := range acc.Identifiers {
					a.printf("Known as:    %s\n", console.Clean(id))
				}
				a.printf("Signed in:   %s\n", a.moment(acc.SignedIn, "no"))
			})
		})
}

func (a *app) supportCommand() *cobra.Command {
	type contact struct {
		Kind    string `json:"kind"`
		Label   string `json:"label"`
		Address string `json:"address"`
	}
	var region string
	cmd := a.reading("support", "Show how to reach support",
		`Shows how to reach support, in one region or everywhere.

With --json: {"contacts": [{"kind", "label", "address"}]}; 'kind' is phone, email, chat, web or post.`,
		func(ctx context.Context, c *busclient.Client) error {
			contacts := []contact{}
			if err := readable(region); err != nil {
				return err
			}
			if err := c.Manager(ctx, "GetSupport", []any{&contacts}, region); err != nil {
				return err
			}
			return a.answer(map[string]any{"contacts": contacts}, func() {
				for _, c := range contacts {
					a.printf("%-6s  %s: %s\n", console.Clean(c.Kind), console.Clean(c.Label), console.Clean(c.Address))
				}
				if len(contacts) == 0 {
					a.printf("No contact is known.\n")
				}
			})
		})
	cmd.Flags().StringVar(&region, "region", "", "the region, as ISO 3166-1 writes it; empty is everywhere")
	_ = cmd.RegisterFlagCompletionFunc("region", cobra.NoFileCompletions)
	return cmd
}

func (a *app) checkInCommand() *cobra.Command {
	return a.reading("check-in", "Ask the account service now how the link stands",
		`Asks the account service now how the link of this device stands, and acts on its signed
answer: a lost device locks, a released one opens.

With --json it prints the same object as status, as it is afterwards.`,
		func(ctx context.Context, c *busclient.Client) error {
			if err := c.Manager(ctx, "CheckIn", nil); err != nil {
				return err
			}
			s, err := c.State(ctx)
			if err != nil {
				return err
			}
			return a.answer(s, func() { a.printf("State: %s\n", status(s.State, s.LockReason)) })
		})
}

// checkLimit keeps `check` from holding up whoever is signing in.
const checkLimit = 10 * time.Second

func (a *app) checkCommand() *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use: "check", Short: "Say by the exit code whether the device is open", GroupID: "read",
		Long: `Exits with 0 where the device is open, 10 where it is locked and 11 where nobody can
tell: treat that as locked. Meant for pam_exec and start scripts; it takes at most ten seconds.

With --json: {"result": "open", "locked" or "unknown", "state", "lock_reason"}, and with
'unknown' the error.`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.check(cmd.Context(), quiet)
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing")
	return cmd
}

func (a *app) check(ctx context.Context, quiet bool) error {
	type verdict struct {
		Result     string   `json:"result"`
		State      string   `json:"state"`
		LockReason string   `json:"lock_reason"`
		Error      *failure `json:"error,omitempty"`
	}
	ctx, stop := context.WithTimeout(ctx, checkLimit)
	defer stop()
	s, err := a.stateNow(ctx)
	v := verdict{State: s.State, LockReason: s.LockReason}
	if err != nil {
		// fails locked: 'unknown' is never taken for open.
		v = verdict{Error: busclient.AsFailure(err)}
	}
	exit := 0
	switch v.State {
	case "unlinked", "linked", "signed-out":
		v.Result, exit = "open", ExitDone
	case "locked":
		v.Result, exit = "locked", ExitLocked
	default:
		// fails locked: a state that this program does not know.
		v.Result, exit = "unknown", ExitUnknown
	}
	if !quiet {
		line := v.Result
		switch {
		case v.Error != nil:
			line += ": " + v.Error.Message
		case v.LockReason != "":
			line += " " + v.LockReason
		case v.State != v.Result:
			line += " " + v.State
		}
		if err := a.answer(v, func() { a.printf("%s\n", console.Clean(line)) }); err != nil {
			return exitStatus(ExitUnknown)
		}
	}
	if exit == ExitDone {
		return nil
	}
	return exitStatus(exit)
}

func (a *app) stateNow(ctx context.Context) (busclient.State, error) {
	c, err := a.connect(ctx)
	if err != nil {
		return busclient.State{}, err
	}
	defer c.Close()
	s, err := c.State(ctx)
	if err != nil {
		return busclient.State{}, fmt.Errorf("cannot read the state: %w", err)
	}
	return s, nil
}
