// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"database/sql"

	"github.com/spf13/cobra"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/audit"
	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/support"
)

const permitLong = `It runs in a case that two members of staff have approved of (support approve), by one
of staff. On a service of 'dev' (--data) it runs without a case too; that is noted.`

// permit is what permits a deed to somebody else's device: a case and who of staff
// does it.
type permit struct {
	number string
	who    credentials
}

func (p *permit) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.number, "case", "", "the case in which two members of staff have approved of it")
	p.who.flags(cmd)
}

// permitted returns a subcommand that does something to a device which must be
// approved of, and shows the device.
func (c *deviceCommands) permitted(use, short string, a support.Action, act func(*device.Registry, context.Context, *sql.Tx, string) (device.Link, error)) *cobra.Command {
	var p permit
	cmd := &cobra.Command{
		Use: use + " --case NUMBER", Short: short, Long: short + ".\n" + permitLong, Args: exactly(1, "one device ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd, args[0], func(s *service, id string) error {
				_, err := c.permit(cmd, s, p, a, id, "", func(tx *sql.Tx) (string, error) {
					_, err := act(s.devices, cmd.Context(), tx, id)
					return "", err
				})
				if err != nil {
					return err
				}
				return c.show(cmd, s, id)
			})
		},
	}
	p.flags(cmd)
	return cmd
}

// permit does a deed in its case, or, on a service of `dev` and without a case, by
// itself.
func (c *deviceCommands) permit(cmd *cobra.Command, s *service, p permit, a support.Action, id, challenge string, alone func(*sql.Tx) (string, error)) (string, error) {
	ctx := cmd.Context()
	if p.number != "" {
		one, err := s.cases.Get(ctx, p.number)
		if err != nil {
			return "", err
		}
		if one.DeviceID != id {
			return "", usage("Case %s is about the device %s.", one.Number, one.DeviceID)
		}
		m, err := p.who.prove(cmd, s)
		if err != nil {
			return "", err
		}
		answer, _, err := s.cases.Act(ctx, m, one.Number, a, challenge)
		return answer, err
	}
	if c.at.data == "" {
		// fails locked: nobody does this alone on a service that people rely on.
		f := fault.Newf(fault.NotAuthorized, "This is done to somebody else's device only in a case that two members of staff have approved of.")
		f.Remedy = "Open a case (support case open), have two members approve (support approve), then say --case."
		return "", f
	}
	var answer string
	err := s.db.Tx(ctx, func(tx *sql.Tx) (err error) {
		if answer, err = alone(tx); err != nil {
			return err
		}
		return s.trail.Append(ctx, tx, audit.Entry{Actor: audit.Console, Action: string(a), Device: id, Detail: "without a case, on a service of dev"})
	})
	return answer, err
}

// releaseLink is a release that the owner hears of as an unlinking. A lost device is
// released no more than in a case.
func releaseLink(r *device.Registry, ctx context.Context, tx *sql.Tx, id string) (device.Link, error) { //nolint:revive // a method's expression puts the receiver first
	l, err := device.NewestLink(ctx, tx, id)
	if err != nil {
		return l, err
	}
	if l.Status == device.Lost {
		return l, support.WhileLost()
	}
	return r.ReleaseLink(ctx, tx, id, device.NoticeUnlinked)
}
